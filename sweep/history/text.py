"""A metric over the nights as text: a line for each night, with the changes of level marked where they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from sweep.comparison.families import Config
from sweep.comparison.metrics import MetricChoice, is_chosen, metric_text
from sweep.comparison.words import change_text
from sweep.errors import QueryError
from sweep.history.change_points import Change, steps
from sweep.history.levels import Levels
from sweep.history.nights import Night
from sweep.history.series import ALPHA, family_series
from sweep.showing.points import Metric

BAR_WIDTH: Final = 40


@dataclass(frozen=True, slots=True)
class Series:
    """How a metric went over the nights: each relative to the first night that measured it, and where it changed."""

    metric: Metric
    nights: tuple[Night, ...]
    configs: tuple[Config, ...]
    ratios: tuple[float, ...]
    steps: tuple[Change, ...]  # `index` is a place in `nights`

    def step_at(self, place: int) -> Change | None:
        """The step whose first night this is."""
        return next((step for step in self.steps if step.index == place), None)


def metric_series(
    levels: Levels, choices: Sequence[MetricChoice] = (), wanted: Sequence[bool] | None = None
) -> list[Series]:
    """The series of each chosen metric over the wanted configs, as geometric means; QueryError if there is none.

    Without `choices` and `wanted` it is all of them.
    """
    members = [place for place in range(len(levels.configs)) if wanted is None or wanted[place]]
    found = []
    for metric, table in levels.by_metric.items():
        if not is_chosen(metric, choices) or not members:
            continue
        series = family_series(table, members)
        there = np.flatnonzero(~np.isnan(series))
        if there.size:
            values = series[there]
            changes = steps(values, ALPHA)
            nights = tuple(levels.nights[place] for place in there)
            configs = tuple(levels.configs[place] for place in members)
            found.append(Series(metric, nights, configs, tuple(np.exp(values - values[0]).tolist()), tuple(changes)))
    if not found:
        known = ", ".join(metric_text(metric) for metric in levels.by_metric)
        raise QueryError(f"no night has such numbers; there are {known or 'none'}, of {len(levels.configs)} configs")
    return found


def series_lines(series: Sequence[Series]) -> Iterator[str]:
    """Each series as a table with a bar a night; what changed, and at which night, is said at its line."""
    for one in series:
        yield f"{metric_text(one.metric)}, {_counted(len(one.configs), 'config')}, the first night is 100%"
        low, high = min(one.ratios), max(one.ratios)
        width = max((len(_of(night)) for night in one.nights), default=0)
        for place, (night, ratio) in enumerate(zip(one.nights, one.ratios, strict=True)):
            step = one.step_at(place)
            mark = "" if step is None else f"  <- {change_text(float(np.exp(step.shift)))} from here on"
            bar = "#" * (1 + round((ratio - low) / (high - low) * (BAR_WIDTH - 1)) if high > low else 1)
            verdict = f"{night.verdict:<16}"
            yield f"  {night.name}  {_of(night):<{width}}  {verdict} {ratio:7.1%}  {bar}{mark}".rstrip()
        if not one.steps:
            yield "  no change of level"
        yield ""


def _of(night: Night) -> str:
    return night.revision or ", ".join(night.labels) or "-"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
