"""How a process waits for another: it spins, then sleeps, and always watches whether the run is aborted.

A process that has a CPU to itself is answered soonest if it spins. Where processes outnumber CPUs it must sleep soon:
the one it waits for may have no CPU. Giving up the CPU again and again would not do, because a fair scheduler
gives everybody who is ready to run, if only to look once more, as large a share of the CPUs as the one who works.
So what is waited for says how many times to look before sleeping (`spins_for`), and whoever changes a word on which
somebody sleeps wakes them (`core.compiled.instructions.park` and `wake`).

Nobody who need not wait looks at the abort word: a loop that takes a free lock again and again asks `is_aborted`.

All words are 64-bit integers, and a word that others write lies on a cache line of its own (LINE words).
"""

from __future__ import annotations

from typing import Final

from core.compiled.atomics import address_of, load_acquire
from core.compiled.instructions import park, pause
from core.compiled.kernel import inlined
from core.compiled.records import Integers

LINE: Final = 8
"""64-bit words of a cache line."""

# How a wait ended. All but AT_ONCE are true, so that `if` asks whether there was a wait.
AT_ONCE = 0
WAITED = 1
ABORTED = 2  # the run is to end; what was waited for is not there

# The words of the abort line, one for all processes of a run.
ABORT = 0  # not 0 once the run is to end
_NAP_SECONDS = 1  # a C timespec: the longest sleep, after which a sleeper looks at ABORT again
_NAP_NANOSECONDS = 2
ABORT_WORDS: Final = LINE

_NAP: Final = 0.05
_SPINS_ALONE: Final = 20_000  # about half a millisecond: longer than any handover, shorter than a phase
_SPINS_SHARED: Final = 50


def prepare_abort(abort: Integers, nap_seconds: float = _NAP) -> None:
    """Make `abort` the abort line of a new run, whose sleepers look at it so often."""
    abort[:] = 0
    abort[_NAP_SECONDS] = int(nap_seconds)
    abort[_NAP_NANOSECONDS] = int(nap_seconds % 1 * 1e9)


def spins_for(processes: int, cpus: int) -> int:
    """How often to look for a change before sleeping, when `processes` share `cpus`."""
    return _SPINS_ALONE if processes <= cpus else _SPINS_SHARED


@inlined
def is_aborted(abort: Integers) -> bool:
    """Whether the run is to end."""
    return load_acquire(abort, ABORT) != 0


@inlined
def spin(word: Integers, index: int, value: int, spins: int, abort: Integers) -> bool:
    """Look at word[index] until it is not `value`, at most `spins` times; return whether it changed."""
    for _ in range(spins):
        if load_acquire(word, index) != value:
            return True
        if is_aborted(abort):
            return False
        pause()
    return False


@inlined
def sleep(word: Integers, index: int, value: int, abort: Integers) -> bool:
    """Sleep until word[index] is not `value`; return False if the run is aborted first."""
    while load_acquire(word, index) == value:
        if is_aborted(abort):
            return False
        park(word, index, value, nap(abort))
    return True


@inlined
def nap(abort: Integers) -> int:
    """The address of the longest sleep, for `park`."""
    return address_of(abort, _NAP_SECONDS)
