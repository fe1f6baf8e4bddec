"""A config may take so long and so much memory, and no more: nothing hangs for ever, and no neighbour is killed.

A thread of the worker process watches, as compiled code cannot be interrupted. It stores what the batch has until then,
with a failed row for the config that takes too much, and ends the process. To `fan_out` that is a crash: the batch is
started again, and `run_batch` leaves out what is stored. So the others of the batch lose nothing, and the config is not
tried again.

Memory that is asked for at once is refused by the kernel (`limited_memory`), and the config fails without ending its
process. What grows while it is used is noticed by the thread, before the kernel picks somebody to kill.
"""

from __future__ import annotations

import os
import resource
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cluster.pool import usable_cpus
from core.config import Config
from core.sim.memory_need import needed_bytes, reserved_bytes
from sweep.running.fits import memory_text, usable_memory
from sweep.running.plan import Task

LEAST_SECONDS: Final = 120.0
TIMES_ESTIMATE: Final = 20.0
"""Estimates are rough, and a machine may be busy with something else."""

MEASURED_SECONDS: Final = 1200.0
"""More for what is measured: it waits for CPUs that others have, and its time is only guessed."""

_LOOK_SECONDS: Final = 0.1

EXIT_CODE: Final = 124
"""Of a worker process that was ended here, as of timeout(1)."""


def seconds_allowed(task: Task, timeout: float | None) -> float:
    """How long the config may take: what the user says, else generously more than is expected."""
    if timeout is not None:
        return timeout
    measured = MEASURED_SECONDS if task.config.engine != "sim" else 0.0
    return measured + max(LEAST_SECONDS, TIMES_ESTIMATE * task.estimated_seconds)


def memory_allowed(config: Config) -> int:
    """Bytes that a simulation may use, with its process: a CPU's share of the machine, or twice what is expected."""
    return max(2 * needed_bytes(config), usable_memory() // usable_cpus())


def excess_text(config: Config, had: int) -> str:
    """What is wrong with a config that was given `had` bytes and wanted more."""
    return f"needs more memory than the {memory_text(had)} it had; expected were {memory_text(needed_bytes(config))}"


@contextmanager
def limited_memory(config: Config) -> Iterator[None]:
    """Inside, the kernel refuses this process what goes beyond the config's arrays and what it is allowed."""
    if config.engine != "sim":
        yield  # other processes do the work, in memory that they share
        return
    had = memory_allowed(config)
    before, most = resource.getrlimit(resource.RLIMIT_DATA)
    limit = _status("VmData") + reserved_bytes(config) + had
    resource.setrlimit(resource.RLIMIT_DATA, (limit if most == resource.RLIM_INFINITY else min(limit, most), most))
    try:
        yield
    except MemoryError:
        raise MemoryError(excess_text(config, had)) from None
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (before, most))


def _lift_memory_limit() -> None:
    most = resource.getrlimit(resource.RLIMIT_DATA)[1]
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def _status(field: str) -> int:
    """A size of this process in bytes, as the kernel tells it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:")), 0)


@dataclass(frozen=True, slots=True)
class _Begun:
    task: Task
    seconds: float  # that it may take
    end: float  # on the clock
    memory: int | None  # that it may take


class Watch:
    """Ends this process when what was begun last takes too long or too much memory.

    Before that `at_end` is called with it, and the name and text of its error.
    """

    def __init__(self, at_end: Callable[[Task, str, str], None]) -> None:
        self._at_end = at_end
        self._current: _Begun | None = None
        self._over = threading.Event()

    def __enter__(self) -> Watch:
        threading.Thread(target=self._look, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()

    def begin(self, task: Task, seconds: float) -> None:
        had = memory_allowed(task.config) if task.config.engine == "sim" else None
        self._current = _Begun(task, seconds, time.monotonic() + seconds, had)

    def _look(self) -> None:
        while not self._over.wait(_LOOK_SECONDS):
            begun = self._current
            error = None if begun is None else _excess(begun)
            if begun is not None and error is not None and begun is self._current:
                try:
                    _lift_memory_limit()  # to store what is there takes some, too
                    self._at_end(begun.task, *error)
                finally:
                    os._exit(EXIT_CODE)


def _excess(begun: _Begun) -> tuple[str, str] | None:
    """The name and text of the error if it takes too much."""
    if time.monotonic() >= begun.end:
        limit = f"took longer than {begun.seconds:.0f} s, which is all that --timeout or its estimate allows"
        return "TimeoutError", limit
    if begun.memory is not None and _status("VmRSS") > begun.memory:
        return "MemoryError", excess_text(begun.task.config, begun.memory)
    return None
