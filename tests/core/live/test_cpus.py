"""CPUs of live runs: nobody else's while they run, and free again however a run ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from core.live import cpus
from core.live.cpus import own_cpus, usable_cpus
from core.live.processes.errors import LiveError

ROOT = Path(__file__).parents[3]
CPUS = usable_cpus()
ALL = len(CPUS)

HOLDER = """
import sys
from core.live.cpus import own_cpus
with own_cpus(int(sys.argv[1])) as cpus:
    print(*cpus, flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_run(count: int) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """A process that has so many CPUs, and which, until its input ends."""
    command = [sys.executable, "-c", HOLDER, str(count)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        yield holder, [int(word) for word in holder.stdout.readline().split()]


def test_a_run_stays_on_its_cpus_and_leaves_no_trace() -> None:
    before = os.sched_getaffinity(0)
    with own_cpus(1) as mine:
        assert len(mine) == 1
        assert os.sched_getaffinity(0) == set(mine)
    assert os.sched_getaffinity(0) == before


def test_a_run_that_raises_gives_its_cpus_back() -> None:
    with pytest.raises(ValueError, match="went wrong"), own_cpus(ALL):
        raise ValueError("it went wrong")
    with own_cpus(ALL) as mine:
        assert mine == CPUS


def test_more_vcpus_than_cpus_get_all_there_are() -> None:
    with own_cpus(ALL + 1) as mine:
        assert mine == CPUS


@pytest.mark.skipif(ALL < 2, reason="needs two CPUs")
def test_two_runs_have_different_cpus() -> None:
    with another_run(1) as (_, theirs), own_cpus(ALL - 1) as mine:
        assert sorted(mine + theirs) == CPUS


def test_a_run_waits_until_there_are_enough_cpus() -> None:
    order: list[str] = []

    def end(holder: subprocess.Popen[str]) -> None:
        order.append("the other ends")
        assert holder.stdin is not None
        holder.stdin.close()

    with another_run(1) as (holder, _):
        timer = threading.Timer(0.2, end, [holder])
        timer.start()
        with own_cpus(ALL):
            order.append("this one starts")
        timer.join()
    assert order == ["the other ends", "this one starts"]


def test_the_kernel_takes_the_cpus_of_a_killed_run_back() -> None:
    with another_run(ALL) as (holder, _):
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with own_cpus(ALL) as mine:
            assert mine == CPUS


def test_waiting_in_vain_is_an_error_that_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpus, "WAIT_SECONDS", 0.1)
    with another_run(1), pytest.raises(LiveError, match=r"did not become free .*--share-cpus") as caught, own_cpus(ALL):
        pass
    assert "\n" not in str(caught.value)


def test_a_run_that_may_share_does_not_wait_and_takes_what_is_free_first() -> None:
    with another_run(1) as (_, theirs):
        with own_cpus(ALL, share=True) as mine:
            assert mine == CPUS
        if ALL > 1:
            with own_cpus(1, share=True) as mine:
                assert not set(mine) & set(theirs)
