"""What the simulation of one phase keeps: the phase's rules, the vCPUs, the lock, and where time went."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from core.compiled.records import Integers, Record, layout, new_record
from core.counters import COUNTERS
from core.sim.state.event_queue import EventRing, new_ring
from core.stalls import BUCKETS

# What a vCPU's event in the queue means.
RUN = 0  # go on with the guest's accesses
ACQUIRE = 1  # reach for mmu_lock
HOLD = 2  # a reader has the lock: handle the fault
RELEASE = 3  # a reader gives the lock back
RESUME = 4  # it has, and its access goes through
FINISHED = 5  # nothing more in this pass
ARRIVE = 6  # it is at the lock, its atomic done where it reads
MARK = 7  # go on, from a place to compare with (sim.fast_forward)

VCPU: Final = layout(
    [
        "first_page",  # of its share
        "own_from",  # its own are pages own_from to own_to - 1 of its share: no other vCPU visits the same leaf,
        "own_to",  # page of the backing, or word of the bitmap
        "visit",  # visits done in this pass and root
        "mark",  # visits after which it stops for a moment (sim.fast_forward)
        "alone",  # it got from its last mark but one to its last without the lock
        "root",
        "last_root",
        "draw",  # state of the write generator
        "pml_fill",  # entries in the PML buffer
        "page",  # the faulting page
        "level",  # of the leaf that it found there, 0 if none
        "write",  # whether the faulting access writes
        "stall_start",  # when that access began
        "event",  # what the queued event means
        "asked",  # when it reached for the lock
        "ahead",  # how many were in line for the write-held lock before it, the holder among them
        "finish",
    ]
)
"""A vCPU. Times are picoseconds since the start of the phase."""

IOCTL: Final = layout(
    [
        "slot",
        "stage",
        "number",  # next page of guest memory to look at
        "locked",
        "changed",  # something was found that needs a flush at the end of the slot
        "split_region",  # 2M region that this ioctl split last
        "event",
        "asked",
        "finish",
        "number_flushed",  # clear in chunks: page where the last call ended
    ]
)
"""The ioctl thread."""

LOCK: Final = layout(
    [
        "write_free",  # when the last writer is done
        "line_free",  # when the lock's cache line can move to the next CPU
        "writer",  # somebody holds it for write (this and the rest: core.sim.concurrent)
        "readers",  # so many hold it for read
        "held_since",
        "longest_hold",  # unbroken, by whomever
    ]
)
"""mmu_lock."""

TIMES: Final = layout(["guest", "exit", "lock_wait", "lock_hold", "other", "longest_stall"])
"""Where time went, in picoseconds, all actors added up."""


class Simulation(NamedTuple):
    """Everything that changes while a phase runs, except guest memory."""

    vcpus: npt.NDArray[Any]  # one VCPU each
    ioctl: Record
    lock: Record
    queue: EventRing  # what the actors do next
    line: EventRing  # readers that wait for the lock's cache line, with the time they are done with it
    waiters: EventRing  # actors that wait for the lock itself, with the time they asked for it
    releases: EventRing  # vCPUs that are to have and release the write-held lock, with the time of that
    counters: Record
    counts: Integers  # the counters once more, as an array
    times: Record
    spent: Integers  # the times once more, as an array
    stalls: Integers  # histogram, see core.stalls


def new_simulation(machine: Record) -> Simulation:
    """A simulation of `machine` at time 0, before its first phase."""
    vcpus = np.zeros(machine.vcpus, VCPU)
    vcpus["draw"] = machine.seed + np.arange(machine.vcpus)
    actors = int(machine.vcpus) + 1  # the last is the ioctl thread
    counters, times = np.zeros(1, COUNTERS), np.zeros(1, TIMES)
    return Simulation(
        vcpus=vcpus,
        ioctl=new_record(IOCTL),
        lock=new_record(LOCK),
        queue=new_ring(actors),
        line=new_ring(actors),
        waiters=new_ring(actors),
        releases=new_ring(actors),
        counters=counters[0],
        counts=counters.view(np.int64),
        times=times[0],
        spent=times.view(np.int64),
        stalls=np.zeros(BUCKETS, np.int64),
    )
