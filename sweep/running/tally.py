"""How far a run is: counts, time left, and what takes long just now."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from core.config import config_text
from sweep.running.plan import Batch, Plan

COMPILING: Final = "compiling the simulator, once for this version"

_COMPILING_EACH: Final = 0.75
"""Part of the time that goes into the kernels one by one; then they are optimised together."""

Report = Callable[["Progress"], None]


@dataclass(frozen=True, slots=True)
class Running:
    """The batch that a worker has been at for longest; times are those of time.monotonic()."""

    text: str
    since: float
    estimated_seconds: float


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is. Time left follows the estimated cost of what is done and what is not, not the count."""

    done: int
    failed: int
    total: int
    rate: float  # configs per second
    seconds_left: float | None  # None until something is done
    elapsed: float
    doing: str | None = None  # what is done before any config can run, or after all have
    part: float | None = None  # how much of that is done
    longest: Running | None = None


@dataclass(slots=True)
class Tally:
    """Counts of a run in progress; `report` is called whenever they change."""

    plan: Plan
    report: Report
    done: int = 0
    failed: int = 0
    interrupted_by: int | None = None
    cost_done: float = 0.0
    doing: str | None = None
    part: float | None = None
    started: float = field(default_factory=time.monotonic)
    work_started: float | None = None
    running: dict[str, tuple[Batch, float]] = field(default_factory=dict)

    def start(self, doing: str) -> None:
        """Something begins that comes before or after all configs."""
        self.doing = doing
        self.report(self.progress())

    def compiled(self, kernels: int, all_kernels: int) -> None:
        """So many kernels are."""
        self.doing, self.part = COMPILING, _COMPILING_EACH * kernels / all_kernels
        self.report(self.progress())

    def start_batch(self, batch: Batch) -> None:
        """A worker has a batch: from the first one on the clock says something about the rest."""
        now = time.monotonic()
        self.doing = self.part = None
        self.work_started = self.work_started or now
        self.running[batch.name] = (batch, now)
        self.report(self.progress())

    def end_batch(self, batch: Batch, done: int, failed: int) -> None:
        """A batch is over; one of which nothing counts yet will be run again."""
        self.running.pop(batch.name, None)
        self.done += done
        self.failed += failed
        if done or failed:
            self.cost_done += batch.core_seconds
        self.report(self.progress())

    def progress(self) -> Progress:
        now = time.monotonic()
        worked = now - (self.work_started or now)
        finished = self.done + self.failed
        seconds_left = worked * (self.plan.estimated_seconds / self.cost_done - 1) if self.cost_done else None
        return Progress(
            done=self.done,
            failed=self.failed,
            total=self.plan.configs_to_run,
            rate=finished / worked if worked else 0.0,
            seconds_left=None if seconds_left is None else max(0.0, seconds_left),
            elapsed=now - self.started,
            doing=self.doing,
            part=self.part,
            longest=self._longest(),
        )

    def _longest(self) -> Running | None:
        """Batches start in the order of `running`, so the first is the one."""
        for batch, since in self.running.values():
            text = config_text(batch.tasks[0].config)
            if len(batch.tasks) > 1:
                text = f"{len(batch.tasks)} configs from {text} on"
            return Running(text, since, batch.estimated_seconds)
        return None
