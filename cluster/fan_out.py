"""Map a function over batches of work, on a Ray cluster or in this process, and tell what became of each batch.

`fan_out` is a generator of events in the order of completion. What it promises:

* Back-pressure. Batches are taken from their iterable only when there is room: no more than keep `IN_FLIGHT_PER_CPU`
  times the CPUs of the cluster busy are unanswered, so neither a million batches nor a slow node pile anything up.
* A batch gets the CPUs it asks for (`cpus`), at most all those of the largest node. Those that run at the same time on
  a node never have more of them together than it has.
* One bad batch stops nothing. An exception in the function is that batch's `Failed` event. A batch that kills its
  worker process (out of memory, a crash, a lost node) is started again, behind the others, `attempts` times in all,
  and then is `Failed` with `crashed` set. Ray's own retries are off: Ray would not say how often it started what.
* Ctrl-C loses nothing finished. Nothing more is handed over, what runs gets `GRACE_SECONDS` to finish, its events
  come out as usual, and the last event is `Interrupted`. A second Ctrl-C raises KeyboardInterrupt at once.

Starting a batch again makes it run at least once, not exactly once: the function's effects have to be idempotent.

Both executors run `run_one`, so results and failures look the same. In this process there is no protection against a
batch that kills its process.
"""

from __future__ import annotations

import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from cluster.attempt import Crashed, Function, Raised, run_one
from cluster.session import Session

if TYPE_CHECKING:
    from cluster.on_ray import RayTasks

B = TypeVar("B")
R = TypeVar("R")

GRACE_SECONDS: Final = 5.0
POLL_SECONDS: Final = 0.2


@dataclass(frozen=True, slots=True)
class Done(Generic[B, R]):
    """The function returned `result` for this batch."""

    batch: B
    result: R
    attempts: int


@dataclass(frozen=True, slots=True)
class Failed(Generic[B]):
    """The function raised, or (`crashed`) its worker died each time. `error` is one line, `details` all there is."""

    batch: B
    attempts: int
    crashed: bool
    error_type: str
    error: str
    details: str


@dataclass(frozen=True, slots=True)
class Interrupted:
    """Ctrl-C: no more events follow, and batches without an event were not finished."""


Event = Done[B, R] | Failed[B] | Interrupted


def fan_out(
    session: Session,
    function: Function[B, R],
    batches: Iterable[B],
    attempts: int = 3,
    prepare: Callable[[], None] | None = None,
    cpus: Callable[[B], int] | None = None,
) -> Iterator[Event[B, R]]:
    """Events of `function(batch, attempt)` for every batch, in the order of completion.

    `prepare`, a function known by its name, runs in each worker process before its first batch, one process at a time
    on each machine: the place to fill a cache that all of them share. Nodes that join a cluster late are covered too.
    `cpus` tells how many CPUs a batch keeps busy, one where it is not given; in this process it makes no difference.
    """
    with _noticed_interrupt() as interrupt:
        if session.uses_ray:
            from cluster.on_ray import RayTasks

            yield from _fan_out_on_ray(RayTasks(function, prepare, cpus), batches, attempts, interrupt)
        else:
            yield from _fan_out_inline(function, batches, prepare, interrupt)


def _fan_out_inline(
    function: Function[B, R], batches: Iterable[B], prepare: Callable[[], None] | None, interrupt: threading.Event
) -> Iterator[Event[B, R]]:
    for batch in batches:
        if interrupt.is_set():
            yield Interrupted()
            return
        yield _event(batch, run_one(function, prepare, batch, attempt=1), attempt=1)
    if interrupt.is_set():
        yield Interrupted()


def _fan_out_on_ray(
    tasks: RayTasks[B, R], batches: Iterable[B], attempts: int, interrupt: threading.Event
) -> Iterator[Event[B, R]]:
    fresh = iter(batches)
    again: deque[tuple[B, int]] = deque()  # crashed, with the number of their next attempt
    try:
        while not interrupt.is_set():
            _fill(tasks, fresh, again)
            if not tasks.in_flight:
                return
            for batch, attempt, answer in tasks.answers(POLL_SECONDS):
                if isinstance(answer, Crashed) and attempt < attempts:
                    again.append((batch, attempt + 1))
                else:
                    yield _event(batch, answer, attempt)
        for batch, attempt, answer in tasks.last_answers(GRACE_SECONDS):
            if not isinstance(answer, Crashed):
                yield _event(batch, answer, attempt)
        yield Interrupted()
    finally:
        tasks.cancel()


def _fill(tasks: RayTasks[B, R], fresh: Iterator[B], again: deque[tuple[B, int]]) -> None:
    """Hand over batches while there is room: new ones first, so that one that kills its workers delays nobody."""
    while tasks.has_room():
        for batch in fresh:
            tasks.submit(batch, 1)
            break
        else:
            if not again:
                return
            tasks.submit(*again.popleft())


def _event(batch: B, answer: R | Raised | Crashed, attempt: int) -> Event[B, R]:
    if isinstance(answer, Raised | Crashed):
        crashed = isinstance(answer, Crashed)
        return Failed(batch, attempt, crashed, answer.error_type, answer.error, answer.details)
    return Done(batch, answer, attempt)


@contextmanager
def _noticed_interrupt() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C sets; the second raises KeyboardInterrupt as usual.

    An exception could strike between a batch's answer and its being counted, or inside Ray; a flag cannot.
    """
    noticed = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield noticed  # only the main thread gets signals
        return
    before = signal.getsignal(signal.SIGINT)

    def notice(number: int, frame: FrameType | None) -> None:
        noticed.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, notice)
    try:
        yield noticed
    finally:
        signal.signal(signal.SIGINT, before)
