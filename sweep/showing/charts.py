"""`splitsweep plot`: the tables of a dataset as one chart, with a panel for each table.

A chart draws the Tables of sweep.showing.tables and asks the dataset nothing itself, so that tables and charts cannot
disagree: the row field runs along the x axis, the column field is told by colour, and configs that differ in anything
else get a panel of their own, under the heading that the table has. The small print below the title says what the marks
mean and counts what is missing.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from core.config import RENAMED
from sweep.errors import QueryError
from sweep.showing.chart_axes import WordAxis, error_axis, looks, x_axis, y_axis
from sweep.showing.chart_panels import Frame, panel
from sweep.showing.origin import captions, trust_notes
from sweep.showing.points import METRIC_COLUMNS, Metric, parse_metric
from sweep.showing.table_text import metric_title
from sweep.showing.tables import LAID_OUT_FIELDS, Table, accuracy, metric_tables

if TYPE_CHECKING:
    import altair
    from duckdb import DuckDBPyConnection

FORMATS: Final = ("svg", "png", "html")

MAX_PANELS: Final = 24
PANELS_ACROSS: Final = 3

LARGE: Final = (460, 280)
SMALL: Final = (290, 210)
"""Width and height of a panel that stands alone, and of one among others."""

SMALL_PRINT_WIDTH: Final = 100
"""Characters of the small print that are as wide as a panel that stands alone with its legend."""

PNG_SCALE: Final = 2
"""Pixels per point, for screens of today."""


def chart_metric(metric: str, y: str | None, iteration: int | None) -> Metric:
    """`--metric dirty --y faults` and `--metric dirty.faults` mean the same; without a column it is seconds."""
    phase, _, column = metric.partition(".")
    if y is None:
        return parse_metric(metric, iteration)
    if y not in METRIC_COLUMNS:
        raise QueryError(f"--y: there is no column {y!r}; allowed: {', '.join(METRIC_COLUMNS)}")
    if column not in ("", y):
        raise QueryError(f"--y: {y}, but --metric {metric} names {column}; name one column")
    return parse_metric(f"{phase}.{y}", iteration)


def chart_tables(
    connection: DuckDBPyConnection, metric: Metric, x: str, color: str, where: str | None, with_published: bool
) -> list[Table]:
    """The tables to draw: those of `splitsweep table`, with x as rows and color as columns."""
    for option, name in (("--x", x), ("--color", color)):
        if name in RENAMED:
            raise QueryError(f"{option}: {name} is called {RENAMED[name]} now")
        if name not in LAID_OUT_FIELDS:
            raise QueryError(f"{option}: there is no field {name!r} to draw; allowed: {', '.join(LAID_OUT_FIELDS)}")
    if x == color:
        raise QueryError(f"--color: {color} is the field of --x already; name another one")
    return metric_tables(connection, metric, x, color, where, with_published)


def tables_chart(
    tables: Sequence[Table], facet: str | None = None, log_x: bool | None = None, log_y: bool | None = None
) -> altair.VConcatChart:
    """The chart of tables of one metric, rows and columns; values of `facet` stand side by side."""
    import altair

    _check_drawable(tables)
    lines = _panel_lines(tables, facet)
    frame = _frame(tables, log_x, log_y)
    subtitle = [part for line in _small_print(tables, frame) for part in textwrap.wrap(line, SMALL_PRINT_WIDTH)]
    title = altair.TitleParams(metric_title(tables[0].metric), subtitle=subtitle, anchor="start", offset=14)
    panels = [altair.hconcat(*(panel(table, frame) for table in line), spacing=28) for line in lines]
    chart: altair.VConcatChart = (
        altair.vconcat(*panels, spacing=28, title=title, background="white")
        .configure_view(stroke="#cccccc")
        .configure_axis(gridColor="#e8e8e8", titleFontWeight="normal", titleFontSize=12)
        .configure_title(fontSize=15, subtitleColor="#555555", subtitleFontSize=11, subtitlePadding=5)
        .configure_axisY(minExtent=36)
        .configure_legend(symbolSize=80, labelFontSize=12, titleFontSize=12)
    )
    return chart


def chart_format(path: Path) -> str:
    """The format that the extension of `path` names; QueryError if none, or if there is no folder for the file."""
    form = path.suffix.lower().removeprefix(".")
    if form not in FORMATS:
        raise QueryError(f"-o {path}: its extension decides the format; allowed: .{', .'.join(FORMATS)}")
    if not path.parent.is_dir():
        raise QueryError(f"-o {path}: there is no folder {path.parent}; make it first, or name another one")
    return form


def chart_bytes(chart: altair.VConcatChart, form: str) -> bytes:
    """The chart as the content of a file. A page of html carries the libraries that draw it: it needs no network."""
    if form == "html":
        actions = {"export": True, "source": False, "compiled": False, "editor": False}  # the editor is a web site
        return chart.to_html(inline=True, embed_options={"actions": actions}).encode()
    if form == "svg":
        text = io.StringIO()
        chart.save(text, format="svg")
        return text.getvalue().encode()
    pixels = io.BytesIO()
    chart.save(pixels, format="png", scale_factor=PNG_SCALE)
    return pixels.getvalue()


def write_chart(chart: altair.VConcatChart, path: Path) -> None:
    """Write the chart to a file whose extension names its format."""
    content = chart_bytes(chart, chart_format(path))
    try:
        path.write_bytes(content)
    except OSError as error:
        raise QueryError(f"-o {path}: cannot write it: {error.strerror}") from None


def _check_drawable(tables: Sequence[Table]) -> None:
    cells = [cell for table in tables for cell in table.cells.values()]
    if all(cell.value is None for cell in cells):
        raise QueryError(
            f"--metric: nothing to draw, {len(cells)} configs and none with a value; see the view failures"
        )
    if len(tables) > MAX_PANELS:
        raise QueryError(
            f"--where: the configs differ in {', '.join(tables[0].heading)} too, which makes {len(tables)} panels; "
            f"choose at most {MAX_PANELS} with --where"
        )


def _panel_lines(tables: Sequence[Table], facet: str | None) -> list[list[Table]]:
    """The tables in the lines of the page: one line for each combination of the fields besides `facet`."""
    if facet is None:
        across = 2 if len(tables) == 4 else PANELS_ACROSS
        return [list(tables[start : start + across]) for start in range(0, len(tables), across)]
    if facet not in tables[0].heading:
        there = f"those left to facet by: {', '.join(tables[0].heading)}" if tables[0].heading else "leave --facet out"
        raise QueryError(f"--facet: {facet!r} is no field that sets these configs apart; {there}")
    lines: dict[tuple[object, ...], list[Table]] = {}
    for table in tables:
        lines.setdefault(tuple(value for name, value in table.heading.items() if name != facet), []).append(table)
    return list(lines.values())


def _frame(tables: Sequence[Table], log_x: bool | None, log_y: bool | None) -> Frame:
    group = tables[0].columns
    width, height = LARGE if len(tables) == 1 else SMALL
    return Frame(
        x=x_axis(tables, log_x),
        y=y_axis(tables, log_y),
        error=error_axis(tables),
        group=group,
        looks=looks(group, (value for table in tables for value in table.column_values)),
        width=width,
        height=height,
    )


def _small_print(tables: Sequence[Table], frame: Frame) -> Iterator[str]:
    """What a reader must know: what the marks mean, how good the prediction is, what is missing or mixed."""
    cells = [cell for table in tables for cell in table.cells.values()]
    marks = ["filled: predicted"]
    if any(table.with_interval for table in tables):
        marks.append(f"{'bar' if isinstance(frame.x, WordAxis) else 'band'}: 90% interval")
    found = accuracy(tables)
    if found is not None:
        marks.append("hollow: published")
    if len(marks) > 1:
        yield ", ".join(marks)
    if found is not None:
        values = f"{found.values} published {'value' if found.values == 1 else 'values'}"
        yield f"errors of the prediction: {values}, median {found.median:.1f}%, worst {found.worst:.1f}%"
    elif any(table.with_published for table in tables):
        yield "nothing published for these configs"
    failed = sum(cell.failed and cell.value is None for cell in cells)
    null = sum(cell.value is None for cell in cells) - failed
    reasons = [f"{count} {reason}" for count, reason in ((failed, "failed"), (null, "without such a phase")) if count]
    if reasons:
        yield f"{failed + null} of {len(cells)} configs have no value: {', '.join(reasons)}"
    varying = sorted({name for table in tables for name in table.varying})
    if varying:
        yield f"not the same in all configs of a panel: {', '.join(varying)}"
    yield from trust_notes(tables)
    if frame.y.linear_below:
        yield f"the axis is logarithmic down to {frame.y.linear_below:g}, and linear from there to 0 (symlog)"
    yield from captions(tables)
