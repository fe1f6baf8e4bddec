"""What a phase with running vCPUs tells beyond other phases: further columns of its row, and its timeline."""

from __future__ import annotations

from typing import Final

import numpy as np

from core.compiled.records import Record
from core.config import Config
from core.costs.laws import PICOSECONDS
from core.phase_row import SECOND, quantile
from core.rows import Row
from core.sim.concurrent.state import READER, WRITER, Concurrency
from core.workload import stride_writes

DIP_BELOW: Final = 0.9
"""A share of the undisturbed throughput: time below it counts as a dip."""

QUANTILES: Final = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999}


def concurrency_columns(
    concurrency: Concurrency, counters: Record, longest_hold: int, duration: int, undisturbed: float
) -> Row:
    """The columns that only phases with running vCPUs have, `timeline` among them.

    `undisturbed`: accesses a millisecond without the ioctl.
    """
    felt, writes = concurrency.felt, int(counters.writes)
    row: Row = {"yields": int(felt.yields), "retries": int(felt.retries), "ipis_received": int(felt.ipis)}
    row |= _stall_columns(concurrency, READER, "read", int(counters.accesses) - writes, int(felt.longest_read))
    row |= _stall_columns(concurrency, WRITER, "write", writes, int(felt.longest_write))
    row |= {
        f"stalled_{cause}_seconds": int(felt[f"stalled_{cause}"]) / SECOND
        for cause in ("lock", "retry", "flush", "refill", "pml")
    }
    row |= {"ioctl_wait_seconds": int(felt.idle) / SECOND, "lock_longest_hold_ns": longest_hold / PICOSECONDS}
    return row | _dip(concurrency, duration, undisturbed) | {"timeline": _timeline_rows(concurrency, duration)}


def undisturbed_per_ms(config: Config, costs: Record, *, found_small: bool) -> float:
    """Accesses per millisecond of all vCPUs together where nothing disturbs them, through leaves of that size."""
    write_share = int(stride_writes(0, 100, config.write_percent, 0)) / 100
    write, read = (costs.write, costs.read) if found_small else (costs.huge_write, costs.huge_read)
    plain = write_share * int(write) + (1 - write_share) * int(read)
    return config.vcpus * SECOND / 1000 / max(1, plain)  # a profile may have accesses for nothing


def _timeline_rows(concurrency: Concurrency, duration: int) -> list[Row]:
    """One row per bin that the phase reaches into: its beginning and end in seconds, and what the vCPUs did in it."""
    width = int(concurrency.timeline.scale.width)
    rows: list[Row] = []
    for number, counted in enumerate(concurrency.timeline.bins[: max(1, -(-duration // width))]):
        accesses, writes = int(counted["accesses"]), int(counted["writes"])
        rows.append(
            {
                "bin": number,
                "start_seconds": number * width / SECOND,
                "end_seconds": min(duration, (number + 1) * width) / SECOND,
                "accesses": accesses,
                "reads": accesses - writes,
                "writes": writes,
                "faults": int(counted["faults"]),
            }
        )
    return rows


def _stall_columns(concurrency: Concurrency, kind: int, name: str, accesses: int, longest: int) -> Row:
    if accesses == 0:
        return dict.fromkeys([*(f"{name}_stall_{part}_ns" for part in QUANTILES), f"{name}_stall_max_ns"])
    histogram = concurrency.stalls[kind]
    most = longest / PICOSECONDS
    undelayed = accesses - int(histogram.sum())
    row: Row = {
        f"{name}_stall_{part}_ns": min(most, quantile(histogram, undelayed, accesses, share))
        for part, share in QUANTILES.items()
    }
    return row | {f"{name}_stall_max_ns": most}


def _dip(concurrency: Concurrency, duration: int, undisturbed: float) -> Row:
    """How deep throughput falls, as a share of the undisturbed one, and how long it stays below `DIP_BELOW` of it.

    The last bin counts for the part of it that belongs to the phase.
    """
    width = int(concurrency.timeline.scale.width)
    bins = max(1, -(-duration // width))
    lengths = np.full(bins, width)
    lengths[-1] = max(1, duration - (bins - 1) * width)
    rates = concurrency.timeline.bins["accesses"][:bins] / lengths * (SECOND / 1000) / undisturbed
    return {
        "undisturbed_per_ms": undisturbed,
        "dip_depth": float(max(0.0, 1 - rates.min())),
        "dip_seconds": float(lengths[rates < DIP_BELOW].sum()) / SECOND,
    }
