"""mmu_lock, a fair queued reader-writer lock as the kernel's qrwlock: readers share it, a writer waits for them all.

Whoever arrives while somebody waits queues behind. The lock's cache line serves one CPU at a time.
"""

from __future__ import annotations

from core.compiled.kernel import inlined
from core.sim.state.event_queue import next_actor, put, take, waiting

NOBODY = -1


@inlined
def is_contended(simulation):
    """Whether somebody waits for the lock: what rwlock_is_contended() tells its holder."""
    return simulation.waiters.ends[0] != simulation.waiters.ends[1]


@inlined
def lock_or_wait(simulation, actor, time, writes):
    """An actor arrives at the lock: say whether it holds it now; else it waits at the tail of the queue."""
    lock = simulation.lock
    if is_contended(simulation) or lock.writer or (writes and lock.readers):
        put(simulation.waiters, time, actor)
        return False
    _hold(lock, time, writes)
    return True


@inlined
def unlock(simulation, time, writes):
    """The holder leaves at `time`."""
    lock = simulation.lock
    if writes:
        lock.writer = 0
    else:
        lock.readers -= 1
    if lock.readers == 0:
        lock.longest_hold = max(lock.longest_hold, time - lock.held_since)


@inlined
def next_holder(simulation, time, writes):
    """Let in the actor that waits longest, which `writes` or reads, if the lock has room for it; NOBODY if not."""
    lock = simulation.lock
    if lock.writer or (writes and lock.readers):
        return NOBODY
    _hold(lock, time, writes)
    return take(simulation.waiters)


@inlined
def first_waiter(simulation):
    """The actor that waits longest; NOBODY if none does."""
    return next_actor(simulation.waiters) if is_contended(simulation) else NOBODY


@inlined
def _hold(lock, time, writes):
    if lock.readers == 0:
        lock.held_since = time
    if writes:
        lock.writer = 1
    else:
        lock.readers += 1


@inlined
def in_line(simulation):
    """How many are at the lock: its holders, and those who wait."""
    return waiting(simulation.waiters) + simulation.lock.writer + simulation.lock.readers


@inlined
def hand_over(costs, ahead):
    """What moving the write-held lock takes: more for every doubling, beyond two, of the CPUs that are at it now.

    They are the one that gives it up, those in line, and the one that gets it; between two doublings in proportion.
    """
    sharing, doublings = ahead + 2, 1
    while sharing >> doublings > 1:
        doublings += 1
    doubling = costs.hand_over_doubling
    return costs.hand_over + doubling * (doublings - 1) + (doubling * (sharing - (1 << doublings)) >> doublings)


@inlined
def move_line(costs, simulation, time):
    """A reader's atomic on the lock's cache line; return when it is done."""
    done = max(time, simulation.lock.line_free) + costs.line
    simulation.lock.line_free = done
    simulation.times.lock_wait += done - time
    return done
