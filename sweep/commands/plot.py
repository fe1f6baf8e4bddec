"""`splitsweep plot`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sweep.commands.dataset import Current, Directory, dataset_of


def plot(
    directory: Directory,
    output: Annotated[Path, typer.Option("--output", "-o", help="FILE.svg, FILE.png or FILE.html.")],
    metric: Annotated[str, typer.Option(help="PHASE, or PHASE.COLUMN for another column than seconds.")] = "dirty",
    y: Annotated[str | None, typer.Option("--y", help="COLUMN of the phase: seconds if not given.")] = None,
    iteration: Annotated[int | None, typer.Option(min=1, help="Of dirty, get or clear; 1 if not given.")] = None,
    x: Annotated[str, typer.Option("--x", help="Field along the x axis.")] = "vcpus",
    color: Annotated[str, typer.Option(help="Field told by colour.")] = "split",
    facet: Annotated[str | None, typer.Option(help="Field whose values get panels side by side.")] = None,
    where: Annotated[str | None, typer.Option(help="SQL condition over the fields, like \"mmu = 'tdp'\".")] = None,
    log_x: Annotated[
        bool | None, typer.Option("--log-x/--linear-x", help="If not given: what suits the field.")
    ] = None,
    log_y: Annotated[bool | None, typer.Option("--log-y/--linear-y", help="If not given: log over 20x.")] = None,
    timeline: Annotated[
        bool,
        typer.Option("--timeline", help="The guest's throughput over the time of --metric, an ioctl it ran beside."),
    ] = False,
    published: Annotated[bool, typer.Option("--published", help="Draw published values and errors too.")] = False,
    current: Current = False,
) -> None:
    """Draw a number of every config, with its 90% interval, as a chart for a cover letter or a web page.

    Configs that differ in other fields than x and color get a panel each; repeats are summed up by their median.

    \b
    Example:
      splitsweep plot results/cover-letter --x vcpus --y seconds --color split -o dirty.svg
      splitsweep plot results/cover-letter --metric clear --iteration 2 --published -o clear.png
      splitsweep plot results/nested --metric get.dirty_pages --facet initially_all_set -o dirty_pages.html
      splitsweep plot results/migration --timeline --metric enable --color preempt -o stalls.svg
    """
    from sweep.showing.charts import chart_format, chart_metric, chart_tables, tables_chart, write_chart
    from sweep.showing.timeline_chart import timeline_chart

    chart_format(output)  # before a minute goes into reading a remote dataset
    wanted = chart_metric(metric, y, iteration)
    with dataset_of(directory, current) as dataset:
        if timeline:
            chart, panels = timeline_chart(dataset, wanted, color, where)
            write_chart(chart, output)
            print(f"{output}: {panels} {'panel' if panels == 1 else 'panels'}")
            return
        tables = chart_tables(dataset, wanted, x, color, where, published)
    write_chart(tables_chart(tables, facet, log_x, log_y), output)
    print(f"{output}: {len(tables)} {'panel' if len(tables) == 1 else 'panels'}")
