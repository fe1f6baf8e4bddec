"""Which numbers are compared, and in which order they are told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sweep.comparison.ranks import Ratio
from sweep.showing.points import ITERATED_PHASES, METRIC_COLUMNS, PHASES, Metric, parse_metric

if TYPE_CHECKING:
    import pandas

SECONDS: Final = "seconds"


@dataclass(frozen=True, slots=True)
class MetricChoice:
    """A column of a phase in all its iterations, as the option --metric names it."""

    phase: str
    column: str

    def covers(self, metric: Metric) -> bool:
        return (metric.phase, metric.column) == (self.phase, self.column)


@dataclass(frozen=True, slots=True)
class Mean:
    """The geometric mean of the ratios of all configs in one metric."""

    metric: Metric
    ratio: Ratio
    configs: int


def parse_choices(texts: Sequence[str]) -> tuple[MetricChoice, ...]:
    """What PHASE or PHASE.COLUMN means, each as `splitsweep table` takes it; QueryError if it means nothing."""
    metrics = [parse_metric(part.strip(), None) for text in texts for part in text.split(",")]
    return tuple(dict.fromkeys(MetricChoice(metric.phase, metric.column) for metric in metrics))


def is_chosen(metric: Metric, choices: Sequence[MetricChoice]) -> bool:
    """Whether a choice covers the metric; no choices mean all."""
    return not choices or any(choice.covers(metric) for choice in choices)


def metric_order(metric: Metric) -> tuple[int, int, int, int]:
    """A sort key: in the order in which a run goes through its phases, and of the columns of a row."""
    first = PHASES.index(ITERATED_PHASES[0])
    place = PHASES.index(metric.phase)
    iterated = metric.phase in ITERATED_PHASES
    column = METRIC_COLUMNS.index(metric.column)
    return (first if iterated else place, metric.iteration or 0, place, column)


def metric_text(metric: Metric) -> str:
    """`dirty 1`, and with its column `dirty 1 faults` unless that is the seconds."""
    phase = metric.phase if metric.iteration is None else f"{metric.phase} {metric.iteration}"
    return phase if metric.column == SECONDS else f"{phase} {metric.column}"


def columns_present(phases: pandas.DataFrame) -> tuple[str, ...]:
    """The columns of numbers that any of these rows has."""
    return tuple(name for name in METRIC_COLUMNS if name in phases and phases[name].notna().any())
