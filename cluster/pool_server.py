"""The other side of a pool (cluster/pool.py): a small clean process that forks the workers, and the workers.

The server does once what each worker would do at its start (imports, compiled kernels), so that a worker is there, and
after a crash there again, within milliseconds. It has a single thread, so that forking it is safe.

Nobody is left behind, whoever is killed: the server ends its workers and itself when the driver is gone; and when the
server is killed, the kernel kills the workers (PR_SET_PDEATHSIG).

Messages, pickled tuples. To the server: ("prepare", function or None) once, then ("fork", index) with the worker's end
of a socket. From the server: any number of ("preparing", so much, of so much), ("ready",) or ("failed", text) once,
then ("ended", index, exit code).
To a worker: (function, prepare, batch, attempt). From a worker: what `run_one` returns, or `Unusable`.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import pickle
import select
import signal
import socket
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from typing import Final

from cluster.attempt import Raised, prepare_once, run_one
from cluster.interrupts import ENDING

PACKET: Final = 65536
"""No message to or from the server is longer."""

_SET_DEATH_SIGNAL: Final = 1
_SET_NAME: Final = 15


@dataclass(frozen=True, slots=True)
class Unusable:
    """A worker cannot load what it was sent."""

    error: str


def serve(descriptor: int, parent: int) -> None:
    """Serve the driver, process `parent`, over the socket `descriptor` until one of the two is gone."""
    _die_with(parent)  # while it prepares, which may take a minute, it does not look at the driver
    _be_called(b"splitsweep-pool")
    for number in ENDING:
        # A whole terminal or unit gets them; the driver decides what they mean. Not ignored: that would be inherited
        # by programs which a worker starts.
        signal.signal(number, lambda *_: None)
    channel = socket.socket(fileno=descriptor)
    if _prepared(channel):
        _prctl(_SET_DEATH_SIGNAL, 0)  # the kernel means the thread that started it, which may end before the driver
        gc.freeze()  # or the first collection in each worker would copy every page of what they share
        _fork_workers(channel, parent)


def _prepared(channel: socket.socket) -> bool:
    try:
        _, prepare = pickle.loads(channel.recv(PACKET))
        if prepare is not None:
            prepare_once(prepare, partial(_send, channel, "preparing"))
    except Exception as error:
        text = next((line for line in str(error).splitlines() if line.strip()), "")
        _send(channel, "failed", f"{type(error).__name__}: {text}")
        return False
    _send(channel, "ready")
    return True


def _fork_workers(channel: socket.socket, parent: int) -> None:
    """Fork a worker whenever the driver asks, and tell of those that end."""
    wake, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)  # any handler will do: it makes the signal write to the pipe
    poll = select.poll()
    for descriptor in (channel.fileno(), wake):
        poll.register(descriptor, select.POLLIN)
    driver = -1
    with contextlib.suppress(AttributeError, OSError):  # before Linux 5.3 only the closed socket tells
        driver = os.pidfd_open(parent)  # a process that the driver forked would hold the socket open
        poll.register(driver, select.POLLIN)
    workers: dict[int, int] = {}  # index by process id
    while True:
        ready = {descriptor for descriptor, _ in poll.poll()}
        if driver in ready:
            break
        if wake in ready:
            os.read(wake, PACKET)
            _tell_of_ended(channel, workers)
        if channel.fileno() in ready:
            packet, descriptors, _, _ = socket.recv_fds(channel, PACKET, 1)
            if not packet:
                break
            _, index = pickle.loads(packet)
            with contextlib.suppress(OSError):  # no process can be had: the closed connection tells the driver
                workers[_fork(channel, descriptors[0])] = index
            os.close(descriptors[0])
    for process in workers:
        os.kill(process, signal.SIGKILL)


def _fork(channel: socket.socket, descriptor: int) -> int:
    server = os.getpid()
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        _die_with(server)
        _be_called(b"splitsweep-work")
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        channel.close()
        _work(Connection(descriptor))
        code = 0
    finally:
        os._exit(code)


def _work(connection: Connection) -> None:
    """Be a worker: batch after batch, until the driver closes the connection."""
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            message = connection.recv_bytes()
            try:
                function, prepare, batch, attempt = pickle.loads(message)
            except Exception as error:
                connection.send(Unusable(f"{type(error).__name__}: {error}"))
                continue
            answer = run_one(function, prepare, batch, attempt)
            try:
                connection.send(answer)
            except (pickle.PicklingError, TypeError, AttributeError) as error:
                connection.send(Raised(type(error).__name__, f"the result cannot be sent: {error}", ""))


def _tell_of_ended(channel: socket.socket, workers: dict[int, int]) -> None:
    while workers:
        process, status = os.waitpid(-1, os.WNOHANG)
        if process == 0:
            return
        _send(channel, "ended", workers.pop(process), os.waitstatus_to_exitcode(status))


def _send(channel: socket.socket, *message: object) -> None:
    with contextlib.suppress(OSError):  # the driver is gone; its end is noticed elsewhere
        channel.send(pickle.dumps(message))


def _die_with(parent: int) -> None:
    """From now on the kernel kills this process when the thread of `parent` that started it ends."""
    _prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:  # it was too late to ask
        os._exit(1)


def _be_called(name: bytes) -> None:
    """Set the name that ps and top show."""
    _prctl(_SET_NAME, name)


def _prctl(operation: int, argument: int | bytes) -> None:
    value = ctypes.c_char_p(argument) if isinstance(argument, bytes) else ctypes.c_ulong(argument)
    unused = ctypes.c_ulong(0)
    ctypes.CDLL(None).prctl(operation, value, unused, unused, unused)
