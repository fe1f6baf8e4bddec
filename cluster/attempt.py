"""One attempt at one batch, in whatever process it happens: what every kind of worker shares."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

B = TypeVar("B")
R = TypeVar("R")

Tell = Callable[[int, int], None]
"""Told how far something is: so much, of so much."""

Prepare = Callable[[Tell], None] | None
"""What a worker process calls before its first batch: a function known by its name, that may tell how far it is."""

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
    """The worker process died; `error` says of what, as far as anybody knows."""

    error_type: str
    error: str
    details: str


@dataclass(frozen=True, slots=True)
class Sent(Generic[B]):
    """A batch on its way, the number of the attempt, and the CPUs that were asked for it."""

    batch: B
    attempt: int
    cpus: int


def tell_nobody(done: int, total: int) -> None:
    """Where nobody waits for it."""


def run_one(function: Function[B, R], prepare: Prepare, batch: B, attempt: int) -> R | Raised | Crashed:
    """One attempt at one batch, in whatever process this is."""
    try:
        if prepare is not None:
            prepare_once(prepare, tell_nobody)
        return function(batch, attempt)
    except KeyboardInterrupt as error:  # somebody sent this process a signal that was not meant for the work
        return Crashed(type(error).__name__, "the worker process was interrupted", traceback.format_exc())
    except (Exception, SystemExit) as error:
        message = next((line for line in str(error).splitlines() if line.strip()), "")
        return Raised(type(error).__name__, message, traceback.format_exc())


_prepared: set[str] = set()


def prepare_once(prepare: Callable[[Tell], None], tell: Tell) -> None:
    """Call `prepare` if this process has not done so yet."""
    name = f"{prepare.__module__}.{prepare.__qualname__}"  # a name, as each task brings its own copy of the function
    if name not in _prepared:
        prepare(tell)
        _prepared.add(name)
