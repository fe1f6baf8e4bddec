"""Progress of a run on stderr: a live bar with counts, rate and time left on a terminal, now and then a line elsewhere.

Logs of a nightly job or of `make` must not fill with control codes, so what is not a terminal gets plain lines, and few
of them: one when the work starts, one every `LINE_SECONDS`, one at the end.

A second thread looks after the clock: what is done before the first config can run, and a config that takes long, are
told while nothing else happens.
"""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from sweep.running.tally import Progress, Report

LINE_SECONDS: Final = 10.0

QUIET_SECONDS: Final = 5.0
"""With nothing finished for so long it is told what takes long, and every so many seconds again."""

PATIENCE_SECONDS: Final = 3.0
"""Shorter than this, nobody wonders what is going on."""

_LOOK_SECONDS: Final = 0.25

_Show = Callable[["Progress", float, float], None]
"""Shows a Progress at a time of the run, in seconds, when nothing has changed for so many seconds."""


@contextmanager
def shown_progress(total: int, stream: TextIO | None = None) -> Iterator[Report]:
    """A function to call with each Progress of a run over `total` configs; the display ends with the block."""
    stream = stream or sys.stderr
    with _live_bar(total, stream) if stream.isatty() else _plain_lines(stream) as show, _repeated(show) as report:
        yield report


@contextmanager
def _repeated(show: _Show) -> Iterator[Report]:
    """A function that shows each Progress at once, and again while no other comes: a wait gets longer."""
    lock, over = threading.Lock(), threading.Event()
    last: Progress | None = None
    reported = 0.0  # on the clock
    changed = 0.0  # in the run's time

    def report(progress: Progress) -> None:
        nonlocal last, reported, changed
        with lock:
            if last is None or _state(progress) != _state(last):
                changed = progress.elapsed
            last, reported = progress, time.monotonic()
            show(progress, progress.elapsed, progress.elapsed - changed)

    def repeat() -> None:
        while not over.wait(_LOOK_SECONDS):
            with lock:
                if last is not None:
                    now = last.elapsed + time.monotonic() - reported
                    show(last, now, now - changed)

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield report
    finally:
        over.set()
        thread.join()


def _state(progress: Progress) -> tuple[str | None, int, int]:
    return progress.doing, progress.done, progress.failed


def wait_or_progress_text(progress: Progress, quiet: float) -> str:
    """What is going on, when nothing has changed for `quiet` seconds."""
    if progress.doing is not None:
        part = "" if progress.part is None else f", {progress.part:.0%}"
        return f"{progress.doing}: {duration_text(quiet)}{part}"
    text = progress_text(progress)
    longest = progress.longest
    if longest is None or quiet < QUIET_SECONDS:
        return text
    so_far, expected = duration_text(time.monotonic() - longest.since), duration_text(longest.estimated_seconds)
    text += f"; nothing finished for {duration_text(quiet)}"
    return f"{text}, longest runs {longest.text}: {so_far}, expected {expected}"


def progress_text(progress: Progress) -> str:
    """Counts, rate and time left, as in `120/480 configs, 2 failed, 35.0/s, 10 s left`."""
    finished = progress.done + progress.failed
    parts = [f"{finished}/{progress.total} configs"]
    if progress.failed:
        parts.append(f"{progress.failed} failed")
    if finished:
        slow = progress.rate < 0.1
        parts.append(f"{progress.rate * 60:.1f}/min" if slow else f"{progress.rate:.1f}/s")
    if progress.seconds_left is not None and finished < progress.total:
        parts.append(f"{duration_text(progress.seconds_left)} left")
    return ", ".join(parts)


def duration_text(seconds: float) -> str:
    """A length of time as a reader takes it in: 0.4 s, 12 s, 3 min 20 s, 2 h 5 min."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


@contextmanager
def _plain_lines(stream: TextIO) -> Iterator[_Show]:
    last_line = -math.inf
    working = False

    def show(progress: Progress, now: float, quiet: float) -> None:
        nonlocal last_line, working
        silent = now - last_line
        if progress.doing is not None:
            due = quiet >= PATIENCE_SECONDS and silent >= LINE_SECONDS
        elif progress.done + progress.failed == progress.total:
            due = quiet == 0
        else:
            due = not working or silent >= (QUIET_SECONDS if quiet >= QUIET_SECONDS else LINE_SECONDS)
            working = True
        if due:
            last_line = now
            print(wait_or_progress_text(progress, quiet), file=stream, flush=True)

    yield show


@contextmanager
def _live_bar(total: int, stream: TextIO) -> Iterator[_Show]:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bar

    with Bar(BarColumn(), TextColumn("{task.description}"), console=Console(file=stream), transient=True) as bar:
        task = bar.add_task("starting", total=total)

        def show(progress: Progress, now: float, quiet: float) -> None:
            text = wait_or_progress_text(progress, quiet)
            completed = progress.done + progress.failed if progress.part is None else progress.part * total
            bar.update(task, completed=completed, description=text)

        yield show
