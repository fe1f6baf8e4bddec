"""mmu_lock of the live engine, with real processes: exclusion, order of arrival, no lost wake-up, abort."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from core.live.processes.run import Member, run_processes
from core.live.processes.segment import new_segment
from core.live.processes.server import Server
from core.live.sync.lock import (
    is_contended,
    is_free,
    lock_words,
    prepare_lock,
    read_lock,
    read_unlock,
    write_lock,
    write_unlock,
)
from core.live.sync.waiting import ABORT_WORDS, ABORTED, AT_ONCE, prepare_abort
from tests.core.live import workers

SPINS_SHORT, SPINS_LONG = 20, 20_000
HANGS_AFTER = 120.0


@contextmanager
def end_if_it_hangs(server: Server) -> Iterator[None]:
    """Fail instead of hanging: without the server the run is over."""
    timer = threading.Timer(HANGS_AFTER, server.process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def members(count: int, arguments: object) -> list[Member]:
    return [Member(f"vCPU {index}", arguments) for index in range(count)]


def test_alone_it_is_taken_at_once() -> None:
    lock, abort = np.zeros(lock_words(2), np.int64), np.zeros(ABORT_WORDS, np.int64)
    prepare_abort(abort)
    prepare_lock(lock, 1)
    assert is_free(lock)
    assert write_lock(lock, abort, 0) == AT_ONCE
    assert not is_free(lock)
    write_unlock(lock)
    assert read_lock(lock, abort, 0) == AT_ONCE
    assert read_lock(lock, abort, 1) == AT_ONCE
    assert not is_contended(lock)
    read_unlock(lock)
    assert not is_free(lock)
    read_unlock(lock)
    assert is_free(lock)


@pytest.mark.parametrize(
    ("processes", "rounds", "every", "spins"),
    [
        (2, 100_000, 1, SPINS_LONG),
        (2, 100_000, 4, SPINS_SHORT),
        (2, 10_000, 2, 0),
        (8, 13_000, 3, SPINS_SHORT),
        (24, 2_000, 1, SPINS_SHORT),
    ],
)
def test_nothing_is_lost_between_readers_and_writers(
    server: Server, processes: int, rounds: int, every: int, spins: int
) -> None:
    with new_segment(workers.fields(processes)) as segment:
        workers.prepare(segment, processes, spins)
        prepare_abort(segment.abort, nap_seconds=3_600)  # a lost wake-up hangs
        with end_if_it_hangs(server):
            run_processes(server, segment, workers.count, members(processes, (rounds, every)))
        words = segment["words"]
        assert words[0] == words[8] == processes * len(range(0, rounds, every))
        assert words[1] == 0
        assert is_free(segment["lock"])


def test_readers_are_inside_together(server: Server) -> None:
    with new_segment(workers.fields(4)) as segment:
        workers.prepare(segment, 4, SPINS_SHORT)
        run_processes(server, segment, workers.meet, members(4, 4))
        assert segment["words"][8:40:8].tolist() == [4] * 4


@pytest.mark.parametrize("spins", [0, SPINS_SHORT])
@pytest.mark.parametrize("kinds", ["wwwwwwww", "wrrwrrrw", "rwrwrwrw"])
def test_it_serves_in_order_of_arrival(server: Server, kinds: str, spins: int) -> None:
    last = len(kinds)
    with new_segment(workers.fields(last + 1)) as segment:
        workers.prepare(segment, last + 1, spins)
        run = [Member("holder", (last, 1))]
        run += [Member(f"vCPU {index}", (last, int(kind == "w"))) for index, kind in enumerate(kinds)]
        run_processes(server, segment, workers.enter, run)
        contended, *order = segment["words"][8 : 8 * (last + 2) : 8].tolist()
        assert contended == 1
        # readers who are in together leave in any order
        expected = list(range(last))
        for index in range(1, last):
            if kinds[index] == kinds[index - 1] == "r":
                expected[index] = expected[index - 1]
        grouped = [expected[place] for place in order]
        assert grouped == expected
        assert sorted(order) == list(range(last))
        assert is_free(segment["lock"])


@pytest.mark.parametrize("spins", [SPINS_SHORT, 10**12])
@pytest.mark.parametrize("write", [0, 1])
def test_waiters_see_that_the_run_is_aborted(server: Server, write: int, spins: int) -> None:
    with new_segment(workers.fields(4)) as segment:
        workers.prepare(segment, 4, spins)
        run_processes(server, segment, workers.lose_lock, members(4, write))
        assert segment["pids"][1:].tolist() == [ABORTED] * 3
