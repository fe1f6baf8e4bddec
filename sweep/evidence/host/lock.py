"""What mmu_lock costs between two CPUs of this host: moving its cache line, and handing it over.

Two processes on two CPUs take and release the lock of the live engine in turn, so that its cache lines always come
from the other CPU. What that takes is what profiles call lock.line_ns (one atomic of a reader, of which a fault needs
two) and lock.hand_base_ns (a writer's whole way in and out, without its wait).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import numpy as np

from core.compiled.atomics import load_acquire, store_release
from core.compiled.instructions import pause, read_cycles, yield_cpu
from core.compiled.kernel import kernel
from core.compiled.records import Integers
from core.live.clock import Calibration, calibrate_cycles
from core.live.processes.errors import LiveError
from core.live.processes.run import Member, run_processes
from core.live.processes.segment import Field, Segment, new_segment
from core.live.processes.server import kept_server
from core.live.sync.lock import lock_words, prepare_lock, read_lock, read_unlock, write_lock, write_unlock
from core.live.sync.waiting import is_aborted, spins_for

ROUNDS: Final = 2000
"""Turns of one measurement: so few take a few milliseconds, in which a process mostly keeps its CPU."""

ATTEMPTS: Final = 3

_WAYS = _NOTHING, _READ, _WRITE = 0, 1, 2  # what a process does with the lock in its turn
_LOOKS = 2000  # at the turn, before giving up the CPU: the other one may have none


@dataclass(frozen=True, slots=True)
class LockCosts:
    """Nanoseconds between two CPUs."""

    line: float
    hand_over: float


@dataclass(frozen=True, slots=True)
class _Turns:
    """What a process is told."""

    way: int
    rounds: int
    processes: int


def measure_lock(repeats: int, rounds: int = ROUNDS) -> LockCosts:
    """The lock's costs between the first two CPUs of this process, from so many measurements.

    A look at the clock may overtake the lock's own instructions, so turns are timed together, and what turns without
    the lock take is subtracted. On a machine that does other things many turns are disturbed: the fastest fifth tells.
    """
    calibration = calibrate_cycles()
    turns: list[list[float]] = []
    for _ in range(ATTEMPTS):
        turns += [[_turn_ns(_Turns(way, rounds, 2), calibration) for way in _WAYS] for _ in range(repeats)]
        nothing, reads, writes = (sorted(way)[len(turns) // 5] for way in zip(*turns, strict=True))
        costs = LockCosts(line=(reads - nothing) / 2, hand_over=writes - nothing)
        if costs.line > 0 and costs.hand_over > 0:
            return costs
    raise LiveError("the lock between two CPUs cannot be measured while the machine is so busy: try again")


def take_turns(segment: Segment, index: int, turns: _Turns) -> None:
    """One of the processes: leave how many cycles all turns took."""
    segment["cycles"][index] = _take_turns(
        segment["lock"], segment["turn"], segment.abort, index, turns.way, turns.rounds, turns.processes
    )


def load_kernels() -> None:
    """Compile or load what `take_turns` calls, in the server, so that its processes have it at once."""
    with _new_segment(1) as segment:
        take_turns(segment, 0, _Turns(_READ, 1, 1))


def _turn_ns(turns: _Turns, calibration: Calibration) -> float:
    """How long one turn takes, and passing it on."""
    members = [Member(f"process {index} of the lock", turns) for index in range(turns.processes)]
    with _new_segment(turns.processes) as segment:
        run_processes(kept_server([f"{__name__}:load_kernels"]), segment, take_turns, members, pin=True)
        return calibration.nanoseconds(int(segment["cycles"].mean())) / (turns.processes * (turns.rounds - 1))


@contextmanager
def _new_segment(processes: int) -> Iterator[Segment]:
    fields = [
        Field("lock", np.int64, lock_words(processes)),
        Field("turn", np.int64, 1),
        Field("cycles", np.int64, processes),
    ]
    with new_segment(fields) as segment:
        prepare_lock(segment["lock"], spins_for(processes, processes))
        yield segment


@kernel
def _take_turns(lock: Integers, turn: Integers, abort: Integers, me: int, way: int, rounds: int, processes: int) -> int:
    start = 0
    for number in range(rounds):
        if not _await_turn(turn, abort, number * processes + me):
            break
        if number == 0:
            start = read_cycles()
        if way == _READ:
            read_lock(lock, abort, me)
            read_unlock(lock)
        elif way == _WRITE:
            write_lock(lock, abort, me)
            write_unlock(lock)
        store_release(turn, 0, number * processes + me + 1)
    return read_cycles() - start


@kernel
def _await_turn(turn: Integers, abort: Integers, number: int) -> bool:
    """Wait until it is turn `number`; return False if the run is aborted first."""
    looks = 0
    while load_acquire(turn, 0) != number:
        if is_aborted(abort):
            return False
        looks += 1
        if looks < _LOOKS:
            pause()
        else:
            yield_cpu()
    return True
