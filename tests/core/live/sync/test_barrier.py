"""The barrier, with real processes."""

from __future__ import annotations

import numpy as np
import pytest

from core.live.processes.run import Member, run_processes
from core.live.processes.segment import new_segment
from core.live.processes.server import Server
from core.live.sync.barrier import BARRIER_WORDS, prepare_barrier, wait_at_barrier
from core.live.sync.waiting import ABORT, ABORT_WORDS, ABORTED, AT_ONCE, prepare_abort, spins_for
from tests.core.live import workers


@pytest.mark.parametrize(("processes", "spins"), [(2, 20_000), (2, 0), (9, 20)])
def test_nobody_goes_on_before_all_have_come(server: Server, processes: int, spins: int) -> None:
    with new_segment(workers.fields(processes)) as segment:
        workers.prepare(segment, processes, spins)
        steps = [Member(f"vCPU {index}", (processes, 1_000)) for index in range(processes)]
        run_processes(server, segment, workers.step, steps)
        assert segment["pids"].tolist() == [0] * processes


@pytest.mark.parametrize("spins", [0, 10**12])
def test_who_waits_sees_that_the_run_is_aborted(spins: int) -> None:
    barrier, abort = np.zeros(BARRIER_WORDS, np.int64), np.zeros(ABORT_WORDS, np.int64)
    prepare_abort(abort)
    prepare_barrier(barrier, 2, spins)
    abort[ABORT] = 1
    assert wait_at_barrier(barrier, abort) == ABORTED


def test_alone_it_is_passed_at_once() -> None:
    barrier, abort = np.zeros(BARRIER_WORDS, np.int64), np.zeros(ABORT_WORDS, np.int64)
    prepare_barrier(barrier, 1, 0)
    assert [wait_at_barrier(barrier, abort) for _ in range(3)] == [AT_ONCE] * 3


def test_processes_without_a_cpu_of_their_own_sleep_sooner() -> None:
    assert spins_for(3, 2) < spins_for(2, 2)
