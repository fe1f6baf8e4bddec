"""Whatever takes longer than a moment says what it is and for how long: on stderr, so that output stays clean.

What is waited for runs in the caller's own thread and knows nothing of this; a second thread watches the clock. On a
terminal that is a line with a bar, elsewhere a line now and then, as for the progress of a run.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, TextIO

from sweep.running.progress import LINE_SECONDS, duration_text

PATIENCE_SECONDS: Final = 3.0
"""Shorter than this, nobody wonders what is going on."""

BAR_SECONDS: Final = 0.25


@contextmanager
def shown_wait(
    what: str, expected: float | None = None, *, stream: TextIO | None = None, patience: float = PATIENCE_SECONDS
) -> Iterator[None]:
    """Say that `what` is being done, and for about how many seconds, if the block takes longer than `patience`.

    Where it is expected to take longer, it is said at once.
    """
    stream = stream or sys.stderr
    over = threading.Event()
    long = expected is not None and expected > patience
    watch = _watch_bar if stream.isatty() else _watch_lines
    thread = threading.Thread(
        target=watch, args=(what, expected, stream, over, 0.0 if long else patience, time.monotonic()), daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def wait_text(what: str, elapsed: float, expected: float | None) -> str:
    """`simulating: 12 s of about 40 s`."""
    if expected is None or expected < 1:
        return f"{what}: {duration_text(elapsed)}"
    if elapsed < 1:
        return f"{what}: about {duration_text(expected)}"
    if elapsed <= expected:
        return f"{what}: {duration_text(elapsed)} of about {duration_text(expected)}"
    return f"{what}: {duration_text(elapsed)}, longer than the expected {duration_text(expected)}"


def _watch_lines(
    what: str, expected: float | None, stream: TextIO, over: threading.Event, patience: float, start: float
) -> None:
    pause = patience
    while not over.wait(pause):
        print(wait_text(what, time.monotonic() - start, expected), file=stream, flush=True)
        pause = LINE_SECONDS


def _watch_bar(
    what: str, expected: float | None, stream: TextIO, over: threading.Event, patience: float, start: float
) -> None:
    if over.wait(patience):
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    with Progress(BarColumn(), TextColumn("{task.description}"), console=Console(file=stream), transient=True) as bar:
        task = bar.add_task("", total=expected)
        while True:
            elapsed = time.monotonic() - start
            done = min(elapsed, expected) if expected else 0.0
            bar.update(task, completed=done, description=wait_text(what, elapsed, expected))
            if over.wait(BAR_SECONDS):
                return
