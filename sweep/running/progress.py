"""Progress of a run on stderr: a live bar with counts, rate and time left on a terminal, now and then a line elsewhere.

Logs of a nightly job or of `make` must not fill with control codes, so what is not a terminal gets plain lines, and few
of them: one when the work starts, one every `LINE_SECONDS`, one at the end.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from sweep.running.execute import Progress, Report

LINE_SECONDS: Final = 10.0


@contextmanager
def shown_progress(total: int, stream: TextIO | None = None) -> Iterator[Report]:
    """A function to call with each Progress of a run over `total` configs; the display ends with the block."""
    stream = stream or sys.stderr
    if stream.isatty():
        with _live_bar(total, stream) as report:
            yield report
    else:
        yield _plain_lines(stream)


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


def _plain_lines(stream: TextIO) -> Report:
    last_elapsed = -math.inf

    def report(progress: Progress) -> None:
        nonlocal last_elapsed
        at_end = progress.done + progress.failed == progress.total
        if at_end or progress.elapsed - last_elapsed >= LINE_SECONDS:
            last_elapsed = progress.elapsed
            print(progress_text(progress), file=stream, flush=True)

    return report


@contextmanager
def _live_bar(total: int, stream: TextIO) -> Iterator[Report]:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bar

    with Bar(BarColumn(), TextColumn("{task.description}"), console=Console(file=stream), transient=True) as bar:
        task = bar.add_task("starting workers", total=total)

        def report(progress: Progress) -> None:
            bar.update(task, completed=progress.done + progress.failed, description=progress_text(progress))

        yield report
