"""Two sides matched config by config and judged: simulated numbers exactly, noisy ones by their repeats."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from core.config import field_text
from sweep.comparison.changes import UNEXPLAINED, changes, is_explained
from sweep.comparison.exact import Difference, Exact, compare_exact
from sweep.comparison.families import Config
from sweep.comparison.metrics import SECONDS, MetricChoice, is_chosen, metric_order
from sweep.comparison.noisy import ALPHA, Noisy, Pair, Verdict, compare_noisy
from sweep.comparison.side import MATCHED, OF_MEASUREMENTS, OF_SIMULATIONS, Side, values_of
from sweep.showing.points import PHASES, Metric
from sweep.showing.tables import FOLLOWING_FIELDS

if TYPE_CHECKING:
    import pandas

THRESHOLD: Final = 0.05
"""The least change that matters, unless told otherwise."""

SIMULATED: Final = "sim"

DRIFT: Final = "drift"
WORSE: Final = Verdict.WORSE


class Outcome(StrEnum):
    """What a comparison comes to."""

    NOTHING_WORSE = "nothing worse"
    REGRESSED = "regressed"
    DRIFTED = "drifted"
    NOT_COMPARED = "nothing could be compared"


EXIT_CODES: Final = {
    Outcome.NOTHING_WORSE: 0,
    Outcome.REGRESSED: 1,
    Outcome.DRIFTED: 1,
    Outcome.NOT_COMPARED: 3,
}


@dataclass(frozen=True, slots=True)
class Comparison:
    """All that is said about two sides. `by_purpose`: fields that the selections set apart on purpose."""

    base: str
    new: str
    threshold: float
    by_purpose: tuple[str, ...]
    exact: Exact
    noisy: Noisy
    changes: tuple[str, ...]
    only_base: tuple[Config, ...]
    only_new: tuple[Config, ...]
    failed: tuple[Config, ...]  # on the new side, and not on the base
    mixed: tuple[str, ...]  # reasons why configs were left out

    @property
    def outcome(self) -> Outcome:
        if not self.exact.numbers and not self.noisy.is_judged:
            return Outcome.NOT_COMPARED
        if self.noisy.worse or self.failed or any(self.verdict(found) == WORSE for found in self.exact.differences):
            return Outcome.REGRESSED
        return Outcome.DRIFTED if self.exact.differences and not self.by_purpose else Outcome.NOTHING_WORSE

    def verdict(self, found: Difference) -> str:
        """What an exact difference is: drift of the same config; of configs that differ by purpose what it comes to."""
        if not self.by_purpose:
            return DRIFT
        ratio = math.inf if found.ratio is None else found.ratio
        if 1 / (1 + self.threshold) < ratio < 1 + self.threshold:
            return Verdict.SAME
        return Verdict.WORSE if ratio > 1 else Verdict.BETTER

    @property
    def reason(self) -> str:
        """Why nothing could be compared."""
        if self.mixed:
            return "; ".join(self.mixed)
        if self.noisy.findings:
            few = min(min(len(found.pair.base), len(found.pair.new)) for found in self.noisy.findings)
            return f"too few repeats: {few} where each side needs {self.noisy.repeats} (repeat=0,1,2,... makes them)"
        if self.failed:
            return f"all {len(self.failed)} configs failed in {self.new}"
        if self.only_base and self.only_new:
            return f"no config is on both sides; {_what_differs(self.only_base, self.only_new)}"
        return "no number of the chosen metrics is on both sides"


@dataclass(frozen=True, slots=True)
class _Matched:
    """Rows of the two sides with the column key, and the configs that the keys name."""

    base: Any
    new: Any
    configs: Mapping[str, Config]


def compare_sides(
    base: Side,
    new: Side,
    *,
    threshold: float = THRESHOLD,
    choices: Sequence[MetricChoice] = (),
    named: Sequence[str] = (),
    alpha: float = ALPHA,
) -> Comparison:
    """Compare what both sides have of the chosen metrics (none: times of noisy rows, everything of simulated ones).

    `named` are fields that the two selections name: where they have no value in common, they differ by purpose.
    """
    by_purpose = tuple(name for name in named if name in MATCHED and _is_apart(base, new, name))
    if by_purpose:
        by_purpose += tuple(name for name in FOLLOWING_FIELDS if name not in named and _is_apart(base, new, name))
    fields = [name for name in MATCHED if name not in by_purpose]
    sides = [_with_keys(side, fields) for side in (base, new)]
    kept, mixed = zip(*(_without_mixed(side) for side in sides), strict=True)
    configs = {key: config for side in sides for key, config in _configs(side, fields).items()}
    present = [set(side.phases["key"]) for side in sides]
    failed = (set(sides[1].runs["key"]) - present[1]) & present[0]
    exact, pairs = _numbers(kept[0].phases, kept[1].phases, configs, choices, bool(by_purpose))
    noisy = compare_noisy(pairs, threshold, alpha)
    explanations = [f"{name} {_told(base, name)} -> {_told(new, name)}" for name in by_purpose] + changes(base, new)
    if exact.differences and not by_purpose and not is_explained(base, new):
        explanations.insert(0, UNEXPLAINED)
    return Comparison(
        base=base.name,
        new=new.name,
        threshold=threshold,
        by_purpose=by_purpose,
        exact=exact,
        noisy=noisy,
        changes=tuple(explanations),
        only_base=tuple(configs[key] for key in configs if key in present[0] - present[1] - failed),
        only_new=tuple(configs[key] for key in configs if key in present[1] - present[0]),
        failed=tuple(configs[key] for key in configs if key in failed),
        mixed=tuple(reason for reasons in mixed for reason in reasons),
    )


def _is_apart(base: Side, new: Side, name: str) -> bool:
    return not set(base.runs[name]) & set(new.runs[name])


def _told(side: Side, name: str) -> str:
    return ", ".join(field_text(name, value) for value in side.runs[name].unique())


def _with_keys(side: Side, fields: Sequence[str]) -> Side:
    """The side with a column key, the text of all matched fields."""
    keyed = [rows.assign(key=[repr(values) for values in values_of(rows, fields)]) for rows in (side.runs, side.phases)]
    return dataclasses.replace(side, runs=keyed[0], phases=keyed[1])


def _configs(side: Side, fields: Sequence[str]) -> dict[str, Config]:
    first = side.runs.drop_duplicates("key")
    named = (dict(zip(fields, values, strict=True)) for values in values_of(first, fields))
    return dict(zip(first["key"], named, strict=True))


def _without_mixed(side: Side) -> tuple[Side, list[str]]:
    """The side without configs whose rows are no repeats of each other, and why those are left out."""
    reasons = []
    phases = side.phases
    simulated = phases["engine"] == SIMULATED
    for rows, names in ((phases[simulated], OF_SIMULATIONS), (phases[~simulated], OF_MEASUREMENTS)):
        for name in names:
            counts = rows.groupby("key")[name].nunique(dropna=False)
            mixed = counts.index[counts > 1]
            if not len(mixed):
                continue
            values = sorted({str(value) for value in rows.loc[rows["key"].isin(mixed), name].unique()})
            told = ", ".join(value or "''" for value in values[:4])
            reasons.append(
                f"{side.name}: {len(mixed)} configs have numbers of more than one {name} ({told}); "
                f"choose one, as in \"{name} = '{values[-1]}'\""
            )
            phases = phases[~phases["key"].isin(mixed)]
    return dataclasses.replace(side, phases=phases), reasons


def _numbers(
    base: pandas.DataFrame,
    new: pandas.DataFrame,
    configs: Mapping[str, Config],
    choices: Sequence[MetricChoice],
    by_purpose: bool,
) -> tuple[Exact, list[Pair]]:
    """Rows of the same simulated config are compared exactly; all others become pairs of repeats."""
    exact_keys = set(base.loc[base["engine"] == SIMULATED, "key"]) & set(new.loc[new["engine"] == SIMULATED, "key"])
    once = [rows.drop_duplicates(["key", "phase", "iteration"]) for rows in (base, new)]
    exact = [rows[rows["key"].isin(exact_keys)] for rows in once]
    noisy = [rows[~rows["key"].isin(exact_keys)] for rows in (base, new)]
    if by_purpose and not choices:  # other configs have other counts: that is why they are compared
        choices = [MetricChoice(phase, SECONDS) for phase in PHASES]
    return compare_exact(exact[0], exact[1], configs, choices), _pairs(noisy[0], noisy[1], configs, choices)


def _pairs(
    base: pandas.DataFrame, new: pandas.DataFrame, configs: Mapping[str, Config], choices: Sequence[MetricChoice]
) -> list[Pair]:
    """The values of every metric that both sides have, the configs in their order."""
    columns = list(dict.fromkeys(choice.column for choice in choices)) or [SECONDS]
    values, new_values = (_values(rows, columns, choices) for rows in (base, new))
    order = {key: place for place, key in enumerate(configs)}
    both = sorted(values.keys() & new_values.keys(), key=lambda item: (metric_order(item[1]), order[item[0]]))
    return [Pair(configs[key], metric, values[key, metric], new_values[key, metric]) for key, metric in both]


def _values(
    rows: pandas.DataFrame, columns: Sequence[str], choices: Sequence[MetricChoice]
) -> dict[tuple[str, Metric], tuple[float, ...]]:
    found: dict[tuple[str, Metric], tuple[float, ...]] = {}
    for column in columns:
        there = rows[rows[column].notna()]
        for (key, phase, iteration), values in there.groupby(["key", "phase", "iteration"], sort=False)[column]:
            metric = Metric(str(phase), column, int(iteration) or None)
            if is_chosen(metric, choices):
                found[key, metric] = tuple(map(float, values))
    return found


def _what_differs(base: Sequence[Config], new: Sequence[Config]) -> str:
    """The fields in which no config of one side is like any of the other."""
    apart = [name for name in base[0] if not {config[name] for config in base} & {config[name] for config in new}]
    if not apart:
        return "they differ in combinations of fields"
    told = ", ".join(f"{name} ({base[0][name]} against {new[0][name]})" for name in apart)
    return f"they differ in {told}; to compare across, name it in both --base and --new"
