"""Batches as Ray tasks: hand over, wait, and tell a crashed worker from a broken cluster.

The only file besides `session.py` that speaks to Ray. `fan_out.py` decides what is run when.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Final, Generic, TypeVar

import ray
from ray.exceptions import NodeDiedError, ObjectLostError, OutOfMemoryError, RayError, WorkerCrashedError

from cluster.attempt import Crashed, Function, Raised, run_one
from cluster.session import ClusterError, first_line

B = TypeVar("B")
R = TypeVar("R")

_CRASHES: Final = (WorkerCrashedError, OutOfMemoryError, NodeDiedError, ObjectLostError)
IN_FLIGHT_PER_CPU: Final = 2
"""One that runs and one that waits beside it: a worker never idles while its next batch travels."""

_COUNT_CPUS_SECONDS: Final = 5.0


class RayTasks(Generic[B, R]):
    """The tasks handed to Ray and not answered yet."""

    def __init__(self, function: Function[B, R], prepare: Callable[[], None] | None) -> None:
        # Ray's own retries are off: see fan_out.py
        self._remote: Any = ray.remote(num_cpus=1, max_retries=0)(run_one)
        self._function: Any = ray.put(function)  # sent to each node once, not with every batch
        self._prepare = prepare
        self._cpus = 0
        self._counted_at = float("-inf")
        self.in_flight: dict[Any, tuple[B, int]] = {}

    def has_room(self) -> bool:
        return len(self.in_flight) < IN_FLIGHT_PER_CPU * self._cluster_cpus()

    def submit(self, batch: B, attempt: int) -> None:
        self.in_flight[self._remote.remote(self._function, self._prepare, batch, attempt)] = (batch, attempt)

    def answers(self, timeout: float) -> Iterator[tuple[B, int, R | Raised | Crashed]]:
        """What came back, as soon as anything does, or nothing after `timeout` seconds."""
        ready, _ = ray.wait(list(self.in_flight), num_returns=1, timeout=timeout)
        if ready:  # and all others that are ready by now
            ready, _ = ray.wait(list(self.in_flight), num_returns=len(self.in_flight), timeout=0)
        for task in ready:
            batch, attempt = self.in_flight.pop(task)
            yield batch, attempt, _answer(task)

    def last_answers(self, seconds: float) -> Iterator[tuple[B, int, R | Raised | Crashed]]:
        """What comes back within `seconds`, or until nothing is in flight."""
        end = time.monotonic() + seconds
        while self.in_flight and time.monotonic() < end:
            yield from self.answers(max(0.0, end - time.monotonic()))

    def cancel(self) -> None:
        """Stop whatever is still in flight, running or not."""
        for task in self.in_flight:
            ray.cancel(task, force=True)
        self.in_flight.clear()

    def _cluster_cpus(self) -> int:
        """CPUs of the cluster, counted anew now and then: nodes come and go."""
        if time.monotonic() - self._counted_at > _COUNT_CPUS_SECONDS:
            # at least one, so that a cluster which grows on demand sees a demand
            resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
            self._cpus = max(1, int(resources.get("CPU", 0)))
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
