"""One night from end to end: run, compare, run suspects again, look back, decide, write, tell."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from core.config import Config, config_record
from core.run import run_config
from sweep.comparison.compare import SIMULATED, Comparison, compare_sides
from sweep.comparison.metrics import metric_text
from sweep.comparison.noisy import ALPHA, Verdict
from sweep.comparison.side import MATCHED, Side, read_side
from sweep.errors import QueryError
from sweep.history.levels import read_levels, write_levels
from sweep.history.nights import Night, night_location, night_name, read_nights, write_night
from sweep.history.series import Alarm, alarms
from sweep.nightly.baseline import Baseline, check_baseline, choose_baseline
from sweep.nightly.measuring import again, measure, night_configs
from sweep.nightly.verdict import Evidence, decide, is_regressed, worse_metrics
from sweep.showing.points import Metric

if TYPE_CHECKING:
    from sweep.running.worker import Engine
    from sweep.spec.configs import Spec

SUSPECT: Final = 0.05
"""Chance of a suspicion per night, where suspects are run again before anything is said."""

UNCONFIRMED: Final = 0.001
"""The same where they are not: one false alarm in a thousand nights."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of a night."""

    sweep: Spec
    spec_text: str
    history: str
    baseline: str
    repeats: int | None
    confirm: bool
    revision: str | None
    threshold: float
    address: str | None
    engine: Engine = run_config


@dataclass(frozen=True, slots=True)
class Result:
    """A night that is over. `new` and `base` are the sides that were compared; None where there was nothing."""

    night: Night
    evidence: Evidence
    base: Night | None
    interrupted_by: int | None = None  # the signal

    @property
    def suspects(self) -> bool:
        """Whether something looked worse, was run again, and was not worse then."""
        return self.evidence.confirmed is not None and not is_regressed(self.evidence)


def run_night(request: Request, started: datetime) -> Result:
    """Run the night that starts now and judge it. `keep` then makes it part of the history."""
    earlier = read_nights(request.history)
    check_baseline(request.baseline, earlier, request.history)
    name = night_name(started)
    if any(night.name == name for night in earlier):
        raise QueryError(f"--history {request.history}: has a night {name} already; nights are at least a second apart")
    configs = night_configs(request.sweep.configs, request.repeats)
    location = night_location(request.history, name)
    signal = measure(configs, location, request.spec_text, request.address, request.engine)
    side = _side(location)
    night = _night(request, name, started, configs, side)
    if signal is not None or side is None:
        evidence = Evidence(len(configs), night.measured, None, None, (), ())
        return Result(_judged(night, evidence, None), evidence, None, signal)
    write_levels(request.history, name, side)
    chosen = choose_baseline(request.baseline, earlier, request.sweep.name, night.hosts, request.history)
    comparison, confirmed = _compared(request, name, configs, side, chosen)
    evidence = Evidence(
        wanted=len(configs),
        measured=night.measured,
        comparison=comparison,
        confirmed=confirmed,
        alarms=_new_alarms(request, earlier, night),
        other_hosts=chosen.other_hosts if chosen.night is None else (),
        several_hosts=_has_several_hosts(side),
    )
    return Result(_judged(night, evidence, chosen.night), evidence, chosen.night)


def _side(location: str) -> Side | None:
    """What was measured; None if nothing was."""
    try:
        side = read_side(location, {})
    except QueryError:
        return None
    return None if side.phases.empty else side


def _night(request: Request, name: str, started: datetime, configs: Sequence[Config], side: Side | None) -> Night:
    from sweep.running.execute import git_revision

    noisy = None if side is None else _noisy(side)
    return Night(
        name=name,
        spec=request.sweep.name,
        started_at=started.isoformat(timespec="seconds"),
        splitsweep_revision=git_revision(),
        revision=request.revision,
        labels=() if side is None else side.origins("label"),
        hosts=() if noisy is None else noisy.origins("host"),
        kernels=() if noisy is None else noisy.origins("kernel_release"),
        wanted=len(configs),
        measured=0 if side is None else int((side.runs["status"] == "ok").sum()),
    )


def _noisy(side: Side) -> Side:
    return dataclasses.replace(side, runs=side.runs[side.runs["engine"] != SIMULATED])


def _has_several_hosts(side: Side) -> bool:
    rows = _noisy(side).runs
    hosts = rows.groupby(list(MATCHED), dropna=False)["host"].nunique()
    return bool((hosts > 1).any())


def _compared(
    request: Request, name: str, configs: Sequence[Config], side: Side, chosen: Baseline
) -> tuple[Comparison | None, Comparison | None]:
    """The comparison with the baseline, and that of the suspects, if there were any and they were run again."""
    if chosen.night is None:
        return None, None
    base = read_side(night_location(request.history, chosen.night.name), {}, f"night {chosen.night.name}")
    side = dataclasses.replace(side, name=f"night {name}")
    alpha = SUSPECT if request.confirm else UNCONFIRMED
    comparison = compare_sides(base, side, threshold=request.threshold, alpha=alpha)
    if not request.confirm or not comparison.noisy.worse:
        return comparison, None
    suspects = _suspects(comparison, configs)
    location = night_location(request.history, f"{name}/confirm")
    measure(again(suspects), location, request.spec_text, request.address, request.engine)
    side_again = _side(location)
    if side_again is None:
        return comparison, None
    confirmed = compare_sides(base, side_again, threshold=request.threshold, alpha=ALPHA)
    return comparison, _of_metrics(confirmed, worse_metrics(comparison))


def _suspects(comparison: Comparison, configs: Sequence[Config]) -> list[Config]:
    """The configs in which, or in whose family, something measured looks worse, in all their repeats."""
    worse = [found.pair.config for found in comparison.noisy.findings if found.verdict == Verdict.WORSE]
    for family in comparison.noisy.families:
        worse += family.configs if family.verdict == Verdict.WORSE else ()
    wanted = {_key(config) for config in worse}
    return [config for config in configs if _key(config_record(config)) in wanted]


def _key(config: Mapping[str, object]) -> tuple[object, ...]:
    return tuple(config[name] for name in MATCHED)


def _of_metrics(comparison: Comparison, metrics: set[Metric]) -> Comparison:
    """The comparison as far as these metrics go: what else looks worse the second time was no suspect."""
    noisy = comparison.noisy
    return dataclasses.replace(
        comparison,
        noisy=dataclasses.replace(
            noisy,
            findings=tuple(found for found in noisy.findings if found.pair.metric in metrics),
            families=tuple(found for found in noisy.families if found.metric in metrics),
            means=tuple(mean for mean in noisy.means if mean.metric in metrics),
        ),
    )


def _new_alarms(request: Request, earlier: Sequence[Night], night: Night) -> list[Alarm]:
    """What the history of measured configs shows, and no night since has said of the same metric."""
    nights = [old for old in earlier if old.spec == night.spec and old.hosts == night.hosts and old.measured]
    levels = read_levels(request.history, [*nights, night])
    noisy = [place for place, config in enumerate(levels.configs) if config["engine"] != SIMULATED]
    if not noisy:
        return []
    tables = {metric: table[:, noisy] for metric, table in levels.by_metric.items()}
    found = alarms([levels.configs[place] for place in noisy], tables, request.threshold / 2)
    return [
        alarm
        for alarm in found
        if not any(metric_text(alarm.metric) in old.alarms for old in levels.nights[max(0, alarm.night - 1) : -1])
    ]


def _judged(night: Night, evidence: Evidence, base: Night | None) -> Night:
    """The night with its verdict and with the metrics that it says are worse."""
    worse = worse_metrics(evidence.comparison) if evidence.comparison is not None and is_regressed(evidence) else set()
    told = {metric_text(metric) for metric in worse} | {metric_text(alarm.metric) for alarm in evidence.alarms}
    verdict = str(decide(evidence))
    name = None if base is None else base.name
    return dataclasses.replace(night, verdict=verdict, baseline=name, alarms=tuple(sorted(told)))


def keep(request: Request, result: Result) -> None:
    """Make the night part of the history."""
    write_night(request.history, result.night)
