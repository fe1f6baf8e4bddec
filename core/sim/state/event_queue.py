"""The queue of coming events: sorted by time, and by actor among equal times, so the order is total.

A ring that is kept sorted by inserting from the back. Actors that repeat the same kind of step come back in the order
they left, so an insertion nearly always stops at once, and nothing is ever as dear as a heap. Actors that wait for
something which serves one at a time have a ring of their own, so that they are not in the way. Places in a ring are
unsigned for the reason that core.mmu.walk.entry_index gives.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from core.compiled.kernel import inlined, kernel
from core.compiled.records import Integers, layout

NEVER = 2**62

EVENT: Final = layout(["time", "actor"])


class EventRing(NamedTuple):
    """A ring of events; `ends` counts those taken and those put so far."""

    events: npt.NDArray[Any]
    ends: Integers


def new_ring(actors: int) -> EventRing:
    """An empty ring with room for one event of each actor."""
    return EventRing(np.zeros(1 << actors.bit_length(), EVENT), np.zeros(2, np.int64))


@inlined
def put(ring, time, actor):
    """Add an event to a sorted ring."""
    events, ends = ring.events, ring.ends
    mask, one = np.uintp(events.size - 1), np.uintp(1)
    first, place = np.uintp(ends[0]), np.uintp(ends[1])
    ends[1] += 1
    while place > first:
        before = events[(place - one) & mask]
        if before.time < time or (before.time == time and before.actor < actor):
            break
        events[place & mask].time = before.time
        events[place & mask].actor = before.actor
        place -= one
    events[place & mask].time = time
    events[place & mask].actor = actor


@kernel
def remove(ring, actor):
    """Take the actor's event, which must be there, out of the ring."""
    events, ends = ring.events, ring.ends
    mask = events.size - 1
    place = ends[0]
    while events[place & mask].actor != actor:
        place += 1
    ends[1] -= 1
    while place < ends[1]:
        events[place & mask].time = events[(place + 1) & mask].time
        events[place & mask].actor = events[(place + 1) & mask].actor
        place += 1


@inlined
def next_time(ring):
    """Time of the earliest event, NEVER if there is none."""
    if ring.ends[0] == ring.ends[1]:
        return NEVER
    return ring.events[np.uintp(ring.ends[0] & (ring.events.size - 1))].time


@inlined
def next_actor(ring):
    """Actor of the earliest event, of which there must be one."""
    return ring.events[np.uintp(ring.ends[0] & (ring.events.size - 1))].actor


@inlined
def waiting(ring):
    """How many events are in the ring."""
    return ring.ends[1] - ring.ends[0]


@inlined
def forget_past(ring, time):
    """Remove the events of `time` and before."""
    while next_time(ring) <= time:
        ring.ends[0] += 1


@inlined
def take(ring):
    """Remove the earliest event and return its actor; its time is that of `next_time` just before."""
    actor = next_actor(ring)
    ring.ends[0] += 1
    return actor
