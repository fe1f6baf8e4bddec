"""What a phase with running vCPUs keeps beyond a simulation's state: the vCPUs' disturbances, and what they felt."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from core.compiled.records import Record, clear_record, layout, new_record
from core.sim.concurrent.timeline import Timeline, new_timeline, start_timeline
from core.stalls import BUCKETS

READER: Final = 0
WRITER: Final = 1

GUEST: Final = layout(
    [
        "entry",  # what the faulting access saw before it reached for the lock
        "in_guest",  # neither in a fault nor waiting for one: an interrupt makes it exit
        "kicked",  # picoseconds of exits that others forced and that it has not felt yet
        "retried",  # its fault found the entry changed
        "passes",  # whole passes over its share in this phase
    ]
)
"""A vCPU, beside its record of core.sim.state.actors."""

DISTURBANCE: Final = layout(
    [
        "yields",  # the ioctl thread gave the lock up for others
        "retries",  # faults that found their entry changed by the thread
        "ipis",  # exits that the thread or another vCPU forced
        "holder_due",  # when the vCPU that holds the lock for write does something next
        "left",  # picoseconds of the thread's unit that a yield cut off
        "unit_start",  # when the thread's unit in progress began
        "in_unit",  # it is in one
        "unit_spent",  # how long that takes
        "unit_stage",  # what the thread was at when it began
        "unit_yields",  # whether it may be cut off
        "direct_part",  # the thread is to walk the TDP MMU's tree, too
        "idle",  # picoseconds in which the thread waited for the lock
        "stalled_lock",  # picoseconds, all vCPUs: faults, from their exit to the lock, and inside it
        "stalled_retry",  # faults that came to nothing because the entry had changed
        "stalled_flush",  # exits that a flush of the TLBs forced
        "stalled_refill",  # the empty TLBs after them
        "stalled_pml",  # exits that a get forced, and full PML buffers
        "longest_read",  # the longest stall of a read, and of a write
        "longest_write",
    ]
)
"""What the ioctl thread and the vCPUs do to each other in a phase."""


class Concurrency(NamedTuple):
    """Everything about one phase in which vCPUs run beside the ioctl thread."""

    guests: npt.NDArray[Any]  # one GUEST per vCPU
    pml: npt.NDArray[np.int64]  # per vCPU, the pages in its PML buffer
    timeline: Timeline
    stalls: npt.NDArray[np.int64]  # histograms of the stalls of reads and of writes, see core.stalls
    felt: Record  # DISTURBANCE


PML_BUFFER: Final = 512


def new_concurrency(vcpus: int) -> Concurrency:
    """Nothing has happened yet."""
    return Concurrency(
        guests=np.zeros(vcpus, GUEST),
        pml=np.zeros((vcpus, PML_BUFFER), np.int64),
        timeline=new_timeline(),
        stalls=np.zeros((2, BUCKETS), np.int64),
        felt=new_record(DISTURBANCE),
    )


def start_concurrency(concurrency: Concurrency, undisturbed_per_ms: float) -> None:
    """Clear what belongs to one phase, in which so many accesses a millisecond are to be expected."""
    concurrency.stalls[:] = 0
    clear_record(concurrency.felt)
    start_timeline(concurrency.timeline, undisturbed_per_ms)
