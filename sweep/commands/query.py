"""`splitsweep query`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from sweep.commands.dataset import Current, Directory, dataset_of
from sweep.errors import QueryError


def query(
    directory: Directory,
    sql: Annotated[
        str, typer.Argument(metavar="SQL", help="One SELECT over runs, phases, timeline, failures, origins, published.")
    ],
    form: Annotated[str, typer.Option("--format", help="table, csv, json, markdown or parquet.")] = "table",
    current: Current = False,
    timeout: Annotated[float, typer.Option(min=0.001, metavar="SECONDS", help="Longest time for an answer.")] = 300,
) -> None:
    """Ask a dataset anything in SQL.

    The tables are runs (one row per config), phases (one row per config, phase and iteration), timeline (one per time
    bin of a phase in which vCPUs ran), failures (the configs that failed, with their errors), origins (the profiles,
    engine versions and hosts that the rows come from) and published (measurements of real hosts). `DESCRIBE phases`
    lists the columns.

    \b
    Example:
      splitsweep query results/cover-letter \\
          "SELECT vcpus, split, seconds FROM phases WHERE phase = 'dirty' AND mmu = 'shadow' ORDER BY ALL"
    """
    from sweep.dataset.query import result_text, select, write_parquet

    if form == "parquet" and sys.stdout.isatty():
        raise QueryError("--format: parquet is not for a terminal; send it to a file with > FILE.parquet")
    with dataset_of(directory, current) as dataset:
        result = select(dataset, sql, timeout)
    if form == "parquet":
        write_parquet(result, sys.stdout.buffer)
        return
    for line in result_text(result, form):
        print(line)
