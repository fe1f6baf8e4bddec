"""`splitsweep report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sweep.commands.dataset import Current, Directory, dataset_of


def report(
    directory: Directory,
    output: Annotated[Path, typer.Option("--output", "-o", help="The page to write: FILE.html.")],
    where: Annotated[str | None, typer.Option(help="SQL condition over the fields, like \"mmu = 'tdp'\".")] = None,
    current: Current = False,
) -> None:
    """Write a dataset as one page that works offline: what was run, charts, published beside predicted, failures.

    The page holds its charts' library and needs no network. Phase, number, axes, colours and filters are chosen in it.

    \b
    Example:
      splitsweep report results/cover-letter -o report.html
      splitsweep report results/nested --where "vcpus <= 64" -o nested.html
    """
    from sweep.report.contents import report_html
    from sweep.report.page import check_page_path, write_page
    from sweep.running.status import dataset_status
    from sweep.running.waiting import shown_wait

    check_page_path(output)
    with shown_wait("reading the dataset and writing the page"):
        status = dataset_status(directory)
        with dataset_of(directory, current) as dataset:
            html = report_html(dataset, status, where)
        write_page(html, output)
    print(f"{output}: {output.stat().st_size / 1e6:.1f} MB, open it in a browser")
