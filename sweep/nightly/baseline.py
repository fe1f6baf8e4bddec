"""What a night is compared with: an earlier night of the same sweep, measured on the same machines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from sweep.errors import QueryError
from sweep.history.levels import read_levels
from sweep.history.nights import Night
from sweep.history.series import family_series

LAST: Final = "last"
BEST: Final = "best"


@dataclass(frozen=True, slots=True)
class Baseline:
    """The chosen night, or None and whether that is because others were measured on other machines."""

    night: Night | None
    other_hosts: tuple[str, ...] = ()


def check_baseline(wanted: str, nights: Sequence[Night], history: str) -> None:
    """Raise QueryError where a night is named that the history does not hold."""
    if wanted not in (LAST, BEST) and not _named(wanted, nights):
        names = ", ".join(night.name for night in nights[-3:]) or "none yet"
        raise QueryError(
            f"--baseline: {history} has no night, revision or label {wanted!r}; "
            f"allowed: {LAST}, {BEST}, or one of its nights ({names})"
        )


def choose_baseline(wanted: str, nights: Sequence[Night], spec: str, hosts: Sequence[str], history: str) -> Baseline:
    """The night that `wanted` names among those of this sweep; `hosts` are those that measured tonight."""
    of_sweep = [night for night in nights if night.spec == spec and night.measured]
    named = of_sweep if wanted in (LAST, BEST) else _named(wanted, nights)
    here = [night for night in named if tuple(night.hosts) == tuple(hosts)]
    if not here:
        return Baseline(None, tuple(sorted({host for night in named for host in night.hosts})))
    return Baseline(_best(here, history) if wanted == BEST else here[-1])


def _named(wanted: str, nights: Sequence[Night]) -> list[Night]:
    return [night for night in nights if wanted in (night.name, night.revision, *night.labels)]


def _best(nights: Sequence[Night], history: str) -> Night:
    """The fastest: the lowest geometric mean over all configs and phases."""
    levels = read_levels(history, nights)
    if not levels.nights:
        return nights[-1]
    series = [family_series(table, range(table.shape[1])) for table in levels.by_metric.values()]
    return levels.nights[int(np.nanargmin(np.nanmean(series, axis=0)))]
