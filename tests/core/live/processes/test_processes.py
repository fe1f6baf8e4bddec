"""Processes of a live run: whatever ends them, one clear error and nothing left."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from core.live.processes.errors import LiveError
from core.live.processes.run import Member, run_processes
from core.live.processes.segment import Segment, new_segment
from core.live.processes.server import Server, kept_server, process_server, start_server, stop_kept_servers
from core.live.processes.serving import Function
from tests.core.live import workers
from tests.core.live.leftovers import descriptors, memory_files, still_alive

ROOT = Path(__file__).parents[4]
WITHIN = 5.0
"""Seconds in which a failed run must be over."""


def members(count: int, arguments: object = None) -> list[Member]:
    return [Member("the ioctl thread", arguments)] + [Member(f"vCPU {index}", arguments) for index in range(count - 1)]


@contextmanager
def segment_for(processes: int, spins: int = 20) -> Iterator[Segment]:
    with new_segment(workers.fields(processes)) as segment:
        workers.prepare(segment, processes, spins)
        yield segment


def act_when_all_run(segment: Segment, delay: float, act: Callable[[list[int]], None]) -> threading.Thread:
    """Call act(pids) so long after all processes have noted their pid."""

    def wait() -> None:
        while (segment["pids"] == 0).any():
            time.sleep(0.001)
        time.sleep(delay)
        act(segment["pids"].tolist())

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def failure_of(server: Server, segment: Segment, function: Function, run: list[Member]) -> LiveError:
    with pytest.raises(LiveError) as caught:
        run_processes(server, segment, function, run)
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("attempt", range(8))
def test_a_killed_process_ends_the_run_with_its_name(server: Server, attempt: int) -> None:
    shared_files = os.listdir("/dev/shm")
    choice = random.Random(attempt)
    victim, spins = choice.randrange(4), choice.choice([0, 20, 20_000])
    killed: list[float] = []

    def kill(pids: list[int]) -> None:
        killed.append(time.monotonic())
        os.kill(pids[victim], signal.SIGKILL)

    with segment_for(4, spins) as segment:
        act_when_all_run(segment, choice.random() / 20, kill)
        error = failure_of(server, segment, workers.contend, members(4, choice.choice([1, 3])))
        assert time.monotonic() - killed[0] < WITHIN
        assert str(error).startswith(f"{members(4)[victim].name} died of SIGKILL")
        assert still_alive(segment["pids"].tolist(), seconds=0) == []
    del segment
    assert memory_files(server.process.pid) == []
    assert os.listdir("/dev/shm") == shared_files


def test_an_exception_ends_the_run_with_one_line_and_its_traceback(server: Server) -> None:
    with segment_for(3) as segment:
        error = failure_of(server, segment, workers.raise_in_one, members(3, 2))
        assert str(error) == "vCPU 1 raised ValueError: no room for 2"
        assert "in raise_in_one" in error.__notes__[0]
        assert still_alive(segment["pids"].tolist(), seconds=0) == []


def test_processes_that_listen_to_nobody_are_killed(server: Server) -> None:
    with segment_for(3) as segment:
        start = time.monotonic()
        error = failure_of(server, segment, workers.deaf, members(3, 0))
        assert time.monotonic() - start < WITHIN
        assert str(error) == "the ioctl thread raised ValueError"
        assert still_alive(segment["pids"].tolist(), seconds=0) == []


def test_a_killed_server_takes_its_processes_along_and_is_replaced() -> None:
    server = kept_server(workers.PRELOAD)
    assert kept_server(workers.PRELOAD) is server
    with segment_for(3) as segment:
        act_when_all_run(segment, 0.01, lambda _: server.process.kill())
        error = failure_of(server, segment, workers.contend, members(3, 1))
        assert str(error).startswith("the process server died of SIGKILL")
        assert still_alive(segment["pids"].tolist(), seconds=1) == []
        replacement = kept_server(workers.PRELOAD)
        segment["pids"][:] = 0
        run_processes(replacement, segment, workers.note_pid, members(3))
        assert (segment["pids"] != 0).all()
        stop_kept_servers()
        assert replacement.process.returncode == 0


def test_functions_and_modules_that_cannot_be_had_are_named(server: Server) -> None:
    with pytest.raises(LiveError, match=r"cannot load the engine: ModuleNotFoundError: No module named 'core.missing'"):
        start_server(["core.missing"])
    with segment_for(1) as segment:
        here = workers.note_pid.__module__
        workers.note_pid.__module__ = "__main__"
        try:
            with pytest.raises(ValueError, match="main script"):
                run_processes(server, segment, workers.note_pid, members(1))
        finally:
            workers.note_pid.__module__ = here


def test_processes_are_pinned_in_turn(server: Server) -> None:
    cpus = sorted(os.sched_getaffinity(0))
    with segment_for(3) as segment:
        run_processes(server, segment, workers.note_affinity, members(3), pin=True)
        assert segment["pids"].tolist() == [cpus[index % len(cpus)] for index in range(3)]


def test_a_hundred_runs_leave_no_descriptor_behind(server: Server) -> None:
    def opened() -> tuple[int, int]:
        return descriptors(), descriptors(server.process.pid)

    before = opened()
    for _ in range(100):
        with segment_for(1) as segment:
            run_processes(server, segment, workers.note_pid, members(1))
            assert segment["pids"][0] != 0
    del segment
    assert opened() == before


def test_a_stopped_server_leaves_no_descriptor_behind() -> None:
    before = descriptors()
    with process_server([]) as server:
        assert descriptors() > before
    assert server.process.returncode == 0
    assert descriptors() == before


# No `if __name__ == "__main__"`: run again in a child, it would start processes without end.
SCRIPT = """
import os, sys
from core.live.processes.run import Member, run_processes
from core.live.processes.segment import new_segment
from core.live.processes.server import kept_server
from tests.core.live import workers
print("main runs", flush=True)
server = kept_server(())
with new_segment(workers.fields(3)) as segment:
    workers.prepare(segment, 3, 20)
    if sys.argv[1] == "forks":
        if os.fork() == 0:  # holds all that this process has open
            import time
            time.sleep(15)
            os._exit(0)
    run = [Member(f"vCPU {index}", 1) for index in range(3)]
    try:
        run_processes(server, segment, getattr(workers, sys.argv[2]), run)
    except KeyboardInterrupt:
        print("interrupted")
"""


@contextmanager
def script(tmp_path: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    process = subprocess.Popen(
        [sys.executable, str(path), *arguments],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def descendants(process: int) -> list[int]:
    """Children of a process and theirs."""
    found = []
    for task in Path(f"/proc/{process}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found += [child, *descendants(child)]
    return found


def wait_for_run(process: int) -> list[int]:
    """The server and its three processes, once they are there."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        found = [child for child in descendants(process) if re.match("vCPU|splitsweep-live", name_of(child))]
        if len(found) == 4:
            return found
        time.sleep(0.01)
    raise AssertionError("the script's processes did not start")


def name_of(process: int) -> str:
    try:
        return Path(f"/proc/{process}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


@pytest.mark.parametrize("how", ["alone", "forks"])
def test_a_killed_parent_leaves_no_orphan(tmp_path: Path, how: str) -> None:
    with script(tmp_path, how, "contend") as process:
        started = wait_for_run(process.pid)
        process.kill()
        assert still_alive(started, seconds=WITHIN) == []
        os.killpg(process.pid, signal.SIGKILL)


def test_ctrl_c_ends_all_and_the_script_ran_once(tmp_path: Path) -> None:
    with script(tmp_path, "alone", "contend") as process:
        started = wait_for_run(process.pid)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        output, _ = process.communicate(timeout=30)
        assert output.split("\n") == ["main runs", "interrupted", ""]
        assert process.returncode == 0
        assert still_alive(started, seconds=0.5) == []


def test_arguments_may_be_large(server: Server) -> None:
    with segment_for(2) as segment:
        run_processes(server, segment, workers.note_pid, members(2, np.zeros(10**6)))
        assert (segment["pids"] != 0).all()
