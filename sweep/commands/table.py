"""`splitsweep table`."""

from __future__ import annotations

from typing import Annotated

import typer

from sweep.commands.dataset import Current, Directory, dataset_of
from sweep.errors import QueryError


def table(
    directory: Directory,
    metric: Annotated[
        str | None,
        typer.Option(help="PHASE for its seconds, or PHASE.COLUMN, like get.dirty_pages or dirty.stall_p99_ns."),
    ] = None,
    iteration: Annotated[int | None, typer.Option(min=1, help="Of dirty, get or clear; 1 if not given.")] = None,
    rows: Annotated[str, typer.Option(help="Field laid out downwards.")] = "vcpus",
    columns: Annotated[str, typer.Option(help="Field laid out across.")] = "split",
    where: Annotated[str | None, typer.Option(help="SQL condition over the fields, like \"mmu = 'tdp'\".")] = None,
    form: Annotated[str, typer.Option("--format", help="lkml, markdown or csv.")] = "lkml",
    published: Annotated[bool, typer.Option("--published", help="Put published values and errors beside.")] = False,
    current: Current = False,
) -> None:
    """Print a number of every config as tables, in the form of a patch cover letter.

    Configs that differ in other fields than rows and columns get a table each; repeats are summed up by their median.
    With --published and no --metric: every published table that the dataset can answer.

    \b
    Example:
      splitsweep table results/cover-letter --metric dirty --iteration 1 --rows vcpus --columns split
      splitsweep table results/cover-letter --published
    """
    from sweep.showing.points import parse_metric
    from sweep.showing.table_text import tables_text
    from sweep.showing.tables import metric_tables, published_tables

    if metric is None and not published:
        raise QueryError("--metric: missing; name a phase like dirty, or give --published alone")
    with dataset_of(directory, current) as dataset:
        if metric is None:
            if iteration is not None or (rows, columns) != ("vcpus", "split"):
                raise QueryError("--published alone lays out the published tables; add --metric to choose your own")
            tables = published_tables(dataset, where)
        else:
            tables = metric_tables(dataset, parse_metric(metric, iteration), rows, columns, where, published)
    for line in tables_text(tables, form):
        print(line)
