"""Simulated numbers, which are exact: any difference between two sides is a fact, and needs no statistics.

Of the same config it is drift: a parameter of the profile, the engine's version, or the engine itself has changed.
Counts come first, because a profile has no part in most of them: where they differ, a rule has changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from core.rows import COUNT_COLUMNS
from sweep.comparison.families import Config
from sweep.comparison.metrics import SECONDS, Mean, MetricChoice, columns_present, is_chosen, metric_order
from sweep.comparison.ranks import Ratio
from sweep.showing.points import Metric

if TYPE_CHECKING:
    import pandas

COUNTS: Final = frozenset(column.name for column in COUNT_COLUMNS)

_LAST_DIGITS: Final = {"seconds_lo": 1e-9, "seconds_hi": 1e-9}
"""Columns that come out of linear algebra, whose last digits depend on the CPU; all others agree to the bit."""

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Difference:
    """A number that is not the same on both sides; None where a side has none."""

    config: Config
    metric: Metric
    base: float | None
    new: float | None

    @property
    def is_count(self) -> bool:
        return self.metric.column in COUNTS

    @property
    def ratio(self) -> float | None:
        """New over base; None where there is no such number."""
        return self.new / self.base if self.base and self.new is not None else None


@dataclass(frozen=True, slots=True)
class Exact:
    """The configs compared, how many numbers of them, what differs (counts first), and the means of the times."""

    configs: tuple[Config, ...]
    numbers: int
    differences: tuple[Difference, ...]
    means: tuple[Mean, ...]


def compare_exact(
    base: pandas.DataFrame, new: pandas.DataFrame, configs: Mapping[str, Config], choices: Sequence[MetricChoice]
) -> Exact:
    """Compare phase rows, matched by their columns key, phase and iteration; `configs` are those of the keys."""
    if base.empty or new.empty:
        return Exact((), 0, (), ())
    both = base.merge(new, on=["key", "phase", "iteration"], suffixes=("", " of new"))
    columns = dict.fromkeys([*columns_present(base), *columns_present(new)])
    differences: list[Difference] = []
    means: list[Mean] = []
    numbers = 0
    for (phase, iteration), rows in both.groupby(["phase", "iteration"]):
        for metric in (Metric(str(phase), column, int(iteration) or None) for column in columns):
            if not is_chosen(metric, choices):
                continue
            values, new_values = _numbers(rows, metric.column), _numbers(rows, f"{metric.column} of new")
            numbers += int(np.count_nonzero(~(np.isnan(values) & np.isnan(new_values))))
            for place in np.flatnonzero(_differ(values, new_values, _LAST_DIGITS.get(metric.column, 0.0))):
                config = configs[rows["key"].iloc[place]]
                differences.append(Difference(config, metric, _or_none(values[place]), _or_none(new_values[place])))
            if metric.column == SECONDS:
                means += _means(metric, values, new_values)
    differences.sort(key=lambda found: (not found.is_count, metric_order(found.metric)))  # stable: configs in order
    means.sort(key=lambda mean: metric_order(mean.metric))
    compared = set(both["key"])
    found = tuple(config for key, config in configs.items() if key in compared)
    return Exact(found, numbers, tuple(differences), tuple(means))


def _numbers(rows: Any, column: str) -> Numbers:
    return np.asarray(rows[column], dtype=float)


def _differ(values: Numbers, new_values: Numbers, tolerance: float) -> npt.NDArray[np.bool_]:
    return ~np.isclose(values, new_values, rtol=tolerance, atol=0, equal_nan=True)


def _means(metric: Metric, values: Numbers, new_values: Numbers) -> list[Mean]:
    above = (values > 0) & (new_values > 0)
    if not above.any():
        return []
    mean = float(np.exp(np.log(new_values[above] / values[above]).mean()))
    return [Mean(metric, Ratio(mean, None, None), int(above.sum()))]


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
