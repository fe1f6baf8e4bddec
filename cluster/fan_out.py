"""Map a function over batches of work, on processes of this machine or on Ray, and tell what became of each batch.

`fan_out` is a generator of events in the order of completion. What it promises:

* Back-pressure. Batches are taken from their iterable only when there is room: neither a million batches nor a slow
  node pile anything up.
* A batch gets the CPUs it asks for (`cpus`), at most all those of the largest node. Those that run at the same time on
  a node never have more of them together than it has.
* One bad batch stops nothing. An exception in the function is that batch's `Failed` event. A batch that kills its
  worker process (out of memory, a crash, a lost node) is started again, behind the others, `attempts` times in all,
  and then is `Failed` with `crashed` set.
* A node that falls silent holds nothing up: what may have been on it is run once more elsewhere, and answers that come
  late are harmless. A cluster that is lost is a BrokenClusterError, within seconds if its head is dead and 40 seconds
  if it is cut off.
* Ctrl-C, SIGTERM and SIGHUP lose nothing finished. Nothing more is handed over, what runs gets `GRACE_SECONDS` to
  finish, its events come out as usual, and the last event is `Interrupted`. See cluster/interrupts.py for a second one.

Starting a batch again makes it run at least once, not exactly once: the function's effects have to be idempotent.

Every kind of worker runs `run_one`, so results and failures look the same. In this process (`inline`) there is no
protection against a batch that kills its process.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

from cluster.attempt import Crashed, Function, Prepare, Raised, Tell, prepare_once, run_one, tell_nobody
from cluster.errors import BrokenClusterError
from cluster.interrupts import Interrupts, noticed_signals
from cluster.pool import PoolTasks
from cluster.session import Session

B = TypeVar("B")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

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
    """A signal asked for the end: no more events follow, and batches without an event were not finished."""

    number: int


Event = Done[B, R] | Failed[B] | Interrupted


class Tasks(Protocol[B, R_co]):
    """Batches that were handed over and not answered yet, wherever they run."""

    @property
    def in_flight(self) -> int:
        """How many there are."""

    def has_room(self) -> bool:
        """Whether one more is welcome."""

    def submit(self, batch: B, attempt: int) -> None:
        """Hand one over."""

    def answers(self, timeout: float) -> Iterator[tuple[B, int, R_co | Raised | Crashed]]:
        """What came back, as soon as anything does, or nothing after `timeout` seconds."""

    def last_answers(self, seconds: float) -> Iterator[tuple[B, int, R_co | Raised | Crashed]]:
        """What comes back within `seconds` of what runs; nothing more is started."""

    def cancel(self) -> None:
        """Stop whatever is still in flight, running or not."""


def fan_out(
    session: Session,
    function: Function[B, R],
    batches: Iterable[B],
    attempts: int = 3,
    prepare: Prepare = None,
    cpus: Callable[[B], int] | None = None,
    memory: Callable[[B], int] | None = None,
    started: Callable[[B], None] = lambda batch: None,
    preparing: Tell = tell_nobody,
) -> Generator[Event[B, R]]:
    """Events of `function(batch, attempt)` for every batch, in the order of completion.

    `prepare`, a function known by its name, runs in each worker process before its first batch: the place to load what
    all batches need. Nodes that join a cluster late are covered too.
    `cpus` tells how many CPUs a batch keeps busy, one where it is not given; in this process it makes no difference.
    `memory` tells how many bytes a batch needs, which Ray then keeps for it; no more than one of its nodes has.
    `started` is called with each batch that a worker gets; `preparing` is told how far `prepare` is, on this machine.
    """
    with noticed_signals() as interrupts:
        if session.pool is not None:
            in_pool = PoolTasks(session.pool, function, prepare, cpus, started, preparing)
            yield from _fan_out(in_pool, batches, attempts, interrupts)
        elif session.uses_ray:
            from cluster.on_ray import RayTasks

            interrupts.install()  # Ray has a handler of its own for SIGTERM, which exits
            on_ray = RayTasks(session.address, function, prepare, cpus, memory, started)
            yield from _fan_out(on_ray, batches, attempts, interrupts)
        else:
            yield from _fan_out_inline(function, batches, prepare, started, preparing, interrupts)


def _fan_out_inline(
    function: Function[B, R],
    batches: Iterable[B],
    prepare: Prepare,
    started: Callable[[B], None],
    preparing: Tell,
    interrupts: Interrupts,
) -> Generator[Event[B, R]]:
    for batch in batches:
        if interrupts.number is not None:
            break
        if prepare is not None:
            prepare_once(prepare, preparing)
        started(batch)
        yield _event(batch, run_one(function, None, batch, attempt=1), attempt=1)
    if interrupts.number is not None:
        yield Interrupted(interrupts.number)


def _fan_out(tasks: Tasks[B, R], batches: Iterable[B], attempts: int, interrupts: Interrupts) -> Generator[Event[B, R]]:
    fresh = iter(batches)
    again: deque[tuple[B, int]] = deque()  # crashed, with the number of their next attempt
    try:
        while interrupts.number is None:
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
        yield Interrupted(interrupts.number)
    except BrokenClusterError:
        if interrupts.number is None:
            raise
        yield Interrupted(interrupts.number)  # the same signal often ends the cluster, too
    finally:
        tasks.cancel()


def _fill(tasks: Tasks[B, R], fresh: Iterator[B], again: deque[tuple[B, int]]) -> None:
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
