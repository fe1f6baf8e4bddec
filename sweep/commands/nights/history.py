"""`splitsweep history`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def history(
    directory: Annotated[str, typer.Argument(metavar="DIR", help="A history that nightly keeps: a folder or a URI.")],
    metric: Annotated[
        list[str] | None,
        typer.Option(help="PHASE, like dirty; may be given several times.", show_default="all phases"),
    ] = None,
    where: Annotated[str | None, typer.Option(metavar="SQL", help="Which configs, like \"mmu = 'tdp'\".")] = None,
    spec: Annotated[
        str | None, typer.Option(help="Name of the sweep, if there are several.", show_default="the latest night's")
    ] = None,
    host: Annotated[
        str | None, typer.Option(help="Which machine, if there are several.", show_default="the latest night's")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE.svg|png|html", help="Draw a chart, too.")
    ] = None,
) -> None:
    """Show how the times went over the nights, and mark the nights at which their level changed.

    Of each night the geometric mean over all configs, or over those that --where chooses. A change of level is one that
    chance explains less than once in a thousand times.

    \b
    Example:
      splitsweep history history/live --metric dirty --where "mmu = 'shadow'" -o dirty.svg
    """
    from sweep.comparison.metrics import SECONDS, parse_choices
    from sweep.errors import QueryError, spec_place
    from sweep.history.chart import history_chart
    from sweep.history.levels import read_levels, wanted_configs
    from sweep.history.nights import existing_nights, nights_of
    from sweep.history.text import metric_series, series_lines
    from sweep.showing.charts import chart_format, write_chart

    choices = parse_choices(metric or [])
    for choice in choices:
        if choice.column != SECONDS:
            raise QueryError(
                f"--metric: a history keeps the seconds of phases, not {choice.column}; "
                "for other columns compare two nights"
            )
    if output is not None:
        chart_format(output)
    nights = nights_of(existing_nights(directory), spec, host)
    levels = read_levels(directory, nights)
    with spec_place("--where"):
        wanted = wanted_configs(levels, where)
    series = metric_series(levels, choices, wanted)
    for line in series_lines(series):
        print(line)
    if output is not None:
        write_chart(history_chart(series), output)
        print(f"{output}: written")
