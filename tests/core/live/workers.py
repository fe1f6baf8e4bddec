"""What the processes of these tests do, and the segment they share."""

from __future__ import annotations

import os
import signal
import time
from typing import Any, Final

import numpy as np

from core.compiled.atomics import fetch_add, load_acquire, store_release
from core.compiled.instructions import park, pause, read_cycles, read_nanoseconds, wake, yield_cpu
from core.compiled.kernel import kernel
from core.compiled.records import Integers
from core.live.processes.segment import PAGE, Field, Segment
from core.live.sync.barrier import BARRIER_WORDS, prepare_barrier, wait_at_barrier
from core.live.sync.lock import (
    is_contended,
    lock_words,
    prepare_lock,
    read_lock,
    read_unlock,
    write_lock,
    write_unlock,
)
from core.live.sync.waiting import ABORT, ABORT_WORDS, ABORTED, is_aborted, nap, prepare_abort

PRELOAD: Final = ("tests.core.live.workers:load_kernels",)
PATIENCE: Final = 60_000_000_000
"""Nanoseconds after which a test has hung."""


def fields(processes: int) -> list[Field]:
    """The segment of most tests."""
    return [
        Field("lock", np.int64, lock_words(processes)),
        Field("barrier", np.int64, BARRIER_WORDS),
        Field("words", np.int64, 8 * (processes + 1), alignment=PAGE),
        Field("pids", np.int64, processes),
    ]


def prepare(segment: Segment, processes: int, spins: int) -> None:
    """Make lock and barrier ready."""
    prepare_lock(segment["lock"], spins)
    prepare_barrier(segment["barrier"], processes, spins)


@kernel
def every_instruction(word: Integers, abort: Integers) -> int:
    """Use all there are, waiting for nothing."""
    pause()
    yield_cpu()
    park(word, 0, word[0] + 1, nap(abort))
    wake(word, 0, 1)
    return min(read_cycles(), read_nanoseconds())


@kernel
def count_locked(
    lock: Integers, barrier: Integers, abort: Integers, words: Integers, me: int, rounds: int, every: int
) -> int:
    """Add 1 to two words under the lock, every so many rounds; between, look whether they are equal."""
    unequal = 0
    wait_at_barrier(barrier, abort)
    for number in range(rounds):
        if is_aborted(abort):
            return -1
        if number % every == 0:
            if write_lock(lock, abort, me) == ABORTED:
                return -1
            words[0] += 1
            words[8] += 1
            write_unlock(lock)
        else:
            if read_lock(lock, abort, me) == ABORTED:
                return -1
            if load_acquire(words, 0) != load_acquire(words, 8):
                unequal += 1
            read_unlock(lock)
    return unequal


@kernel
def meet_inside(lock: Integers, abort: Integers, words: Integers, me: int, others: int) -> int:
    """Stay in the lock as a reader until so many readers are inside; return whether they came."""
    read_lock(lock, abort, me)
    fetch_add(words, 0, 1)
    end = read_nanoseconds() + PATIENCE
    while load_acquire(words, 0) < others and read_nanoseconds() < end:
        yield_cpu()
    read_unlock(lock)
    return load_acquire(words, 0)


@kernel
def enter_in_turn(lock: Integers, abort: Integers, words: Integers, me: int, last: int, write: int) -> int:
    """Join the queue behind process `me` - 1; return who had been in by the time this one is.

    Process 0 holds the lock until the last one queues.
    """
    if me == 0:
        write_lock(lock, abort, me)
        store_release(words, 0, 1)
        while lock[8] != last + 1 and not is_aborted(abort):
            yield_cpu()
        waiting = is_contended(lock)
        write_unlock(lock)
        return 1 if waiting else 0
    while (load_acquire(words, 0) == 0 if me == 1 else load_acquire(lock, 8) != me) and not is_aborted(abort):
        yield_cpu()
    waited = write_lock(lock, abort, me) if write else read_lock(lock, abort, me)
    order = fetch_add(words, 1, 1)
    if write:
        write_unlock(lock)
    else:
        read_unlock(lock)
    return order if waited else -1


@kernel
def in_step(barrier: Integers, abort: Integers, words: Integers, me: int, processes: int, rounds: int) -> int:
    """Count rounds together; return how often somebody was seen in another round."""
    wrong = 0
    for number in range(1, rounds + 1):
        words[8 * me] = number
        if wait_at_barrier(barrier, abort) == ABORTED:
            return -1
        for other in range(processes):
            wrong += words[8 * other] != number
        if wait_at_barrier(barrier, abort) == ABORTED:
            return -1
    return wrong


@kernel
def spin_forever(words: Integers) -> None:
    """Listen to nobody."""
    while load_acquire(words, 0) == 0:
        pause()


def load_kernels() -> None:
    """Compile or load every kernel, by calling it."""
    lock, barrier = np.zeros(lock_words(1), np.int64), np.zeros(BARRIER_WORDS, np.int64)
    abort, words = np.zeros(ABORT_WORDS, np.int64), np.zeros(16, np.int64)
    prepare_abort(abort)
    prepare_lock(lock, 1)
    prepare_barrier(barrier, 1, 1)
    every_instruction(words, abort)
    count_locked(lock, barrier, abort, words, 0, 2, 2)
    meet_inside(lock, abort, words, 0, 1)
    in_step(barrier, abort, words, 0, 1, 1)
    abort[ABORT] = 1
    enter_in_turn(lock, abort, words, 0, 0, 1)
    spin_forever(words)


def count(segment: Segment, me: int, arguments: tuple[int, int]) -> None:
    rounds, every = arguments
    words = segment["words"]
    unequal = count_locked(segment["lock"], segment["barrier"], segment.abort, words, me, rounds, every)
    fetch_add_once(words, unequal)


def fetch_add_once(words: Integers, value: int) -> None:
    """Add to the word that says what went wrong; only a wrong run races here."""
    if value:
        words[1] += value


def meet(segment: Segment, me: int, others: int) -> None:
    inside = meet_inside(segment["lock"], segment.abort, segment["words"], me, others)
    segment["words"][8 * (me + 1)] = inside


def enter(segment: Segment, me: int, arguments: tuple[int, int]) -> None:
    last, write = arguments
    order = enter_in_turn(segment["lock"], segment.abort, segment["words"], me, last, write)
    segment["words"][8 * (me + 1)] = order


def step(segment: Segment, me: int, arguments: tuple[int, int]) -> None:
    processes, rounds = arguments
    segment["pids"][me] = in_step(segment["barrier"], segment.abort, segment["words"], me, processes, rounds)


def note_pid(segment: Segment, me: int, arguments: Any) -> None:
    segment["pids"][me] = os.getpid()


def contend(segment: Segment, me: int, every: int) -> None:
    """Fight for the lock until the run is aborted."""
    note_pid(segment, me, None)
    count_locked(segment["lock"], segment["barrier"], segment.abort, segment["words"], me, 10**15, every)


def raise_in_one(segment: Segment, me: int, who: int) -> None:
    """All wait at a barrier to which one never comes."""
    note_pid(segment, me, None)
    if me == who:
        raise ValueError(f"no room for {me}\nand more lines")
    wait_at_barrier(segment["barrier"], segment.abort)


def deaf(segment: Segment, me: int, who: int) -> None:
    """One fails, and the others neither look at the abort word nor obey SIGTERM."""
    note_pid(segment, me, None)
    if me == who:
        while (segment["pids"] == 0).any():
            time.sleep(0.001)
        raise ValueError
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    spin_forever(segment["words"])


def note_affinity(segment: Segment, me: int, arguments: Any) -> None:
    (segment["pids"][me],) = os.sched_getaffinity(0)


def lose_lock(segment: Segment, me: int, write: int) -> None:
    """Process 0 ends with the lock in its hands and aborts the run once the others wait."""
    lock, abort = segment["lock"], segment.abort
    if me == 0:
        take(lock, abort, me, 1)
        segment["words"][0] = 1
        while lock[8] == 0:
            time.sleep(0.001)
        time.sleep(0.05)  # some spin by now, some sleep
        abort[ABORT] = 1
        return
    while segment["words"][0] == 0:
        time.sleep(0.001)
    segment["pids"][me] = take(lock, abort, me, write)


@kernel
def take(lock: Integers, abort: Integers, me: int, write: int) -> int:
    return write_lock(lock, abort, me) if write else read_lock(lock, abort, me)
