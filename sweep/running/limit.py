"""A config may take so long and no longer: nothing hangs for ever.

A thread of the worker process watches the clock, as compiled code cannot be interrupted. It stores what the batch has
until then, with a failed row for the config that takes too long, and ends the process. To `fan_out` that is a crash:
the batch is started again, and `run_batch` leaves out what is stored. So the others of the batch lose nothing, and the
config is not tried again.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Final

from sweep.running.plan import Task

LEAST_SECONDS: Final = 120.0
TIMES_ESTIMATE: Final = 20.0
"""Estimates are rough, and a machine may be busy with something else."""

MEASURED_SECONDS: Final = 1200.0
"""More for what is measured: it waits for CPUs that others have, and its time is only guessed."""

EXIT_CODE: Final = 124
"""Of a worker process that was ended here, as of timeout(1)."""


def seconds_allowed(task: Task, timeout: float | None) -> float:
    """How long the config may take: what the user says, else generously more than is expected."""
    if timeout is not None:
        return timeout
    measured = MEASURED_SECONDS if task.config.engine != "sim" else 0.0
    return measured + max(LEAST_SECONDS, TIMES_ESTIMATE * task.estimated_seconds)


class Watch:
    """Ends this process when the time of what was begun last is up, after calling `at_end` with it."""

    def __init__(self, at_end: Callable[[Task, float], None]) -> None:
        self._at_end = at_end
        self._current: tuple[Task, float, float] | None = None  # allowed seconds, and the end on the clock
        self._over = threading.Event()

    def __enter__(self) -> Watch:
        threading.Thread(target=self._look, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()

    def begin(self, task: Task, seconds: float) -> None:
        self._current = (task, seconds, time.monotonic() + seconds)

    def _look(self) -> None:
        while True:
            current = self._current
            left = 0.1 if current is None else max(0.01, current[2] - time.monotonic())
            if self._over.wait(min(left, 1.0)):
                return
            current = self._current
            if current is not None and time.monotonic() >= current[2]:
                try:
                    self._at_end(current[0], current[1])
                finally:
                    os._exit(EXIT_CODE)
