"""Batches as Ray tasks: hand over, wait, and tell a crashed worker from a lost node and a broken cluster.

The only file besides `session.py` that speaks to Ray. `fan_out.py` decides what is run when.

A node that is not heard any more (cluster/watch.py) is asked for nothing more, and whatever is in flight then is
suspect, as Ray does not say what runs where. Suspects are handed over once more when there is nothing else to do, that
is when those on other nodes have answered and CPUs would be idle. Whichever copy answers first counts, the other is not
listened to.
"""

from __future__ import annotations

import functools
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

import ray
from ray import cloudpickle
from ray.exceptions import (
    LocalRayletDiedError,
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayError,
    RaySystemError,
    RayTaskError,
    TaskCancelledError,
    WorkerCrashedError,
)

from cluster.attempt import Crashed, Function, Prepare, Raised, Sent, run_one
from cluster.errors import BrokenClusterError, ClusterError, first_line
from cluster.watch import OWN_RAY_DEAD, Node, Port, Watch

B = TypeVar("B")
R = TypeVar("R")

_CRASHES: Final = (WorkerCrashedError, OutOfMemoryError, NodeDiedError, ObjectLostError, TaskCancelledError)
"""What became of a worker, or of its node. Who cancels a task sends its process a signal, and so may others."""

IN_FLIGHT_PER_CPU: Final = 2
"""CPUs' worth of batches: what runs and as much that waits: a worker never idles while its next batch travels."""


@dataclass(slots=True, eq=False)
class _Flight(Generic[B]):
    """A batch that is not answered yet, and the tasks that may answer it."""

    sent: Sent[B]
    tasks: set[Any] = field(default_factory=set)
    is_suspect: bool = False


class RayTasks(Generic[B, R]):
    """The batches handed to Ray and not answered yet."""

    def __init__(
        self,
        address: str,
        function: Function[B, R],
        prepare: Prepare,
        cpus: Callable[[B], int] | None,
        memory: Callable[[B], int] | None,
        started: Callable[[B], None],
    ) -> None:
        # Ray's own retries are off: see fan_out.py
        self._remote: Any = ray.remote(max_retries=0)(_run_pickled)
        # Not ray.put: when a node dies Ray tries to restore such an object, and may end this process if it cannot
        self._work: bytes = cloudpickle.dumps((function, prepare))  # type: ignore[no-untyped-call]
        self._cpus_of = cpus
        self._memory_of = memory
        self._started = started
        self._watch = Watch(*_heads_port_and_own_node(address), _nodes)
        self._unheard: frozenset[str] = frozenset()
        self._flights: dict[Any, _Flight[B]] = {}  # by task; what nobody listens to any more is not here
        self._again: deque[_Flight[B]] = deque()

    @property
    def in_flight(self) -> int:
        return len(set(self._flights.values()))

    def has_room(self) -> bool:
        # at least one, so that a cluster which grows on demand sees a demand
        cpus = sum(node.cpus for node in self._watch.nodes)
        in_flight = sum(flight.sent.cpus for flight in set(self._flights.values()) if not flight.is_suspect)
        return in_flight < IN_FLIGHT_PER_CPU * max(1, cpus)

    def submit(self, batch: B, attempt: int) -> None:
        self._hand_over(_Flight(Sent(batch, attempt, self._asked(batch))))
        self._started(batch)  # or waits for its turn: Ray starts them in this order, and does not say when

    def answers(self, timeout: float) -> Iterator[tuple[B, int, R | Raised | Crashed]]:
        """What came back, as soon as anything does, or nothing after `timeout` seconds."""
        self._look_after_nodes()
        with self._noticing_breaks():
            ready, _ = ray.wait(list(self._flights), num_returns=1, timeout=timeout)
            if ready:  # and all others that are ready by now
                ready, _ = ray.wait(list(self._flights), num_returns=len(self._flights), timeout=0)
        for task in ready:
            flight = self._flights.pop(task, None)
            if flight is None:  # another copy was as fast
                continue
            flight.tasks.discard(task)
            with self._noticing_breaks():
                answer = _answer(task)
            if isinstance(answer, Crashed) and flight.tasks:
                continue  # another copy may still answer
            for copy in flight.tasks:
                del self._flights[copy]
            if flight in self._again:
                self._again.remove(flight)
            yield flight.sent.batch, flight.sent.attempt, answer

    def last_answers(self, seconds: float) -> Iterator[tuple[B, int, R | Raised | Crashed]]:
        """What comes back within `seconds`, or until nothing is in flight."""
        self._again.clear()
        end = time.monotonic() + seconds
        while self._flights and time.monotonic() < end:
            yield from self.answers(max(0.0, end - time.monotonic()))

    def cancel(self) -> None:
        """Stop whatever is still in flight, running or not."""
        self._watch.stop()
        if self._watch.broken is None:
            for task in self._flights:
                ray.cancel(task, force=True)
        self._flights.clear()
        self._again.clear()

    def _asked(self, batch: B) -> int:
        """The CPUs to ask for: more than any node has would wait for ever. A cluster without CPUs has yet to grow."""
        cpus = 1 if self._cpus_of is None else self._cpus_of(batch)
        largest = max((node.cpus for node in self._watch.nodes), default=0)
        return min(cpus, largest) if largest else cpus

    def _hand_over(self, flight: _Flight[B]) -> None:
        options: dict[str, Any] = {"num_cpus": flight.sent.cpus}
        if self._memory_of is not None:
            options["memory"] = self._memory_of(flight.sent.batch)
        if self._watch.unheard:
            options["label_selector"] = {"ray.io/node-id": f"!in({','.join(sorted(self._watch.unheard))})"}
        with self._noticing_breaks():
            remote = self._remote.options(**options)
            task = remote.remote(self._work, flight.sent.batch, flight.sent.attempt)
        flight.tasks.add(task)
        flight.is_suspect = False
        self._flights[task] = flight

    def _look_after_nodes(self) -> None:
        """Suspect what is in flight when a node has fallen silent; hand suspects over again if there is room."""
        unheard = self._watch.unheard
        if unheard - self._unheard:
            for flight in set(self._flights.values()):
                if not flight.is_suspect:
                    flight.is_suspect = True
                    self._again.append(flight)
        self._unheard = unheard
        while self._again and self.has_room():
            self._hand_over(self._again.popleft())

    @contextmanager
    def _noticing_breaks(self) -> Iterator[None]:
        """BrokenClusterError if the cluster is lost, whether the watch has noticed first or a call of Ray's."""
        try:
            yield
        except LocalRayletDiedError as error:
            raise BrokenClusterError(OWN_RAY_DEAD) from error
        except (RaySystemError, ConnectionError) as error:
            raise BrokenClusterError(self._watch.broken or f"the cluster is lost: {first_line(error)}") from error
        if self._watch.broken is not None:
            raise BrokenClusterError(self._watch.broken)


def _run_pickled(work: bytes, batch: B, attempt: int) -> Any:
    """What a task does. What cannot be loaded here is not installed here."""
    return run_one(*_loaded(work), batch, attempt)


@functools.lru_cache(maxsize=1)  # once for a process, not for each of its batches
def _loaded(work: bytes) -> tuple[Function[Any, Any], Prepare]:
    loaded: tuple[Function[Any, Any], Prepare] = cloudpickle.loads(work)
    return loaded


def _answer(task: Any) -> Any:
    """The task's answer; ClusterError if the fault is neither the function's nor a worker's."""
    try:
        return ray.get(task)
    except _CRASHES as error:
        return Crashed(type(error).__name__, first_line(error), str(error))
    except (LocalRayletDiedError, RaySystemError):
        raise
    except RayTaskError as error:
        # run_one returns what the function raises: whatever arrives here went wrong before or after it
        cause = getattr(error, "cause", None) or error
        if isinstance(cause, KeyboardInterrupt):
            return Crashed("KeyboardInterrupt", "the worker process was interrupted", str(error))
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise ClusterError(
            f"the cluster cannot run the work: {lines[-1] if lines else type(cause).__name__}; "
            "is the same version of this package installed on every node?"
        ) from error
    except RayError as error:
        raise ClusterError(f"the cluster cannot run the work: {type(error).__name__}: {first_line(error)}") from error


def _heads_port_and_own_node(address: str) -> tuple[Port, str | None]:
    """Where the cluster's head listens, and the node without which this driver can do nothing.

    Seen through ray:// the head is the one that this process speaks to, and the driver proper is there.
    """
    is_client = address.startswith("ray://")
    context = None if is_client else ray.get_runtime_context()
    host, _, port = (address.removeprefix("ray://") if context is None else context.gcs_address).rpartition(":")
    return (host.strip("[]"), int(port)), None if context is None else context.get_node_id()


def largest_memory() -> int | None:
    """Bytes of memory that the best node of the cluster gives to work; None while it has no node that works."""
    return max((node.memory for node in _nodes() if node.is_alive and node.cpus), default=None)


def _nodes() -> list[Node]:
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return [
        Node(
            name=node["NodeID"],
            port=(node["NodeManagerAddress"], node["NodeManagerPort"]),
            cpus=int(node["Resources"].get("CPU", 0)),
            memory=int(node["Resources"].get("memory", 0)),
            is_alive=node["Alive"],
        )
        for node in nodes
    ]
