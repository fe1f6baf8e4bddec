"""Worker processes of this machine: who is killed takes nothing along, and nobody is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from threading import Event

import pytest

from cluster.attempt import Tell
from cluster.descendants import descendants
from cluster.errors import ClusterError
from cluster.fan_out import Done, fan_out
from cluster.pool import STARTS, Pool, group_cpus, how_ended
from cluster.session import open_session
from tests.core.live.leftovers import still_alive


def process_of(batch: int, attempt: int) -> int:
    return os.getpid()


def parent_of(batch: int, attempt: int) -> int:
    return os.getppid()


def kill_server_at_first(batch: int, attempt: int) -> int:
    if attempt == 1:
        os.kill(os.getppid(), signal.SIGKILL)
        Event().wait()  # the kernel ends it
    return batch


def kill_server(batch: int, attempt: int) -> int:
    os.kill(os.getppid(), signal.SIGKILL)
    Event().wait()
    return batch


def first_only(batch: int, attempt: int) -> int:
    if batch > 1:
        Event().wait()
    return batch


def fail_to_prepare(tell: Tell) -> None:
    raise OSError("no room for\nkernels")


def test_workers_are_started_only_when_they_are_needed() -> None:
    with Pool(None) as pool, open_session("pool", pool=pool) as session:
        list(fan_out(session, process_of, [1]))
        assert len(pool.workers) == 1


def test_a_worker_killed_while_it_has_nothing_to_do_is_replaced() -> None:
    with Pool(None) as pool, open_session("pool", pool=pool) as session:
        [first] = fan_out(session, process_of, [1])
        assert isinstance(first, Done)
        os.kill(first.result, signal.SIGKILL)
        assert still_alive([first.result]) == []
        [second] = fan_out(session, process_of, [1])
        assert isinstance(second, Done)
        assert second.result != first.result
        assert second.attempts == 1


def test_a_server_that_is_killed_is_started_again() -> None:
    with open_session("pool") as session:
        events = list(fan_out(session, kill_server_at_first, [1, 2], attempts=3))
        assert sorted(event.batch for event in events if isinstance(event, Done)) == [1, 2]


def test_a_server_that_is_killed_each_time_is_given_up() -> None:
    with (
        open_session("pool") as session,
        pytest.raises(ClusterError, match=f"was started {STARTS} times, and at last died of SIGKILL"),
    ):
        list(fan_out(session, kill_server, [1], attempts=100))


def test_what_cannot_be_prepared_is_told_in_one_line() -> None:
    with (
        open_session("pool", fail_to_prepare) as session,
        pytest.raises(ClusterError, match=r"^the worker processes cannot be started: OSError: no room for$"),
    ):
        list(fan_out(session, process_of, [1]))


def test_nobody_is_left_at_the_end() -> None:
    with open_session("pool") as session:
        list(fan_out(session, process_of, range(4)))
        family = list(descendants(os.getpid()))
        assert len(family) >= 2
    assert still_alive(family) == []


KILLED_DRIVER = """
import sys
from threading import Event
from cluster.fan_out import fan_out
from cluster.session import open_session
from test_pool import first_only
with open_session("pool") as session:
    for event in fan_out(session, first_only, [1] + [2] * int(sys.argv[1])):
        print(event.result, flush=True)
    Event().wait()
"""


@pytest.mark.parametrize("others", [0, 3], ids=["workers are idle", "workers are busy"])
def test_nobody_is_left_when_the_driver_is_killed(others: int, tmp_path: Path) -> None:
    folders = os.environ | {"TMPDIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", KILLED_DRIVER, str(others)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=folders) as driver:
        assert driver.stdout is not None
        assert driver.stdout.readline() == b"1\n"
        family = list(descendants(driver.pid))
        driver.kill()
    assert len(family) >= 2
    assert still_alive(family) == []
    assert list(tmp_path.iterdir()) == []


def test_an_exit_code_is_told_in_words() -> None:
    assert how_ended(3) == "ended with exit code 3"
    assert how_ended(-signal.SIGSEGV) == "died of SIGSEGV"
    assert how_ended(-signal.SIGKILL) == "died of SIGKILL (out of memory, or somebody killed it)"
    assert how_ended(-63) == "died of signal 63"


@pytest.mark.parametrize(("limit", "cpus"), [("200000 100000", 2), ("150000 100000", 2), ("max 100000", None)])
def test_a_container_is_kept_as_busy_as_it_may_be(limit: str, cpus: int | None, tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text(limit)
    assert group_cpus(tmp_path / "cpu.max") == (cpus or sys.maxsize)
