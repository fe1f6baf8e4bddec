"""The process server's own side: a small clean process that forks the processes of live runs, and reaps them.

It imports what they need once, so that each starts in milliseconds with its kernels loaded. It lives as long as its
parent: when the parent is gone, however it went, the server kills its children and ends; and should the server be
killed, the kernel kills them (PR_SET_PDEATHSIG). So nobody has to be alive for nobody to be left.

multiprocessing's forkserver was the alternative. It runs the user's __main__ again in every child, is one per program
with one list of imports for all who use it, refuses daemonic parents, and leaves a folder behind if its user is killed.

Messages, both ways, are pickled tuples, one a packet:
* to the server    ("preload", names) · ("start", fields, count) with two descriptors: the segment, and the pickled
  function and members, see `Task` · ("signal", number), to all children
* from the server  ("ready",) · ("failed", text): of the preload · ("unstarted", index, text) · ("exited", index, code)
* from a child     ("raised", index, text, traceback), before it exits
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import pickle
import selectors
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from core.live.processes.lifeline import be_called, die_with, outlive_thread
from core.live.processes.segment import Field, Segment, map_segment

PACKET: Final = 65536
"""No message is longer."""

_LONGEST_TEXT: Final = 10_000

Function = Callable[[Segment, int, Any], None]


@dataclass(frozen=True, slots=True)
class Task:
    """What one process is to do."""

    name: str
    cpus: tuple[int, ...]  # those it may use
    work: bytes
    """The function and its arguments, pickled. Only the process itself unpickles them: what fails there fails alone."""


def serve(descriptor: int, parent: int) -> None:
    """Serve `parent` over the socket `descriptor` until it is gone.

    Until the preload is done, which may take a while, the kernel would kill this process with its parent.
    """
    be_called("splitsweep-live")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole terminal; the parent decides what it means
    wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)  # any handler will do: it makes the signal write to the pipe
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    server = _Server(os.getpid(), socket.socket(fileno=descriptor), selectors.DefaultSelector(), wake_read, {})
    server.selector.register(server.channel, selectors.EVENT_READ, _handle_request)
    server.selector.register(wake_read, selectors.EVENT_READ, _reap)
    with contextlib.suppress(AttributeError, OSError):  # before Linux 5.3 only the closed socket tells
        # a closed socket is not enough: a process that the parent forked would hold it open
        server.selector.register(os.pidfd_open(parent), selectors.EVENT_READ, _end)
    try:
        while True:
            for key, _ in server.selector.select():
                key.data(server)
    except (BrokenPipeError, ConnectionResetError):
        _end(server)


@dataclass(frozen=True, slots=True)
class _Server:
    process: int
    channel: socket.socket
    selector: selectors.BaseSelector
    wake: int  # readable once a child has ended
    children: dict[int, int]  # index by process id


def _handle_request(server: _Server) -> None:
    packet, descriptors, _, _ = socket.recv_fds(server.channel, PACKET, 2)
    if not packet:
        _end(server)
    kind, *details = pickle.loads(packet)
    if kind == "preload":
        _preload(server, *details)
    elif kind == "start":
        _start(server, *details, *descriptors)
    elif kind == "signal":
        for process in server.children:
            os.kill(process, *details)


def _preload(server: _Server, names: Sequence[str]) -> None:
    """Import the modules, and call the functions named as "module:function"."""
    try:
        for name in names:
            module, _, function = name.partition(":")
            loaded = importlib.import_module(module)
            if function:
                getattr(loaded, function)()
    except Exception as error:
        _send(server.channel, "failed", _in_one_line(error))
        return
    outlive_thread()  # until now it waited for this, so its end was its process's end
    gc.freeze()  # or the first collection in each child would copy every page of what they share
    _send(server.channel, "ready")


def _start(server: _Server, fields: Sequence[Field], size: int, segment: int, request: int) -> None:
    tasks: list[Task] = pickle.loads(os.pread(request, size, 0))
    os.close(request)
    for index, task in enumerate(tasks):
        try:
            process = os.fork()
        except OSError as error:
            for missing in range(index, len(tasks)):
                _send(server.channel, "unstarted", missing, _in_one_line(error))
            break
        if process == 0:
            _run_child(server, index, task, fields, segment)
        server.children[process] = index
    os.close(segment)


def _reap(server: _Server) -> None:
    """Tell the parent of the children that have ended."""
    os.read(server.wake, PACKET)
    while server.children:
        process, status = os.waitpid(-1, os.WNOHANG)
        if process == 0:
            break
        _send(server.channel, "exited", server.children.pop(process), os.waitstatus_to_exitcode(status))


def _end(server: _Server) -> None:
    """Leave nobody behind."""
    for process in server.children:
        os.kill(process, signal.SIGKILL)
    for process in server.children:
        os.waitpid(process, 0)
    os._exit(0)


def _run_child(server: _Server, index: int, task: Task, fields: Sequence[Field], segment: int) -> None:
    """Be one of the processes, and never return."""
    code = 1
    try:
        die_with(server.process)
        be_called(task.name)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        with contextlib.suppress(OSError):  # not allowed here: it runs where the kernel puts it
            os.sched_setaffinity(0, task.cpus)
        function, arguments = pickle.loads(task.work)
        function(map_segment(segment, fields), index, arguments)
        code = 0
    except BaseException as error:
        with contextlib.suppress(OSError):  # the parent is gone
            _send(server.channel, "raised", index, _in_one_line(error), traceback.format_exc()[-_LONGEST_TEXT:])
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _send(channel: socket.socket, *message: object) -> None:
    channel.send(pickle.dumps(message))


def _in_one_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return ": ".join([type(error).__name__, *lines[:1]])[:_LONGEST_TEXT]
