"""Numbers with noise (live, kvm and imported runs), compared by their repeats: what changed beyond chance.

A change is called one when three things hold: chance explains it with a probability below `alpha`, after all configs,
metrics and families are counted (Benjamini and Hochberg); it is as large as the threshold; and there were repeats
enough to show it at all. What repeats cannot show is said to be so, and is never guessed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np

from sweep.comparison.families import Config, Family, families
from sweep.comparison.metrics import Mean, metric_order
from sweep.comparison.ranks import (
    Chance,
    RankSum,
    Ratio,
    adjusted,
    joint_rank_sum,
    mean_ratio,
    rank_sum,
    ratio,
    repeats_needed,
)
from sweep.showing.points import Metric

ALPHA: Final = 0.01
"""Of the changes that one comparison finds, this share at most is chance."""


class Verdict(StrEnum):
    """What can be said of a number, in the word that tables show."""

    WORSE = "worse"
    BETTER = "better"
    SAME = "same"  # the whole interval lies within the threshold
    NOT_SHOWN = "not shown"  # a change as large as the threshold may be there or not
    TOO_FEW = "too few"  # no repeats of this number could show anything


@dataclass(frozen=True, slots=True)
class Pair:
    """The values of one metric of one config on both sides."""

    config: Config
    metric: Metric
    base: tuple[float, ...]
    new: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """A pair with what can be said of it. `p_value` is adjusted for all that was tested beside it."""

    pair: Pair
    ratio: Ratio | None
    p_value: float
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class FamilyFinding:
    """A change that a family of configs shows in a metric."""

    metric: Metric
    shared: Mapping[str, object]
    configs: tuple[Config, ...]
    ratio: Ratio
    p_value: float
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Noisy:
    """The comparison of all noisy numbers."""

    findings: tuple[Finding, ...]
    families: tuple[FamilyFinding, ...]  # changes, the clearest first; none that another one explains
    means: tuple[Mean, ...]
    repeats: int  # that each side needs at least to show a change of one config

    @property
    def is_judged(self) -> bool:
        """Whether anything could be said at all."""
        return bool(self.families) or any(finding.verdict != Verdict.TOO_FEW for finding in self.findings)

    @property
    def worse(self) -> bool:
        verdicts = [finding.verdict for finding in self.findings] + [family.verdict for family in self.families]
        return Verdict.WORSE in verdicts


@dataclass(frozen=True, slots=True)
class _Group:
    """The configs of a family in one metric, by their places in the list of pairs."""

    family: Family
    metric: Metric
    members: tuple[int, ...]
    total: RankSum


def compare_noisy(pairs: Sequence[Pair], threshold: float, alpha: float = ALPHA) -> Noisy:
    """Judge all pairs and the families that their configs form. `threshold` is a share, like 0.05 for 5%."""
    sums = [rank_sum(pair.base, pair.new) for pair in pairs]
    ratios = [ratio(pair.base, pair.new) for pair in pairs]
    places: dict[Metric, list[int]] = {
        metric: [] for metric in sorted({pair.metric for pair in pairs}, key=metric_order)
    }
    for place, pair in enumerate(pairs):
        places[pair.metric].append(place)
    groups = [group for metric, found in places.items() for group in _groups(pairs, sums, metric, found)]
    p_values = adjusted([test.p_value for test in (*sums, *(group.total for group in groups))])
    findings = tuple(
        Finding(pair, found, p_value, _verdict(pair, test.chance, found, p_value, threshold, alpha))
        for pair, test, found, p_value in zip(pairs, sums, ratios, p_values[: len(pairs)].tolist(), strict=True)
    )
    changed = [
        (group, p_value)
        for group, p_value in zip(groups, p_values[len(pairs) :].tolist(), strict=True)
        if p_value <= alpha and _beyond(_mean(ratios, group.members), threshold)
    ]
    means = [Mean(metric, mean, len(found)) for metric, found in places.items() if (mean := _mean(ratios, found))]
    found_families = _clearest(changed, sums, ratios, pairs, threshold, alpha)
    return Noisy(findings, tuple(found_families), tuple(means), repeats_needed(alpha))


def _groups(pairs: Sequence[Pair], sums: Sequence[RankSum], metric: Metric, places: Sequence[int]) -> list[_Group]:
    found = []
    for family in families([pairs[place].config for place in places]):
        members = tuple(places[member] for member in family.members)
        found.append(_Group(family, metric, members, joint_rank_sum([sums[member] for member in members])))
    return found


def _verdict(
    pair: Pair, chance: Chance, found: Ratio | None, p_value: float, threshold: float, alpha: float
) -> Verdict:
    if chance.variance == 0:
        return Verdict.SAME if len(pair.base) > 1 and len(pair.new) > 1 else Verdict.TOO_FEW
    if chance.least_p > alpha:
        return Verdict.TOO_FEW
    if p_value <= alpha:
        if found is None:  # zeros among the values: there is no ratio, but chance it is not
            return Verdict.WORSE if np.median(pair.new) > np.median(pair.base) else Verdict.BETTER
        if _beyond(found, threshold):
            return Verdict.WORSE if found.value > 1 else Verdict.BETTER
    if found is not None and found.low is not None and found.high is not None:
        within = 1 / (1 + threshold) < found.low and found.high < 1 + threshold
        return Verdict.SAME if within else Verdict.NOT_SHOWN
    return Verdict.NOT_SHOWN


def _beyond(found: Ratio | None, threshold: float) -> bool:
    return found is not None and not 1 / (1 + threshold) < found.value < 1 + threshold


def _mean(ratios: Sequence[Ratio | None], places: Sequence[int]) -> Ratio | None:
    known = [found.value for place in places if (found := ratios[place]) is not None]
    return mean_ratio(known) if known else None


def _clearest(
    changed: Sequence[tuple[_Group, float]],
    sums: Sequence[RankSum],
    ratios: Sequence[Ratio | None],
    pairs: Sequence[Pair],
    threshold: float,
    alpha: float,
) -> list[FamilyFinding]:
    """Of families that overlap the clearest, and of the others those that show a change without its configs."""
    found: list[FamilyFinding] = []
    explained: set[int] = set()
    for group, p_value in sorted(changed, key=lambda item: (-abs(item[0].total.z), len(item[0].family.shared))):
        if any(_is_all_of_it(part, group, ratios, threshold) for part, _ in changed):
            continue
        rest = [member for member in group.members if member not in explained]
        if len(rest) < len(group.members):
            mean = _mean(ratios, rest)
            if len(rest) < 2 or not _beyond(mean, threshold):
                continue
            if joint_rank_sum([sums[member] for member in rest]).p_value > alpha / len(sums):
                continue
        mean = _mean(ratios, group.members)
        assert mean is not None
        verdict = Verdict.WORSE if mean.value > 1 else Verdict.BETTER
        configs = tuple(pairs[member].config for member in group.members)
        found.append(FamilyFinding(group.metric, group.family.shared, configs, mean, p_value, verdict))
        explained.update(group.members)
    return found


def _is_all_of_it(part: _Group, whole: _Group, ratios: Sequence[Ratio | None], threshold: float) -> bool:
    """Whether a family's change is that of a smaller one within it, the rest of its configs being as they were."""
    rest = set(whole.members) - set(part.members)
    return bool(rest) and set(part.members) < set(whole.members) and not _beyond(_mean(ratios, sorted(rest)), threshold)
