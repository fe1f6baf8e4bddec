"""mmu_lock of the live engine: a fair reader-writer lock in shared memory, served in order of arrival.

KVM's mmu_lock is a queued lock, and so is this one; what they share is that idea, not code. One word holds the state:
bit 0 a writer, bit 1 that the head of the queue sleeps, above them the number of readers. Whoever cannot enter at once
joins a queue in which everybody waits on a cache line of their own, so a handover touches one waiter, not all. Only
the head of the queue looks at the state word. Once in, it makes the next one head: a run of readers in the queue
enters one after the other and stays in together; a writer enters when the state is 0.

Nobody overtakes: the short way in is open only while the queue is empty. Somebody who saw it empty just before may
still slip in, each process once, so a waiting writer is passed by at most one critical section of each.

Layout, in lines of 64 bytes:  state | tail | spins | one node per process
* state: changed by every acquire and release. This is the line that limits readers, as in KVM.
* tail: number of the last process in the queue plus 1, 0 if it is empty. Everybody reads it, queueing changes it.
* spins: how often to look before sleeping (core.live.sync.waiting). Never changes.
* node: TURN, on which its process waits, and NEXT, the process behind it plus 1.

Ordering: entering is an acquire (compare-and-swap, or fetch-and-add, of the state), leaving a release of the same word,
so a critical section sees all of those before it. Joining publishes the node with the exchange of the tail, being
made head is an exchange of TURN. A sleeper announces itself in the word it sleeps on (bit 1 of the state, or
TURN = ASLEEP) by an atomic operation, and who changes that word learns of it by the same: no wake-up is lost.

A process is in one lock call at a time; `me` is its number. A call that returns ABORTED does not have the lock.
Unlocking never waits.
"""

from __future__ import annotations

from typing import Final

from core.compiled.atomics import compare_and_swap, exchange, fetch_add, fetch_and_not, load_acquire, store_release
from core.compiled.instructions import park, pause, wake, yield_cpu
from core.compiled.kernel import inlined, kernel
from core.compiled.records import Integers
from core.live.sync.waiting import ABORTED, AT_ONCE, LINE, WAITED, is_aborted, nap, sleep, spin

_STATE: Final = 0
_TAIL: Final = 1 * LINE
_SPINS: Final = 2 * LINE
_NODES: Final = 3 * LINE

_WRITER, _HEAD_SLEEPS, _READER = 1, 2, 4  # parts of the state

_TURN, _NEXT = 0, 1  # words of a node
_HEAD, _WAITING, _ASLEEP = 0, 1, 2  # values of TURN


def lock_words(processes: int) -> int:
    """Size of a lock that so many processes use."""
    return _NODES + processes * LINE


def prepare_lock(lock: Integers, spins: int) -> None:
    """Make `lock` a free lock whose waiters look `spins` times before they sleep."""
    lock[:] = 0
    lock[_SPINS] = spins


def is_free(lock: Integers) -> bool:
    """Whether nobody has the lock or waits for it."""
    return bool(lock[_STATE] == 0 and lock[_TAIL] == 0)


@inlined
def is_contended(lock: Integers) -> bool:
    """Whether others wait for the lock."""
    return load_acquire(lock, _TAIL) != 0


@inlined
def read_lock(lock: Integers, abort: Integers, me: int) -> int:
    """Enter together with other readers; return AT_ONCE, WAITED or ABORTED."""
    if load_acquire(lock, _TAIL) == 0:
        if fetch_add(lock, _STATE, _READER) & _WRITER == 0:
            return AT_ONCE
        read_unlock(lock)
    return _queue_to_read(lock, abort, me)


@inlined
def read_unlock(lock: Integers) -> None:
    """Leave as a reader."""
    if fetch_add(lock, _STATE, -_READER) == _READER | _HEAD_SLEEPS:
        wake(lock, _STATE, 1)


@inlined
def write_lock(lock: Integers, abort: Integers, me: int) -> int:
    """Enter alone; return AT_ONCE, WAITED or ABORTED."""
    if load_acquire(lock, _TAIL) == 0 and compare_and_swap(lock, _STATE, 0, _WRITER):
        return AT_ONCE
    return _queue_to_write(lock, abort, me)


@inlined
def write_unlock(lock: Integers) -> None:
    """Leave as the writer."""
    if fetch_add(lock, _STATE, -_WRITER) & _HEAD_SLEEPS:
        wake(lock, _STATE, 1)


@kernel
def _queue_to_read(lock: Integers, abort: Integers, me: int) -> int:
    if not _become_head(lock, abort, me):
        return ABORTED
    fetch_add(lock, _STATE, _READER)  # from now on no writer enters
    looks = 0
    while True:
        state = load_acquire(lock, _STATE)
        if state & _WRITER == 0:
            break
        if is_aborted(abort):
            return ABORTED
        _await_change(lock, abort, state, looks)
        looks += 1
    if state & _HEAD_SLEEPS:
        fetch_and_not(lock, _STATE, _HEAD_SLEEPS)
    return WAITED if _make_next_head(lock, abort, me) else ABORTED


@kernel
def _queue_to_write(lock: Integers, abort: Integers, me: int) -> int:
    if not _become_head(lock, abort, me):
        return ABORTED
    looks = 0
    while True:
        state = load_acquire(lock, _STATE)
        if state & ~_HEAD_SLEEPS == 0:
            if compare_and_swap(lock, _STATE, state, _WRITER):
                break
        elif is_aborted(abort):
            return ABORTED
        else:
            _await_change(lock, abort, state, looks)
            looks += 1
    return WAITED if _make_next_head(lock, abort, me) else ABORTED


@inlined
def _await_change(lock: Integers, abort: Integers, state: int, looks: int) -> None:
    """The head, who has looked so often, waits for another state; it may return for no reason."""
    if looks < lock[_SPINS]:
        pause()
    elif state & _HEAD_SLEEPS or compare_and_swap(lock, _STATE, state, state | _HEAD_SLEEPS):
        park(lock, _STATE, state | _HEAD_SLEEPS, nap(abort))


@kernel
def _become_head(lock: Integers, abort: Integers, me: int) -> bool:
    """Join the queue and wait for all who came before; return False if the run is aborted first."""
    node = _NODES + me * LINE
    lock[node + _TURN] = _WAITING
    lock[node + _NEXT] = 0
    before = exchange(lock, _TAIL, me + 1)
    if before == 0:
        return True
    store_release(lock, _NODES + (before - 1) * LINE + _NEXT, me + 1)
    if spin(lock, node + _TURN, _WAITING, lock[_SPINS], abort):
        return True
    if compare_and_swap(lock, node + _TURN, _WAITING, _ASLEEP):
        return sleep(lock, node + _TURN, _ASLEEP, abort)
    return True


@kernel
def _make_next_head(lock: Integers, abort: Integers, me: int) -> bool:
    """Leave the queue to the next one; return False if the run is aborted first."""
    node = _NODES + me * LINE
    if load_acquire(lock, node + _NEXT) == 0:
        if compare_and_swap(lock, _TAIL, me + 1, 0):
            return True
        looks = 0
        while load_acquire(lock, node + _NEXT) == 0:  # it has joined, and is about to say who it is
            if is_aborted(abort):
                return False
            if looks < lock[_SPINS]:
                pause()
                looks += 1
            else:
                yield_cpu()
    turn = _NODES + (load_acquire(lock, node + _NEXT) - 1) * LINE + _TURN
    if exchange(lock, turn, _HEAD) == _ASLEEP:
        wake(lock, turn, 1)
    return True
