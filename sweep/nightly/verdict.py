"""The verdict on a night, in one word, with its exit code: a pure decision from what was measured and compared.

"Measured nothing" must neither look like a pass nor like a regression, so each way in which a night can fail to say
anything about the code has a word of its own, and an exit code apart from both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sweep.comparison.compare import Comparison
from sweep.comparison.noisy import Verdict as Change
from sweep.history.series import Alarm
from sweep.showing.points import Metric


class Verdict(StrEnum):
    """What came of a night."""

    OK = "ok"
    FIRST = "first"  # nothing to compare with yet
    REGRESSED = "regressed"  # something measured is worse than the baseline
    DRIFTED = "drifted"  # simulated numbers differ from the baseline
    CREEPING = "creeping"  # the history shows what no single comparison does
    INCOMPLETE = "incomplete"  # not all configs have numbers, and the others are fine
    OTHER_HOST = "other host"  # measured on machines that the baseline was not measured on
    TOO_FEW = "too few repeats"  # nothing could be judged
    NOTHING = "measured nothing"


EXIT_CODES: Final = {
    Verdict.OK: 0,
    Verdict.FIRST: 0,
    Verdict.REGRESSED: 1,
    Verdict.DRIFTED: 1,
    Verdict.CREEPING: 1,
    Verdict.INCOMPLETE: 3,
    Verdict.OTHER_HOST: 3,
    Verdict.TOO_FEW: 3,
    Verdict.NOTHING: 3,
}


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a verdict follows from."""

    wanted: int
    measured: int
    comparison: Comparison | None  # None: there is no baseline
    confirmed: Comparison | None  # of the suspects that were run again; None: nothing was
    alarms: Sequence[Alarm]  # of the history, that are new
    other_hosts: Sequence[str]  # on which the baseline was measured, if not on tonight's
    several_hosts: bool = False  # tonight's repeats of one config come from several machines


def decide(evidence: Evidence) -> Verdict:
    """The verdict: what is worse first, then why nothing could be said, then that all is well."""
    if not evidence.measured:
        return Verdict.NOTHING
    if is_regressed(evidence):
        return Verdict.REGRESSED
    comparison = evidence.comparison
    if comparison is not None and comparison.exact.differences:
        return Verdict.DRIFTED
    if any(alarm.change > 0 for alarm in evidence.alarms):
        return Verdict.CREEPING
    if evidence.measured < evidence.wanted:
        return Verdict.INCOMPLETE
    if evidence.other_hosts or evidence.several_hosts:
        return Verdict.OTHER_HOST
    if comparison is None:
        return Verdict.FIRST
    if not comparison.exact.numbers and not comparison.noisy.is_judged:
        return Verdict.TOO_FEW
    return Verdict.OK


def is_regressed(evidence: Evidence) -> bool:
    """Whether something measured is worse; of suspects that were run again, whether it is so again."""
    if evidence.confirmed is not None:
        return evidence.confirmed.noisy.worse
    return evidence.comparison is not None and evidence.comparison.noisy.worse


def worse_metrics(comparison: Comparison) -> set[Metric]:
    """The metrics in which something measured is worse."""
    noisy = comparison.noisy
    found: set[Metric] = {family.metric for family in noisy.families if family.verdict == Change.WORSE}
    return found | {finding.pair.metric for finding in noisy.findings if finding.verdict == Change.WORSE}
