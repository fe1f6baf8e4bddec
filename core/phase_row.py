"""From what an engine counted and measured in a phase to its row of results."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from core.compiled.records import Integers, Record
from core.config import Config, config_record
from core.counters import count_columns
from core.identity import config_id
from core.rows import CONCURRENT_COLUMNS, Row
from core.stalls import bucket_value

SECOND = 1e12  # picoseconds

QUANTILES = {"stall_p50_ns": 0.5, "stall_p90_ns": 0.9, "stall_p99_ns": 0.99, "stall_p999_ns": 0.999}

TIMES = ("guest", "exit", "lock_wait", "lock_hold", "other")


class Outcome(NamedTuple):
    """What came of a phase. All times are picoseconds."""

    duration: int
    finish: Integers  # per vCPU: when it was done with its pass
    counters: Record
    times: Record  # of all threads together, see TIMES
    stalls: Integers  # histogram, see core.stalls


def phase_row(config: Config, name: str, iteration: int | None, outcome: Outcome) -> Row:
    """The row of a phase."""
    counts = count_columns(outcome.counters)
    times = outcome.times
    row: Row = {"config_id": config_id(config), **config_record(config), "phase": name, "iteration": iteration}
    row |= {"seconds": outcome.duration / SECOND, "seconds_lo": None, "seconds_hi": None}
    row |= _vcpu_seconds(outcome.finish, counts["accesses"])
    row |= counts
    row |= _stalls(outcome, counts["accesses"])
    row |= dict.fromkeys(column.name for column in CONCURRENT_COLUMNS)  # null where no vCPU ran beside an ioctl
    row |= {f"{name}_seconds": int(times[name]) / SECOND for name in TIMES}
    return row


def _vcpu_seconds(finish: Integers, accesses: int) -> Row:
    """How long the vCPUs took; null in a phase without them."""
    if accesses == 0:
        return {"vcpu_seconds_min": None, "vcpu_seconds_mean": None, "vcpu_seconds_max": None}
    return {
        "vcpu_seconds_min": int(finish.min()) / SECOND,
        "vcpu_seconds_mean": int(finish.sum()) / finish.size / SECOND,
        "vcpu_seconds_max": int(finish.max()) / SECOND,
    }


def _stalls(outcome: Outcome, accesses: int) -> Row:
    """Quantiles over all accesses, most of which take no longer than a plain one; null in a phase without any."""
    if accesses == 0:
        return dict.fromkeys([*QUANTILES, "stall_max_ns"])
    undelayed = accesses - int(outcome.stalls.sum())
    longest = int(outcome.times.longest_stall) / 1000
    row: Row = {
        name: min(longest, quantile(outcome.stalls, undelayed, accesses, share)) for name, share in QUANTILES.items()
    }
    return row | {"stall_max_ns": longest}


def quantile(stalls: Integers, undelayed: int, accesses: int, share: float) -> float:
    rank = int(np.ceil(share * accesses)) - undelayed
    if rank <= 0:
        return 0.0
    return bucket_value(int(np.searchsorted(np.cumsum(stalls), rank))) / 1000
