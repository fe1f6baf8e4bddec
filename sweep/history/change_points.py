"""Where a series of nights changed: steps from one level to another, and a creep that no single night shows.

A step is the split of the nights into two parts whose means differ more than the scatter of the nights from their part
explains: the t statistic of every split is looked at, the best one is taken with its p value times the number of
splits (Bonferroni), and both parts are searched again. Apache Otava decides likewise, after MongoDB's use of E-divisive
means. A level that goes up and comes back hides from splits of the whole series, so windows of it are searched too,
each half as long as the ones before and overlapping by a half (seeded binary segmentation).

A creep is a slope of the last nights that is not chance. Scatter is always that from night to night, so that nights
that differ as a whole, as on a machine that was busy or warm, do not look like changes of the code.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

LEAST_NIGHTS: Final = 3
"""Of a level: fewer are an outlier, and the comparison with the baseline has found them already."""

CREEP_NIGHTS: Final = 10
"""Nights over which a creep is looked for."""

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Change:
    """A change at the night `index`, the first of the new level or of the creep; `shift` is that of the series."""

    index: int
    shift: float
    p_value: float


def steps(series: Sequence[float] | Numbers, alpha: float) -> list[Change]:
    """All steps of the series that chance explains with a probability below `alpha`, in order."""
    values = np.asarray(series, dtype=float)
    found: list[Change] = []
    parts = [(0, len(values))]
    while parts:
        start, stop = parts.pop()
        step = _likeliest(values, _windows(start, stop))
        if step is not None and step.p_value <= alpha:
            at = step.index
            found.append(step)
            parts += [(start, at), (at, stop)]
    return _with_levels(values, sorted(found, key=lambda change: change.index))


def recent_step(series: Sequence[float] | Numbers) -> Change | None:
    """The likeliest step of the windows that end with the last night: earlier changes do not hide it."""
    values = np.asarray(series, dtype=float)
    length = len(values)
    windows = []
    while length >= 2 * LEAST_NIGHTS:
        windows.append((len(values) - length, len(values)))
        length //= 2
    return _likeliest(values, windows)


def _likeliest(values: Numbers, windows: Sequence[tuple[int, int]]) -> Change | None:
    """The best step of all windows; its p value counts all of them."""
    found = []
    for start, stop in windows:
        step = best_step(values[start:stop])
        if step is not None:
            found.append(Change(start + step.index, step.shift, min(1.0, step.p_value * len(windows))))
    return min(found, key=lambda step: step.p_value, default=None)


def _windows(start: int, stop: int) -> list[tuple[int, int]]:
    """The nights from start to stop, all of them and in ever shorter windows that overlap by a half."""
    found = []
    length = stop - start
    while length >= 2 * LEAST_NIGHTS:
        begins = range(start, stop - length + 1, max(1, length // 2))
        found += [(begin, begin + length) for begin in dict.fromkeys([*begins, stop - length])]
        length //= 2
    return found


def best_step(series: Sequence[float] | Numbers) -> Change | None:
    """The split that divides the series best, whether that is chance or not; None if it is too short."""
    values = np.asarray(series, dtype=float)
    count = len(values)
    if count < 2 * LEAST_NIGHTS:
        return None
    splits = np.arange(LEAST_NIGHTS, count - LEAST_NIGHTS + 1)
    values = values - values.mean()  # against rounding in the sums of squares
    sums, squares = np.cumsum(values), np.cumsum(values**2)
    before, after = sums[splits - 1], sums[-1] - sums[splits - 1]
    shift = after / (count - splits) - before / splits
    within = squares[-1] - before**2 / splits - after**2 / (count - splits)
    within = np.maximum(within, _rounding(squares[-1]))
    t = shift / np.sqrt(within / (count - 2) * (1 / splits + 1 / (count - splits)))
    best = int(np.argmax(np.abs(t)))
    return Change(int(splits[best]), float(shift[best]), min(1.0, _two_sided(t[best], count - 2) * len(splits)))


def creep(series: Sequence[float] | Numbers) -> Change | None:
    """The slope of the last nights, as the shift over all of them; None if there are too few."""
    if len(series) < CREEP_NIGHTS:
        return None
    values = np.asarray(series[-CREEP_NIGHTS:], dtype=float)
    time = np.arange(CREEP_NIGHTS) - (CREEP_NIGHTS - 1) / 2
    slope = float(time @ values / (time @ time))
    rest = values - values.mean() - slope * time
    scatter = max(float(rest @ rest), _rounding(float((values - values.mean()) @ (values - values.mean()))))
    t = slope / math.sqrt(scatter / (CREEP_NIGHTS - 2) / (time @ time)) if slope else 0.0
    shift = slope * (CREEP_NIGHTS - 1)
    return Change(len(series) - CREEP_NIGHTS, shift, _two_sided(t, CREEP_NIGHTS - 2))


def _with_levels(values: Numbers, found: Sequence[Change]) -> list[Change]:
    """The same steps with the shift from the level before to the level after, between their neighbours."""
    if not found:
        return []
    edges = [0, *(change.index for change in found), len(values)]
    levels = [float(values[start:stop].mean()) for start, stop in pairwise(edges)]
    return [
        Change(change.index, after - before, change.p_value)
        for change, (before, after) in zip(found, pairwise(levels), strict=True)
    ]


def _rounding(squares: float) -> float:
    """What rounding may leave of a sum of squares that should be zero: levels without any scatter."""
    return max(squares * 1e-12, 1e-300)


def _two_sided(t: float, degrees: int) -> float:
    from scipy.special import stdtr

    return 2 * float(stdtr(degrees, -abs(t)))
