"""Running the processes of a live run to their end, and clearing up whatever happens.

Each process calls one function with the segment, its index and its arguments. If one dies or raises, the run is over:
the abort word tells the others, who return from any wait; who does not is terminated, then killed; and the caller gets
one LiveError that names the first to fail. An interrupted caller clears up in the same way. No process of the run is
left when `run_processes` returns or raises.
"""

from __future__ import annotations

import os
import pickle
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from core.live.processes.errors import LiveError
from core.live.processes.segment import Segment
from core.live.processes.server import Server, how_ended, kill_server
from core.live.processes.serving import Function, Task
from core.live.sync.waiting import ABORT

_LOOK_SECONDS: Final = 0.2
"""Between looks at the channel: an interrupt that is not a signal is seen so soon."""

_PATIENCE: Final = ((0.5, signal.SIGTERM), (0.5, signal.SIGKILL), (2.0, None))
"""How long to wait for the processes to end, and what to do then; at last the server itself is killed."""


@dataclass(frozen=True, slots=True)
class Member:
    """One process of a run: its name in messages, and what its function gets."""

    name: str
    arguments: Any = None


@dataclass(frozen=True, slots=True)
class _Run:
    names: tuple[str, ...]
    running: set[int]
    failures: list[tuple[str, str]]
    """In order, each a line and a traceback. Not exceptions: those would keep the segment alive, which they lead to."""


def run_processes(
    server: Server, segment: Segment, function: Function, members: Sequence[Member], *, pin: bool = False
) -> None:
    """Run function(segment, index, arguments) in one process per member, and return when all have returned.

    `function` is importable by name, best from a module that the server has loaded. The processes use the CPUs that
    the calling thread may use, whichever the server was started on; with `pin` each stays on one of them, in turn.
    """
    if function.__module__ == "__main__":
        raise ValueError(f"{function.__qualname__}: a function of the main script cannot be run in another process")
    run = _Run(tuple(member.name for member in members), set(range(len(members))), [])
    with server.in_use:
        try:
            _start(server, segment, function, members, pin)
            while run.running and not run.failures:
                _follow(server, run, _LOOK_SECONDS)
        except LiveError as error:  # the server is gone, and with it the processes
            run.failures.append((str(error), ""))
            run.running.clear()
            kill_server(server)
        finally:
            if run.running:
                _stop(server, segment, run)
    if run.failures:
        raise _error(*run.failures[0])


def _error(line: str, details: str) -> LiveError:
    error = LiveError(line)
    if details:
        error.add_note(details)
    return error


def _start(server: Server, segment: Segment, function: Function, members: Sequence[Member], pin: bool) -> None:
    cpus = sorted(os.sched_getaffinity(0))
    tasks = [
        Task(
            member.name, (cpus[index % len(cpus)],) if pin else tuple(cpus), pickle.dumps((function, member.arguments))
        )
        for index, member in enumerate(members)
    ]
    request = os.memfd_create("splitsweep-request")  # a packet would bound the size of the arguments
    try:
        size = os.write(request, pickle.dumps(tasks))
        server.send("start", segment.fields, size, descriptors=[segment.descriptor, request])
    finally:
        os.close(request)


def _follow(server: Server, run: _Run, seconds: float) -> None:
    """Take note of the next message, if one comes."""
    message = server.receive(seconds)
    if message is None:
        return
    kind, index, *details = message
    name = run.names[index]
    if kind == "raised":
        run.failures.append((f"{name} raised {details[0]}", details[1]))
        return
    run.running.discard(index)
    if kind == "unstarted":
        run.failures.append((f"{name} could not be started: {details[0]}", ""))
    elif details[0] != 0:
        run.failures.append((f"{name} {how_ended(details[0])}", ""))


def _stop(server: Server, segment: Segment, run: _Run) -> None:
    """End all processes of the run: first by word, then by force."""
    try:
        segment.abort[ABORT] = 1
        for seconds, then in _PATIENCE:
            end = time.monotonic() + seconds
            while run.running and time.monotonic() < end:
                _follow(server, run, max(0.0, end - time.monotonic()))
            if not run.running:
                return
            if then is not None:
                server.send("signal", then)
        kill_server(server)
    except LiveError:  # the server is gone: what made the run end is the better message
        kill_server(server)
    except BaseException:  # interrupted again
        kill_server(server)
        raise
