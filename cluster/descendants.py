"""The processes that this one has started, and those that they have: killed where nothing else has time."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path


def kill_descendants() -> None:
    """Kill them all. They are listed first: who loses its parent is a descendant no more."""
    for process in list(descendants(os.getpid())):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process, signal.SIGKILL)


def descendants(process: int) -> Iterator[int]:
    """Children before their own children."""
    for file in Path(f"/proc/{process}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # ended meanwhile
            for child in map(int, file.read_text().split()):
                yield child
                yield from descendants(child)
