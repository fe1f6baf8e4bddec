"""A barrier in shared memory: nobody goes on before all have come. The phases of a run begin and end at one.

Layout, in lines of 64 bytes:  arrived | round | parties, spins
The round's lowest bit says that somebody sleeps on it; the rest counts rounds. The last to arrive clears `arrived`
before it starts the next round (an exchange, so a release), and everybody else sees the new round with an acquire: all
that anybody did before the barrier is visible to everybody after it.
"""

from __future__ import annotations

from typing import Final

from core.compiled.atomics import compare_and_swap, exchange, fetch_add, load_acquire
from core.compiled.instructions import pause, wake
from core.compiled.kernel import kernel
from core.compiled.records import Integers
from core.live.sync.waiting import ABORTED, AT_ONCE, LINE, WAITED, is_aborted, sleep

_ARRIVED: Final = 0
_ROUND: Final = 1 * LINE
_PARTIES: Final = 2 * LINE
_SPINS: Final = 2 * LINE + 1

BARRIER_WORDS: Final = 3 * LINE

_SOMEBODY_SLEEPS, _ONE_ROUND = 1, 2


def prepare_barrier(barrier: Integers, parties: int, spins: int) -> None:
    """Make `barrier` one for so many processes, which look `spins` times before they sleep."""
    barrier[:] = 0
    barrier[_PARTIES] = parties
    barrier[_SPINS] = spins


@kernel
def wait_at_barrier(barrier: Integers, abort: Integers) -> int:
    """Wait until all have come; return AT_ONCE for the last of them, WAITED for the others, or ABORTED."""
    current = load_acquire(barrier, _ROUND) & ~_SOMEBODY_SLEEPS
    if fetch_add(barrier, _ARRIVED, 1) + 1 == barrier[_PARTIES]:
        barrier[_ARRIVED] = 0
        if exchange(barrier, _ROUND, current + _ONE_ROUND) & _SOMEBODY_SLEEPS:
            wake(barrier, _ROUND, barrier[_PARTIES])
        return ABORTED if is_aborted(abort) else AT_ONCE
    asleep = current | _SOMEBODY_SLEEPS
    for _ in range(barrier[_SPINS]):
        if load_acquire(barrier, _ROUND) | _SOMEBODY_SLEEPS != asleep:
            return WAITED
        if is_aborted(abort):
            return ABORTED
        pause()
    compare_and_swap(barrier, _ROUND, current, asleep)  # fails if the round is over, or somebody sleeps already
    return WAITED if sleep(barrier, _ROUND, asleep, abort) else ABORTED
