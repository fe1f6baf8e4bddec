"""Is it chance? Exact rank-sum tests, for one config and for many together, and the ratio with its interval.

Timings are skewed, with outliers, so nothing here assumes a distribution: a test asks how often random exchange of the
base and the new values of a config would rank the new ones as high, or as low. The rank sum of one config is the
Mann-Whitney test. The sum of the rank sums of several configs, each ranked among its own values only, is van Elteren's
stratified test: it finds a change that many configs share and that none of them can show alone.

Chances are counted, not approximated, wherever that is quick. Ties have middle ranks, and count as they fall
(Streitberg and Röhmel, 1986); scipy has neither that for ties nor the stratified test.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]

CONFIDENCE: Final = 0.95
"""Of all intervals of ratios."""

_NORMAL_95: Final = 1.959964

_MOST_COUNTED: Final = 60
"""Values of a config up to which chances are counted: as long as floats hold the numbers of subsets."""

_MOST_SUMS: Final = 1_000
"""Possible sums up to which the chances of several configs are multiplied out. Beyond it their sum is a normal variable
to within a percent, and on the safe side far out, where a sum of bounded ranks has less weight than the normal law."""


@dataclass(frozen=True, slots=True)
class Chance:
    """How a rank sum falls by chance. Ranks are doubled, so that the middle ranks of ties are whole numbers."""

    least: int
    mean: float
    variance: float
    weights: Numbers | None  # probability of least, least + 1, ...; None if there are too many to count

    @property
    def least_p(self) -> float:
        """The smallest two-sided p value that any values could have."""
        if self.variance == 0:
            return 1.0
        if self.weights is None:
            return 0.0
        return min(1.0, 2 * float(min(self.weights[0], self.weights[-1])))


@dataclass(frozen=True, slots=True)
class RankSum:
    """The doubled rank sum of new values among all values, and how it would fall by chance."""

    value: float
    chance: Chance

    @property
    def z(self) -> float:
        """Standard deviations above what chance makes of it."""
        return (self.value - self.chance.mean) / math.sqrt(self.chance.variance) if self.chance.variance else 0.0

    @property
    def p_value(self) -> float:
        """Two-sided: how often chance would rank the new values as far from the middle."""
        if self.chance.variance == 0:
            return 1.0
        if self.chance.weights is None:
            beyond = max(0.0, abs(self.value - self.chance.mean) - 1)  # a half of the step of untied, doubled ranks
            return math.erfc(beyond / math.sqrt(2 * self.chance.variance))
        place = int(self.value) - self.chance.least
        below, above = self.chance.weights[: place + 1].sum(), self.chance.weights[place:].sum()
        return min(1.0, 2 * float(min(below, above)))


@dataclass(frozen=True, slots=True)
class Ratio:
    """New over base, with its 95% interval; None for an end that so few values cannot give."""

    value: float
    low: float | None
    high: float | None


def rank_sum(base: Sequence[float], new: Sequence[float]) -> RankSum:
    """The new values ranked among the values of both."""
    doubled = _doubled_ranks([*base, *new])
    return RankSum(float(doubled[len(base) :].sum()), _chance(tuple(np.sort(doubled).tolist()), len(new)))


def joint_rank_sum(parts: Sequence[RankSum]) -> RankSum:
    """The rank sums of several configs as one: their values are exchanged within each config only."""
    chances = [part.chance for part in parts]
    mean, variance = sum(chance.mean for chance in chances), sum(chance.variance for chance in chances)
    sums = 1.0
    for chance in chances:
        sums += math.inf if chance.weights is None else len(chance.weights) - 1
    weights: Numbers | None = None
    if sums <= _MOST_SUMS:
        weights = np.ones(1)
        for chance in chances:
            assert chance.weights is not None
            weights = np.convolve(weights, chance.weights)
    return RankSum(
        sum(part.value for part in parts), Chance(sum(chance.least for chance in chances), mean, variance, weights)
    )


def ratio(base: Sequence[float], new: Sequence[float]) -> Ratio | None:
    """The Hodges-Lehmann ratio, the median of all new / base, with its exact interval; None unless all are above 0."""
    if min(*base, *new) <= 0:
        return None
    logs = np.sort(np.subtract.outer(np.log(new), np.log(base)), axis=None)
    value = math.exp(float(np.median(logs)))
    cut = _interval_cut(len(base), len(new))
    if cut == 0:
        return Ratio(value, None, None)
    return Ratio(value, math.exp(logs[cut - 1]), math.exp(logs[-cut]))


def mean_ratio(ratios: Sequence[float]) -> Ratio:
    """The geometric mean of the ratios of several configs, with the interval that their own scatter gives it."""
    from scipy.stats import t

    logs = np.log(ratios)
    mean = float(logs.mean())
    if len(logs) < 2:
        return Ratio(math.exp(mean), None, None)
    margin = float(t.ppf((1 + CONFIDENCE) / 2, len(logs) - 1) * logs.std(ddof=1) / math.sqrt(len(logs)))
    return Ratio(math.exp(mean), math.exp(mean - margin), math.exp(mean + margin))


def repeats_needed(alpha: float) -> int:
    """How many values each side needs, at least, for a p value of `alpha` to be possible at all."""
    return next(count for count in range(1, 1000) if 2 / math.comb(2 * count, count) <= alpha)


def adjusted(p_values: Sequence[float]) -> Numbers:
    """p values adjusted for their number (Benjamini and Hochberg): of those below x a share x at most is chance."""
    from scipy.stats import false_discovery_control

    return np.asarray(false_discovery_control(p_values)) if len(p_values) else np.empty(0)


def _doubled_ranks(values: Sequence[float]) -> npt.NDArray[np.int64]:
    """Twice the rank of each value, ties at the middle of theirs: a count of those below and of those not above."""
    array = np.asarray(values, dtype=float)
    ordered = np.sort(array)
    return np.searchsorted(ordered, array, "left") + np.searchsorted(ordered, array, "right") + 1


@functools.lru_cache(maxsize=4096)  # without ties it is the same for all configs of a comparison
def _chance(doubled: tuple[int, ...], chosen: int) -> Chance:
    """How the sum of `chosen` of these doubled ranks falls when each choice is as likely."""
    ranks = np.asarray(doubled, dtype=float)
    total, rest = len(ranks), len(ranks) - chosen
    mean = chosen * float(ranks.mean())
    variance = chosen * rest * float(ranks.var()) / (total - 1) if total > 1 else 0.0
    least = sum(doubled[:chosen])
    if total > _MOST_COUNTED:
        return Chance(least, mean, variance, None)
    most = sum(doubled[rest:])
    ways = np.zeros((chosen + 1, most + 1))  # of choosing so many ranks with such a sum
    ways[0, 0] = 1
    for rank in doubled:
        ways[1:, rank:] += ways[:-1, : most + 1 - rank].copy()
    return Chance(least, mean, variance, ways[chosen, least:] / math.comb(total, chosen))


@functools.cache
def _interval_cut(base: int, new: int) -> int:
    """How many of the sorted ratios an exact interval leaves out at each end, plus one; 0 if there is none."""
    tail = (1 - CONFIDENCE) / 2
    chance = _chance(tuple(range(2, 2 * (base + new) + 1, 2)), new)
    if chance.weights is None:
        return max(0, math.floor(base * new / 2 - _NORMAL_95 * math.sqrt(chance.variance / 4)))
    return int(np.searchsorted(np.cumsum(chance.weights[::2]), tail, "right"))
