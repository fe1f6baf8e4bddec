"""What the ioctl thread and running vCPUs tell each other: when an ioctl begins and ends, and who is interrupted.

An interrupt is a count that goes up. The vCPU looks before each access, and spins for the exit and the way back, which
no process can do. The sender does not wait for that: a process that has lost its CPU would answer late, where a vCPU
without one is not in guest mode and need not answer. It spins for as long as running CPUs take.

Layout, in lines of 64 bytes:  began | ended | of each vCPU: flushes, kicks for PML, whether it is in the guest
"""

from __future__ import annotations

from typing import Final

from core.compiled.atomics import fetch_add, load_acquire, store_release
from core.compiled.instructions import wake, yield_cpu
from core.compiled.kernel import inlined, kernel
from core.compiled.records import Integers
from core.live.sync.waiting import LINE, is_aborted, sleep, spin

_BEGAN: Final = 0
_ENDED: Final = 1 * LINE
_VCPUS: Final = 2 * LINE

_FLUSHES, _KICKS, _IN_GUEST = 0, 1, 2  # words of a vCPU


def meeting_words(vcpus: int) -> int:
    """Size of the meeting of so many vCPUs with the ioctl thread."""
    return _VCPUS + vcpus * LINE


@kernel
def prepare_meeting(meeting: Integers) -> None:
    """Nothing has begun, and nobody was interrupted."""
    for word in range(meeting.size):
        meeting[word] = 0


@kernel
def await_guests(meeting: Integers, abort: Integers) -> bool:
    """Wait until every vCPU is in the guest; return False if the run is aborted first."""
    for mine in range(_VCPUS, meeting.size, LINE):
        while load_acquire(meeting, mine + _IN_GUEST) == 0:
            if is_aborted(abort):
                return False
            yield_cpu()
    return True


@kernel
def begin(meeting: Integers, now: int, vcpus: int) -> None:
    """The ioctl begins `now`, in nanoseconds: let the vCPUs go."""
    store_release(meeting, _BEGAN, now)
    wake(meeting, _BEGAN, vcpus)


@inlined
def end(meeting: Integers) -> None:
    """The ioctl is over."""
    store_release(meeting, _ENDED, 1)


@kernel
def await_begin(meeting: Integers, spins: int, abort: Integers) -> int:
    """Wait until the ioctl begins; return when that was, or 0 if the run is aborted first."""
    if not spin(meeting, _BEGAN, 0, spins, abort) and not sleep(meeting, _BEGAN, 0, abort):
        return 0
    return load_acquire(meeting, _BEGAN)


@inlined
def is_over(meeting: Integers) -> bool:
    """Whether the ioctl is over."""
    return load_acquire(meeting, _ENDED) != 0


@inlined
def enter_guest(meeting: Integers, vcpu: int) -> None:
    """From now on an interrupt makes the vCPU exit."""
    store_release(meeting, _VCPUS + vcpu * LINE + _IN_GUEST, 1)


@inlined
def leave_guest(meeting: Integers, vcpu: int) -> None:
    """It has exited: what is asked of it now it does on its way back, at no cost."""
    store_release(meeting, _VCPUS + vcpu * LINE + _IN_GUEST, 0)


@kernel
def flush_running(meeting: Integers, times: int) -> int:
    """Interrupt every vCPU in the guest so often for a flush of its TLB; return how many answers to wait for."""
    return times * _interrupt(meeting, _FLUSHES, times)


@kernel
def kick_running(meeting: Integers) -> None:
    """Interrupt every vCPU in the guest for its PML buffer; nobody waits for that."""
    _interrupt(meeting, _KICKS, 1)


@inlined
def _interrupt(meeting: Integers, cause: int, times: int) -> int:
    running = 0
    for mine in range(_VCPUS, meeting.size, LINE):
        if load_acquire(meeting, mine + _IN_GUEST):
            fetch_add(meeting, mine + cause, times)
            running += 1
    return running


@inlined
def flushes_of(meeting: Integers, vcpu: int) -> int:
    """How often the vCPU was interrupted for a flush in this phase."""
    return load_acquire(meeting, _VCPUS + vcpu * LINE + _FLUSHES)


@inlined
def kicks_of(meeting: Integers, vcpu: int) -> int:
    """How often it was for its PML buffer."""
    return load_acquire(meeting, _VCPUS + vcpu * LINE + _KICKS)
