"""What the vCPUs did over the time of a phase: accesses, writes and faults in bins of equal width.

How long a phase takes is known at its end only, so there is a fixed number of bins, and where time outgrows them each
two become one and all are twice as wide.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from core.compiled.kernel import inlined, kernel
from core.compiled.records import Record, layout, new_record

BINS: Final = 256
LEAST_WIDTH: Final = 1_000_000
"""Picoseconds: a microsecond, so that even short ioctls fill many bins."""

LEAST_ACCESSES: Final = 100
"""What an undisturbed bin holds at least: fewer would make dips of what is only chance."""

BIN: Final = layout(["accesses", "writes", "faults"])

SCALE: Final = layout(["width"])


class Timeline(NamedTuple):
    """The bins of one phase; all vCPUs added up."""

    bins: npt.NDArray[Any]
    scale: Record


def new_timeline() -> Timeline:
    """Empty bins."""
    return Timeline(np.zeros(BINS, BIN), new_record(SCALE))


def start_timeline(timeline: Timeline, undisturbed_per_ms: float) -> None:
    """Start a phase in which so many accesses a millisecond are to be expected."""
    timeline.bins.view(np.int64)[:] = 0
    timeline.scale.width = max(LEAST_WIDTH, round(LEAST_ACCESSES / undisturbed_per_ms * 1e9))


@inlined
def add_accesses(timeline, start, end, accesses, writes):
    """Spread accesses evenly over the time from `start` to `end`."""
    if end >= timeline.scale.width * BINS:
        widen(timeline, end)
    width = timeline.scale.width
    first, last = start // width, end // width
    if first == last:
        timeline.bins[first].accesses += accesses
        timeline.bins[first].writes += writes
    else:
        _spread(timeline, start, end, accesses, writes)


@inlined
def add_fault(timeline, time):
    """A fault that begins at `time`."""
    if time >= timeline.scale.width * BINS:
        widen(timeline, time)
    timeline.bins[time // timeline.scale.width].faults += 1


@kernel
def _spread(timeline, start, end, accesses, writes):
    """Each bin gets what the time up to its end has more than that up to its beginning, so nothing is lost."""
    width = timeline.scale.width
    done = done_writes = 0
    for number in range(start // width, end // width + 1):
        elapsed = min(end, (number + 1) * width) - start
        upto, upto_writes = accesses * elapsed // (end - start), writes * elapsed // (end - start)
        timeline.bins[number].accesses += upto - done
        timeline.bins[number].writes += upto_writes - done_writes
        done, done_writes = upto, upto_writes


@kernel
def widen(timeline, time):
    """Let each two bins become one until `time` falls into one."""
    while time >= timeline.scale.width * BINS:
        for number in range(BINS // 2):
            one, other, both = timeline.bins[2 * number], timeline.bins[2 * number + 1], timeline.bins[number]
            both.accesses = one.accesses + other.accesses
            both.writes = one.writes + other.writes
            both.faults = one.faults + other.faults
        for number in range(BINS // 2, BINS):
            empty = timeline.bins[number]
            empty.accesses = 0
            empty.writes = 0
            empty.faults = 0
        timeline.scale.width *= 2
