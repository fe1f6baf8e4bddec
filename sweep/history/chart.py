"""A metric over the nights as a chart: a panel for each metric, a rule at each change of level."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from sweep.comparison.metrics import metric_text
from sweep.comparison.words import change_text
from sweep.history.text import Series

if TYPE_CHECKING:
    import altair

WIDTH: Final = 560
HEIGHT: Final = 160
LINE: Final = "#0072b2"
RULE: Final = "#d55e00"
"""Two colours that colour-blind people tell apart."""


def history_chart(series: Sequence[Series]) -> altair.VConcatChart:
    """The chart of these series; give it to sweep.showing.charts.write_chart."""
    import altair

    panels = [_panel(one) for one in series]
    chart: altair.VConcatChart = altair.vconcat(*panels, spacing=24, background="white").configure_view(
        stroke="#cccccc"
    )
    return chart


def _panel(series: Series) -> altair.LayerChart | altair.FacetChart:
    import altair

    places = range(len(series.nights))
    rows = [
        {
            "night": night.name,
            "level": ratio,
            "revision": night.revision or "",
            "verdict": night.verdict,
            "change": change_text(float(np.exp(step.shift))) if (step := series.step_at(place)) else "",
        }
        for place, night, ratio in zip(places, series.nights, series.ratios, strict=True)
    ]
    title = f"{metric_text(series.metric)}, {len(series.configs)} configs: level against the first night"
    base = altair.Chart(altair.InlineData(values=rows), title=title, width=WIDTH, height=HEIGHT)
    x = altair.X("night:O", title="night", axis=altair.Axis(labelAngle=-40, labelOverlap=True))
    y = altair.Y("level:Q", title="level", scale=altair.Scale(zero=False), axis=altair.Axis(format=".0%"))
    line = base.mark_line(point=True, color=LINE).encode(
        x=x, y=y, tooltip=["night:O", altair.Tooltip("level:Q", format=".1%"), "revision:N", "verdict:N"]
    )
    changed = base.transform_filter("datum.change != ''")
    rule = changed.mark_rule(color=RULE, strokeDash=[4, 3]).encode(x=x)
    text = changed.mark_text(color=RULE, align="left", dx=4, dy=-6).encode(x=x, y=altair.value(10), text="change:N")
    return altair.layer(line, rule, text, description=f"{title}; {len(series.steps)} changes")
