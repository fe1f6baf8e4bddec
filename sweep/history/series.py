"""The levels of many configs over many nights, by family: what changed in the history, and when.

One config over nights is as noisy as one config in a night. So the series that are searched are those of families: of
each night the mean, over the family's configs, of how far each config is above its own mean over all nights.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
import numpy.typing as npt

from sweep.comparison.families import Config, Family, families
from sweep.comparison.ranks import adjusted
from sweep.history.change_points import CREEP_NIGHTS, Change, creep, recent_step
from sweep.showing.points import Metric

ALPHA: Final = 0.001
"""Of a history's alarms. It is looked at every night, so one night must seldom be wrong."""

Numbers = npt.NDArray[np.float64]


class Kind(StrEnum):
    """How a history changed."""

    STEP = "step"
    CREEP = "creep"


@dataclass(frozen=True, slots=True)
class Alarm:
    """A change in the history of a family; `night` is the place of its first night, `change` a share such as 0.05."""

    metric: Metric
    shared: Mapping[str, object]
    configs: int
    kind: Kind
    night: int
    change: float
    p_value: float


def family_series(levels: Numbers, members: Sequence[int]) -> Numbers:
    """Of each night how far the members are above their own means, in logarithms; NaN where none was measured.

    `levels` has a row for each night and a column for each config, NaN where it was not measured.
    """
    logs = np.log(levels[:, list(members)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # means of nothing are NaN, which is what they are
        return np.asarray(np.nanmean(logs - np.nanmean(logs, axis=0), axis=1))


def alarms(
    configs: Sequence[Config], levels: Mapping[Metric, Numbers], least_change: float, alpha: float = ALPHA
) -> list[Alarm]:
    """What changed within the last nights, the surest first, one alarm for each metric and kind.

    A change counts if chance explains it with a probability below `alpha`, all families, metrics and kinds counted,
    and if it is `least_change` at least.
    """
    candidates: list[tuple[Metric, Family, Kind, Change, int]] = []
    for metric, table in levels.items():
        for family in [*families(configs), *_single(configs)]:
            series = family_series(table, family.members)
            there = np.flatnonzero(~np.isnan(series))
            for kind, change in ((Kind.STEP, recent_step(series[there])), (Kind.CREEP, creep(series[there]))):
                if change is not None:
                    candidates.append((metric, family, kind, change, int(there[change.index])))
    p_values = adjusted([change.p_value for _, _, _, change, _ in candidates])
    recent = max((len(table) for table in levels.values()), default=0) - CREEP_NIGHTS
    found: dict[tuple[Metric, Kind], Alarm] = {}
    for (metric, family, kind, change, night), p_value in sorted(
        zip(candidates, p_values.tolist(), strict=True), key=lambda item: item[0][3].p_value
    ):
        share = float(np.expm1(change.shift))
        if p_value <= alpha and abs(share) >= least_change and night >= recent:
            alarm = Alarm(metric, family.shared, len(family.members), kind, night, share, p_value)
            found.setdefault((metric, kind), alarm)
    return list(found.values())


def _single(configs: Sequence[Config]) -> list[Family]:
    """A lone config is a family of its own; of several, each alone is too noisy to be asked every night."""
    return [Family({}, (0,))] if len(configs) == 1 else []
