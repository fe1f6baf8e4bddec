"""The queue of coming events: sorted by time, and by arrival among equal times, so the order is total.

A ring that is kept sorted by inserting from the back. Actors that repeat the same kind of step come back in the order
they left, so an insertion nearly always stops at once, and nothing is ever as dear as a heap.
"""

from __future__ import annotations

from core.kernel import inlined

NEVER = 2**62


@inlined
def put(simulation, time, actor):
    """Add an event after all events of the same or an earlier time."""
    events = simulation.events
    mask = events.size - 1
    first = simulation.ends[0]
    place = simulation.ends[1]
    simulation.ends[1] = place + 1
    while place > first and events[(place - 1) & mask].time > time:
        events[place & mask].time = events[(place - 1) & mask].time
        events[place & mask].actor = events[(place - 1) & mask].actor
        place -= 1
    events[place & mask].time = time
    events[place & mask].actor = actor


@inlined
def next_time(simulation):
    """Time of the earliest event, NEVER if there is none."""
    if simulation.ends[0] == simulation.ends[1]:
        return NEVER
    return simulation.events[simulation.ends[0] & (simulation.events.size - 1)].time


@inlined
def take(simulation):
    """Remove the earliest event and return its actor; its time is that of `next_time` just before."""
    first = simulation.ends[0]
    simulation.ends[0] = first + 1
    return simulation.events[first & (simulation.events.size - 1)].actor
