"""One attempt at one batch, in whatever process it happens: what the driver's executors and Ray's workers share."""

from __future__ import annotations

import fcntl
import os
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

B = TypeVar("B")
R = TypeVar("R")

Function = Callable[[B, int], R]
"""What is mapped: called with a batch and the number of the attempt, from 1."""


@dataclass(frozen=True, slots=True)
class Raised:
    """An exception on its way to the driver, as text: not every exception survives pickling."""

    error_type: str
    error: str
    details: str


@dataclass(frozen=True, slots=True)
class Crashed:
    """The worker process died; `error` is what Ray says about it."""

    error_type: str
    error: str
    details: str


def run_one(function: Function[B, R], prepare: Callable[[], None] | None, batch: B, attempt: int) -> R | Raised:
    """One attempt at one batch, in whatever process this is."""
    try:
        if prepare is not None:
            _prepare_once(prepare)
        return function(batch, attempt)
    except Exception as error:
        message = next((line for line in str(error).splitlines() if line.strip()), "")
        return Raised(type(error).__name__, message, traceback.format_exc())


_prepared: set[str] = set()


def _prepare_once(prepare: Callable[[], None]) -> None:
    """Call `prepare` if this process has not done so yet, while no other process of this machine and user does."""
    name = f"{prepare.__module__}.{prepare.__qualname__}"  # a name, as each task brings its own copy of the function
    if name in _prepared:
        return
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    with os.fdopen(os.open(Path(tempfile.gettempdir()) / f"{name}-{os.getuid()}.lock", flags, 0o600), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the kernel lets go of it if this process dies
        prepare()
    _prepared.add(name)
