"""Starting and ending the process server (core.live.processes.serving), seen from the process that wants live runs."""

from __future__ import annotations

import atexit
import contextlib
import os
import pickle
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from core.live.processes.errors import LiveError
from core.live.processes.segment import check_host
from core.live.processes.serving import PACKET

_END_SECONDS: Final = 2.0

# Libraries that start threads when imported would start them in the server, which forks.
_SINGLE_THREADED: Final = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@dataclass(frozen=True, slots=True)
class Server:
    """A running process server. One run at a time uses it."""

    process: subprocess.Popen[bytes]
    channel: socket.socket
    in_use: threading.Lock = field(default_factory=threading.Lock)

    def send(self, *message: object, descriptors: Sequence[int] = ()) -> None:
        """Send a message; LiveError if the server is gone."""
        try:
            socket.send_fds(self.channel, [pickle.dumps(message)], descriptors)
        except OSError:
            raise LiveError(f"the process server {self.how_it_ended()}") from None

    def receive(self, seconds: float | None) -> tuple[Any, ...] | None:
        """The next message, None if there is none for so long; LiveError if the server is gone."""
        if not _is_readable(self.channel, seconds):
            return None
        try:
            packet = self.channel.recv(PACKET)
        except OSError:
            packet = b""
        if not packet:
            raise LiveError(f"the process server {self.how_it_ended()}")
        message: tuple[Any, ...] = pickle.loads(packet)
        return message

    def how_it_ended(self) -> str:
        """As in "vCPU 3 died of SIGKILL"."""
        try:
            return how_ended(self.process.wait(_END_SECONDS))
        except subprocess.TimeoutExpired:
            return "does not answer"


def _is_readable(channel: socket.socket, seconds: float | None) -> bool:
    """Whether something comes, or the other side closes, within so long."""
    poll = select.poll()  # select() knows no descriptor above 1023
    poll.register(channel, select.POLLIN)
    return bool(poll.poll(None if seconds is None else seconds * 1000))


def how_ended(code: int) -> str:
    """An exit code in words."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    hint = {"SIGKILL": " (out of memory, or somebody killed it)", "SIGBUS": " (out of memory)"}
    return f"died of {name}{hint.get(name, '')}"


def start_server(preload: Sequence[str]) -> Server:
    """Start a server that imports `preload`: modules, or "module:function" for one to call that loads kernels."""
    check_host()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    path = [entry or os.getcwd() for entry in sys.path]
    script = (
        f"import sys; sys.path[:] = {path!r}; "
        f"from core.live.processes.lifeline import die_with; die_with({os.getpid()}); "
        f"from core.live.processes.serving import serve; serve({theirs.fileno()}, {os.getpid()})"
    )
    # Ctrl-C stays blocked in the server until it has learned to ignore it
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", script],
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            env=os.environ | _SINGLE_THREADED,
        )
        server = Server(process, ours)
    finally:
        theirs.close()
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    try:
        server.send("preload", list(preload))
        answer = server.receive(None)
        if answer != ("ready",):
            raise LiveError(f"the process server cannot load the engine: {answer and answer[1]}")
    except BaseException:
        kill_server(server)
        raise
    return server


def stop_server(server: Server) -> None:
    """End the server and all its processes, and wait until it is gone."""
    server.channel.close()
    try:
        server.process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        kill_server(server)


def kill_server(server: Server) -> None:
    """End the server, whatever it is doing, and wait until its processes are gone: the kernel kills them."""
    server.process.kill()
    server.process.wait()
    end = time.monotonic() + _END_SECONDS
    with contextlib.suppress(OSError, ValueError):  # the channel may be closed already
        # each process holds the other end of the channel: it closes with the last of them
        while _is_readable(server.channel, max(0.0, end - time.monotonic())):
            if not server.channel.recv(PACKET):
                break
    server.channel.close()


@contextlib.contextmanager
def process_server(preload: Sequence[str]) -> Iterator[Server]:
    """A server for the length of the `with`."""
    server = start_server(preload)
    try:
        yield server
    finally:
        stop_server(server)


_kept: dict[tuple[int, tuple[str, ...]], Server] = {}


def kept_server(preload: Sequence[str]) -> Server:
    """This process's server with this preload, started when first asked for; it ends with this process."""
    key = (os.getpid(), tuple(preload))  # a forked process inherits `_kept`, but the server is not its own
    server = _kept.get(key)
    if server is None or server.process.poll() is not None or server.channel.fileno() < 0:
        server = _kept[key] = start_server(preload)
    return server


@atexit.register
def stop_kept_servers() -> None:
    """End the servers that `kept_server` started in this process."""
    for key in list(_kept):
        server = _kept.pop(key)
        if key[0] == os.getpid():
            stop_server(server)
