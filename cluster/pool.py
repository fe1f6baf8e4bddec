"""Worker processes of this machine: what runs small sweeps, as starting and stopping Ray takes seconds.

Every worker has a connection of its own, so each can be killed at any moment and takes nothing with it but its batch.
What was weighed instead, each with two workers on this project's own work:

* concurrent.futures and loky: one worker's death fails every batch in flight, and does not say whose fault it was.
* pebble: workers share a pipe and its lock. A worker killed while it holds that stalls the others for a minute
  (1 of 8 kills in a stream of short batches), and killing an idle one breaks the pool.
* multiprocessing: `spawn` imports numba and loads the kernels in each worker anew, a CPU second each; `forkserver`
  leaves a folder in /tmp when the driver is killed; both run the user's script again, guarded or not.

Workers are forked from a server (cluster/pool_server.py) that starts at once and prepares while the driver still plans.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Generic, TypeVar

from cluster.attempt import Crashed, Function, Prepare, Raised, Sent, Tell
from cluster.errors import ClusterError
from cluster.pool_server import PACKET, Unusable

B = TypeVar("B")
R = TypeVar("R")

STARTS: Final = 3
"""Times the server is started: whoever kills it once may not mean it, but it must not go on for ever."""

_END_SECONDS: Final = 2.0

# Libraries that start threads when imported would start them in the server, which forks.
_SINGLE_THREADED: Final = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@dataclass(slots=True)
class _Worker:
    index: int
    connection: Connection
    sent: Sent[Any] | None = None


class Pool:
    """The server and its workers, of which there are as many as CPUs at most, each started when it is needed."""

    def __init__(self, prepare: Prepare) -> None:
        """Start the server; `prepare` is called there once, for all workers. Does not wait until that is done."""
        self.cpus = usable_cpus()
        self._prepare = prepare
        self._started = 0  # workers
        self._starts = 0  # of the server
        self._ready = False
        self._codes: dict[int, int] = {}  # exit codes of workers that have ended
        self.workers: list[_Worker] = []
        self._start_server()

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def wait_until_ready(self, seconds: float, tell: Tell) -> bool:
        """Whether the server is prepared; returns when it is, has told how far it is, or after so many seconds.

        ClusterError if it cannot be.
        """
        if self._ready:
            return True
        if not wait([self._channel], seconds):
            return False
        match self._receive():
            case ("ready",):
                self._ready = True
            case ("preparing", done, total):
                tell(done, total)
            case ("failed", text):
                raise ClusterError(f"the worker processes cannot be started: {text}")
            case _:
                self._restart_server()
        return self._ready

    def free_worker(self) -> _Worker:
        """A worker without a batch, a new one if need be."""
        free = next((worker for worker in self.workers if worker.sent is None), None)
        if free is not None:
            return free
        ours, theirs = socket.socketpair()
        self._started += 1
        with theirs, contextlib.suppress(OSError):  # the server is gone: the connection will say so, too
            socket.send_fds(self._channel, [pickle.dumps(("fork", self._started))], [theirs.fileno()])
        worker = _Worker(self._started, Connection(ours.detach()))
        self.workers.append(worker)
        return worker

    def drop(self, worker: _Worker) -> str:
        """Forget a worker that has died, and say of what."""
        worker.connection.close()
        self.workers.remove(worker)
        end = time.monotonic() + _END_SECONDS
        while worker.index not in self._codes and wait([self._channel], max(0.0, end - time.monotonic())):
            match self._receive():
                case ("ended", index, code):
                    self._codes[index] = code
                case ("ready",):
                    self._ready = True
                case ("preparing", _, _):
                    pass
                case _:
                    self._restart_server()
                    return "the server of the worker processes died, and they with it"
        code = self._codes.pop(worker.index, None)
        return f"the worker process {'died' if code is None else how_ended(code)}"

    def close(self) -> None:
        """End all processes, whatever they are doing, and wait until they are gone."""
        self._server.kill()  # the kernel kills the workers
        self._server.wait()
        self._channel.close()
        end = time.monotonic() + _END_SECONDS
        for worker in self.workers:
            _await_end(worker.connection, end)
            worker.connection.close()
        self.workers.clear()

    def _start_server(self) -> None:
        self._starts += 1
        self._ready = False
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        path = [entry or os.getcwd() for entry in sys.path]
        script = (
            f"import sys; sys.path[:] = {path!r}; "
            f"from cluster.pool_server import serve; serve({theirs.fileno()}, {os.getpid()})"
        )
        with theirs:
            # blocked until the server has learned what to do about them: Ctrl-C reaches the whole terminal
            before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
            try:
                self._server = subprocess.Popen(
                    [sys.executable, "-c", script],
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    env=os.environ | _SINGLE_THREADED,
                )
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self._channel.send(pickle.dumps(("prepare", self._prepare)))

    def _restart_server(self) -> None:
        code = self._server.wait()
        self._channel.close()
        if self._starts == STARTS:
            raise ClusterError(
                f"the server of the worker processes was started {STARTS} times, and at last {how_ended(code)}"
            )
        self._start_server()

    def _receive(self) -> tuple[Any, ...] | None:
        """The next message of the server, None if it is gone."""
        try:
            packet = self._channel.recv(PACKET)
        except OSError:
            packet = b""
        message: tuple[Any, ...] | None = pickle.loads(packet) if packet else None
        return message


@dataclass(slots=True)
class PoolTasks(Generic[B, R]):
    """The batches handed to a pool and not answered yet. They start in their order, as soon as their CPUs are free."""

    pool: Pool
    function: Function[B, R]
    prepare: Prepare
    cpus_of: Callable[[B], int] | None
    started: Callable[[B], None]
    preparing: Tell
    waiting: deque[Sent[B]] = field(default_factory=deque)

    @property
    def in_flight(self) -> int:
        return len(self.waiting) + len(self._busy())

    def has_room(self) -> bool:
        return not self.waiting and self._free_cpus() > 0

    def submit(self, batch: B, attempt: int) -> None:
        asked = 1 if self.cpus_of is None else self.cpus_of(batch)
        self.waiting.append(Sent(batch, attempt, min(asked, self.pool.cpus)))

    def answers(self, timeout: float) -> Iterator[tuple[B, int, R | Raised | Crashed]]:
        """What came back, as soon as anything does, or nothing after `timeout` seconds."""
        if not self.pool.wait_until_ready(timeout, self.preparing):
            return
        self._start_waiting()
        busy = {worker.connection: worker for worker in self._busy()}
        for connection in wait(list(busy), timeout):
            assert isinstance(connection, Connection)
            yield self._answer(busy[connection])

    def last_answers(self, seconds: float) -> Iterator[tuple[B, int, R | Raised | Crashed]]:
        """What comes back within `seconds` of what runs; nothing else is started."""
        self.waiting.clear()
        end = time.monotonic() + seconds
        while self._busy() and time.monotonic() < end:
            yield from self.answers(max(0.0, end - time.monotonic()))

    def cancel(self) -> None:
        """Stop whatever is still in flight, running or not."""
        self.waiting.clear()
        if self._busy():
            self.pool.close()

    def _start_waiting(self) -> None:
        while self.waiting and self.waiting[0].cpus <= self._free_cpus():
            sent = self.waiting[0]
            worker = self.pool.free_worker()
            try:
                worker.connection.send((self.function, self.prepare, sent.batch, sent.attempt))
            except OSError:  # it was killed while it had nothing to do
                self.pool.drop(worker)
                continue
            worker.sent = self.waiting.popleft()
            self.started(sent.batch)

    def _answer(self, worker: _Worker) -> tuple[B, int, R | Raised | Crashed]:
        try:
            answer = worker.connection.recv()
        except (EOFError, OSError):
            return self._crashed(worker)
        if isinstance(answer, Unusable):
            raise ClusterError(f"the worker processes cannot run the work: {answer.error}")
        sent, worker.sent = worker.sent, None
        assert sent is not None
        return sent.batch, sent.attempt, answer

    def _crashed(self, worker: _Worker) -> tuple[B, int, Crashed]:
        sent = worker.sent
        assert sent is not None
        how = self.pool.drop(worker)
        return sent.batch, sent.attempt, Crashed("WorkerCrashedError", how, how)

    def _busy(self) -> list[_Worker]:
        return [worker for worker in self.pool.workers if worker.sent is not None]

    def _free_cpus(self) -> int:
        return self.pool.cpus - sum(worker.sent.cpus for worker in self._busy() if worker.sent)


def how_ended(code: int) -> str:
    """An exit code in words."""
    if code >= 0:
        return f"ended with exit code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    return f"died of {name}" + (" (out of memory, or somebody killed it)" if name == "SIGKILL" else "")


def usable_cpus() -> int:
    """The CPUs that this process may keep busy: those it may run on, at most what its control group is given."""
    return max(1, min(len(os.sched_getaffinity(0)), group_cpus()))


def group_cpus(file: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """CPUs' worth of time that a container is given, as in `200000 100000`; no limit where there is none."""
    try:
        quota, period = file.read_text().split()
        return -(-int(quota) // int(period))
    except (OSError, ValueError):
        return sys.maxsize


def _await_end(connection: Connection, end: float) -> None:
    """Wait until the other side is gone; answers that nobody waits for are thrown away."""
    try:
        while wait([connection], max(0.0, end - time.monotonic())):
            connection.recv_bytes()
    except (EOFError, OSError):
        pass
