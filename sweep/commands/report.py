"""`splitsweep report`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sweep.commands.dataset import Current, Directory, dataset_of

if TYPE_CHECKING:
    from sweep.comparison.compare import Comparison
    from sweep.history.text import Series


def report(
    directory: Directory,
    output: Annotated[Path, typer.Option("--output", "-o", help="The page to write: FILE.html.")],
    where: Annotated[str | None, typer.Option(help="SQL condition over the fields, like \"mmu = 'tdp'\".")] = None,
    against: Annotated[
        str | None, typer.Option(metavar="BASE", help="Another dataset: the page says what differs from it.")
    ] = None,
    history: Annotated[
        str | None, typer.Option(metavar="DIR", help="A history that nightly keeps: the page shows its nights.")
    ] = None,
    current: Current = False,
) -> None:
    """Write a dataset as one page that works offline: what was run, charts, published beside predicted, failures.

    The page holds its charts' library and needs no network. Phase, number, axes, colours and filters are chosen in it.
    --against adds what `splitsweep compare BASE DIR` prints, --history what `splitsweep history` draws.

    \b
    Example:
      splitsweep report results/cover-letter -o report.html
      splitsweep report results/nested --where "vcpus <= 64" -o nested.html
      splitsweep report results/after --against results/before -o compared.html
    """
    from sweep.history.sections import comparison_section, history_section
    from sweep.report.contents import report_html
    from sweep.report.page import check_page_path, write_page
    from sweep.running.status import dataset_status
    from sweep.running.waiting import shown_wait

    check_page_path(output)
    with shown_wait("reading the dataset and writing the page"):
        further = [] if against is None else [comparison_section(_comparison(against, directory, where))]
        further += [] if history is None else [history_section(_nights(history))]
        status = dataset_status(directory)
        with dataset_of(directory, current) as dataset:
            html = report_html(dataset, status, where, further)
        write_page(html, output)
    print(f"{output}: {output.stat().st_size / 1e6:.1f} MB, open it in a browser")


def _comparison(base: str, new: str, where: str | None) -> Comparison:
    from sweep.comparison.compare import compare_sides
    from sweep.comparison.side import read_side

    sides = (read_side(location, {"--where": where}) for location in (base, new))
    return compare_sides(*sides)


def _nights(history: str) -> Sequence[Series]:
    """All phases of the latest night's sweep on its machine, over the nights."""
    from sweep.history.levels import read_levels
    from sweep.history.nights import existing_nights, nights_of
    from sweep.history.text import metric_series

    levels = read_levels(history, nights_of(existing_nights(history), None, None))
    return metric_series(levels)
