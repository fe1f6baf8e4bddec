"""Batches as Ray tasks: hand over, wait, and tell a crashed worker from a broken cluster.

The only file besides `session.py` that speaks to Ray. `fan_out.py` decides what is run when.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import ray
from ray.exceptions import NodeDiedError, ObjectLostError, OutOfMemoryError, RayError, WorkerCrashedError

from cluster.attempt import Crashed, Function, Prepare, Raised, Sent, run_one
from cluster.errors import ClusterError, first_line

B = TypeVar("B")
R = TypeVar("R")

_CRASHES: Final = (WorkerCrashedError, OutOfMemoryError, NodeDiedError, ObjectLostError)
IN_FLIGHT_PER_CPU: Final = 2
"""CPUs' worth of batches: what runs and as much that waits: a worker never idles while its next batch travels."""

_COUNT_CPUS_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class _Cpus:
    """CPUs of the cluster."""

    total: int
    largest_node: int


class RayTasks(Generic[B, R]):
    """The tasks handed to Ray and not answered yet."""

    def __init__(
        self,
        function: Function[B, R],
        prepare: Prepare,
        cpus: Callable[[B], int] | None,
        started: Callable[[B], None],
    ) -> None:
        # Ray's own retries are off: see fan_out.py
        self._remote: Any = ray.remote(max_retries=0)(run_one)
        self._function: Any = ray.put(function)  # sent to each node once, not with every batch
        self._prepare = prepare
        self._cpus_of = cpus
        self._started = started
        self._cpus = _Cpus(0, 0)
        self._counted_at = float("-inf")
        self._cpus_in_flight = 0
        self._sent: dict[Any, Sent[B]] = {}

    @property
    def in_flight(self) -> int:
        return len(self._sent)

    def has_room(self) -> bool:
        # at least one, so that a cluster which grows on demand sees a demand
        return self._cpus_in_flight < IN_FLIGHT_PER_CPU * max(1, self._cluster_cpus().total)

    def submit(self, batch: B, attempt: int) -> None:
        cpus = self._asked(batch)
        task = self._remote.options(num_cpus=cpus).remote(self._function, self._prepare, batch, attempt)
        self._sent[task] = Sent(batch, attempt, cpus)
        self._cpus_in_flight += cpus
        self._started(batch)  # or waits for its turn: Ray starts them in this order, and does not say when

    def answers(self, timeout: float) -> Iterator[tuple[B, int, R | Raised | Crashed]]:
        """What came back, as soon as anything does, or nothing after `timeout` seconds."""
        ready, _ = ray.wait(list(self._sent), num_returns=1, timeout=timeout)
        if ready:  # and all others that are ready by now
            ready, _ = ray.wait(list(self._sent), num_returns=len(self._sent), timeout=0)
        for task in ready:
            sent = self._sent.pop(task)
            self._cpus_in_flight -= sent.cpus
            yield sent.batch, sent.attempt, _answer(task)

    def last_answers(self, seconds: float) -> Iterator[tuple[B, int, R | Raised | Crashed]]:
        """What comes back within `seconds`, or until nothing is in flight."""
        end = time.monotonic() + seconds
        while self._sent and time.monotonic() < end:
            yield from self.answers(max(0.0, end - time.monotonic()))

    def cancel(self) -> None:
        """Stop whatever is still in flight, running or not."""
        for task in self._sent:
            ray.cancel(task, force=True)
        self._sent.clear()
        self._cpus_in_flight = 0

    def _asked(self, batch: B) -> int:
        """The CPUs to ask for: more than any node has would wait for ever. A cluster without CPUs has yet to grow."""
        cpus = 1 if self._cpus_of is None else self._cpus_of(batch)
        largest = self._cluster_cpus().largest_node
        return min(cpus, largest) if largest else cpus

    def _cluster_cpus(self) -> _Cpus:
        """CPUs of the cluster, counted anew now and then: nodes come and go."""
        if time.monotonic() - self._counted_at > _COUNT_CPUS_SECONDS:
            nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
            cpus = [int(node["Resources"].get("CPU", 0)) for node in nodes if node["Alive"]]
            self._cpus = _Cpus(sum(cpus), max(cpus, default=0))
            self._counted_at = time.monotonic()
        return self._cpus


def _answer(task: Any) -> Any:
    """The task's answer; ClusterError if the fault is neither the function's nor a worker's."""
    try:
        return ray.get(task)
    except _CRASHES as error:
        return Crashed(type(error).__name__, first_line(error), str(error))
    except RayError as error:
        # run_one returns what the function raises: whatever arrives here went wrong before or after it.
        cause = getattr(error, "cause", None) or error
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise ClusterError(
            f"the cluster cannot run the work: {lines[-1] if lines else type(cause).__name__}; "
            "is the same version of this package installed on every node?"
        ) from error
