"""One panel of a chart, in the layers that Vega-Lite stacks: interval, line, published values, points, errors.

A Panel's marks are plain rows and its axes come ready from sweep.showing.chart_axes, so that nothing is computed by the
drawing library: what is drawn is what a test finds in the rows.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from core.config import field_text
from sweep.showing.chart_axes import Axis, Look, WordAxis, is_number
from sweep.showing.tables import Table

if TYPE_CHECKING:
    import altair

STRIP_HEIGHT: Final = 70
TICKS: Final = 7
STRIP_TICKS: Final = 3
HEADING_WIDTH: Final = 46
"""Characters of a heading that fit above a small panel."""

BAND_OPACITY: Final = 0.16
HOLLOW: Final = 2.5
"""Area of a published point, as a multiple of the predicted one inside it."""

TOOLTIPS: Final = {"low": "90% from", "high": "90% to", "published": "published", "error": "error (%)"}

Mark = dict[str, Any]
"""One config as Vega-Lite gets it: x, group (the colour), value, low, high, published, error, segment, alone.
Segments of a line are drawn apart from each other; `alone` is a point that no line reaches."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What all panels of a chart share."""

    x: Axis | WordAxis
    y: Axis
    error: Axis
    group: str
    looks: Mapping[str, Look]
    width: int
    height: int


def panel(table: Table, frame: Frame) -> altair.VConcatChart:
    """One table: its numbers, and below them a strip with the errors where there are published values."""
    import altair

    marks = table_marks(table, frame.x)
    with_errors = any(mark["error"] is not None for mark in marks)
    strip = [_error_strip(marks, frame)] if with_errors else []
    heading = " ".join(f"{name}={field_text(name, value)}" for name, value in table.heading.items())
    lines = textwrap.wrap(f"{heading} (published in: {table.source})" if table.source else heading, HEADING_WIDTH)
    title = altair.TitleParams(lines, fontSize=12, fontWeight="normal", anchor="start", frame="group")
    return altair.vconcat(_numbers(marks, frame, not with_errors), *strip, spacing=8, title=title if lines else "")


def table_marks(table: Table, x: Axis | WordAxis) -> list[Mark]:
    """What is drawn of one table. A config without a value interrupts its line."""
    marks: list[Mark] = []
    for column in table.column_values:
        group, segment = field_text(table.columns, column), 0
        for row in table.row_values:
            cell = table.cells.get((row, column))
            if cell is None:
                continue
            segment += cell.value is None
            if cell.value is None and cell.published is None:
                continue
            ends = {"value": cell.value, "low": cell.low, "high": cell.high}
            known = {"published": cell.published, "error": cell.error_percent}
            marks.append({"x": _place(table.rows, row, x), "group": group, "segment": segment, **ends, **known})
    points = Counter((mark["group"], mark["segment"]) for mark in marks if mark["value"] is not None)
    by_words = isinstance(x, WordAxis)
    return [mark | {"alone": by_words or points[mark["group"], mark["segment"]] == 1} for mark in marks]


def _place(name: str, value: object, x: Axis | WordAxis) -> object:
    return value / x.unit if isinstance(x, Axis) and is_number(value) else field_text(name, value)


def _numbers(marks: Sequence[Mark], frame: Frame, labels: bool) -> altair.LayerChart:
    """The panel itself; published values lie below the predicted ones, which are smaller."""
    import altair

    base = _base(marks, frame, labels)
    look = {"color": _colour(frame), "shape": _shape(frame)}
    ends = {"y": _y("low", frame.y, TICKS), "y2": altair.Y2("high"), "color": look["color"]}
    line = {"y": _y("value", frame.y, TICKS), "color": look["color"]}
    parts = ["group:N", "segment:N"]
    layers = (
        base.mark_area(opacity=BAND_OPACITY).encode(**ends, detail=parts).transform_filter(_where("high", False)),
        base.mark_rule(strokeWidth=2, opacity=0.5).encode(**ends).transform_filter(_where("high", True)),
        base.mark_line(strokeWidth=1.8).encode(**line, detail=parts).transform_filter(_where("value", False)),
        base.mark_point(filled=False, strokeWidth=1.6, opacity=1)
        .encode(y=_y("published", frame.y, TICKS), **look, size=_size(frame, HOLLOW))
        .transform_filter(_where("published")),
        base.mark_point(filled=True, opacity=1)
        .encode(y=_y("value", frame.y, TICKS), **look, size=_size(frame))
        .transform_filter(_where("value")),
    )
    sizes_apart = altair.Resolve(scale=altair.ScaleResolveMap(size="independent"))
    return altair.LayerChart(layer=list(layers), width=frame.width, height=frame.height, resolve=sizes_apart)


def _error_strip(marks: Sequence[Mark], frame: Frame) -> altair.LayerChart:
    """Errors as stems on a line at zero: on an axis over three decades nobody sees seven percent."""
    import altair

    error = _base(marks, frame, True).transform_filter(_where("error"))
    look = {"y": _y("error", frame.error, STRIP_TICKS), "color": _colour(frame)}
    zero = altair.Chart(altair.InlineData(values=[{"error": 0}])).mark_rule(color="#888888")
    layers = (
        zero.encode(y=_y("error", frame.error, STRIP_TICKS)),
        error.mark_rule(strokeWidth=1.2).encode(**look, y2=altair.Y2Datum(0)),
        error.mark_point(filled=True, opacity=1).encode(**look, shape=_shape(frame), size=_size(frame)),
    )
    return altair.LayerChart(layer=list(layers), width=frame.width, height=STRIP_HEIGHT)


def _where(name: str, alone: bool | None = None) -> str:
    """The filter for marks that have such a number, and perhaps for those that a line reaches or none does."""
    known = f"datum.{name} !== null"
    return known if alone is None else f"{known} && {'' if alone else '!'}datum.alone"


def _base(marks: Sequence[Mark], frame: Frame, labels: bool) -> altair.Chart:
    import altair

    chart = altair.Chart(altair.InlineData(values=list(marks))).encode(
        x=_x(frame.x, labels), tooltip=_tooltips(marks, frame)
    )
    if isinstance(frame.x, Axis):
        return chart
    return chart.encode(xOffset=altair.XOffset("group:N", scale=altair.Scale(domain=list(frame.looks))))


def _tooltips(marks: Sequence[Mark], frame: Frame) -> list[altair.Tooltip]:
    import altair

    titles = {"x": frame.x.title, "group": frame.group, "value": frame.y.title}
    titles |= {name: title for name, title in TOOLTIPS.items() if any(mark[name] is not None for mark in marks)}
    return [altair.Tooltip(f"{name}:N", title=title) for name, title in titles.items()]


def _x(axis: Axis | WordAxis, labels: bool) -> altair.X:
    import altair

    if isinstance(axis, Axis):
        return altair.X("x:Q", axis=_shown(axis, labels=labels), scale=_scale(axis))
    shown = altair.Axis(title=axis.title if labels else None, labels=labels, labelAngle=0)
    return altair.X("x:N", axis=shown, scale=altair.Scale(domain=list(axis.words), paddingInner=0.3))


def _y(name: str, axis: Axis, ticks: int) -> altair.Y:
    import altair

    count: dict[str, Any] = {} if axis.ticks else {"tickCount": ticks}  # which would thin out ticks that are given
    return altair.Y(f"{name}:Q", axis=_shown(axis, **count), scale=_scale(axis))


def _shown(axis: Axis, *, labels: bool = True, **more: Any) -> altair.Axis:
    import altair

    if axis.ticks:
        more["values"] = list(axis.ticks)
    label = f"format(datum.value, '{axis.form}')"  # an axis' own format gives all labels one prefix: 0M, 2M
    return altair.Axis(title=axis.title if labels else None, labels=labels, labelExpr=label, titlePadding=8, **more)


def _scale(axis: Axis) -> altair.Scale:
    import altair

    if axis.linear_below:
        return altair.Scale(type="symlog", constant=axis.linear_below, domain=list(axis.domain), nice=False)
    if axis.log:
        return altair.Scale(type="log", base=axis.log, domain=list(axis.domain), nice=False)
    return altair.Scale(domain=list(axis.domain), nice=False, zero=False)


def _colour(frame: Frame) -> altair.Color:
    import altair

    scale = altair.Scale(domain=list(frame.looks), range=[look.colour for look in frame.looks.values()])
    return altair.Color("group:N", title=frame.group, scale=scale, legend=altair.Legend(symbolOpacity=1, symbolSize=80))


def _shape(frame: Frame) -> altair.Shape:
    import altair

    scale = altair.Scale(domain=list(frame.looks), range=[look.shape for look in frame.looks.values()])
    return altair.Shape("group:N", title=frame.group, scale=scale, legend=altair.Legend(symbolOpacity=1, symbolSize=80))


def _size(frame: Frame, factor: float = 1) -> altair.Size:
    import altair

    scale = altair.Scale(domain=list(frame.looks), range=[look.size * factor for look in frame.looks.values()])
    return altair.Size("group:N", scale=scale, legend=None)
