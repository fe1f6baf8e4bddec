"""The CPUs of a live run: its own while it runs, so that no other live run of this host disturbs what is measured.

Ray only counts CPUs, and does not say which ones a task has: two runs that each pin a process to the first CPU they see
would meet there. So a run claims CPUs by number, from all live runs of the host, however they were started. A claim is
an abstract Unix socket of the CPU's name: it has no file, only one process can have it, and the kernel takes it back
from a process that dies. Containers see those of their own network namespace.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import socket
import time
from collections.abc import Iterator
from typing import Final

from core.live.processes.errors import LiveError
from core.live.processes.segment import check_host

WAIT_SECONDS: Final = 600.0
"""Longer than any sensible run of somebody else; who waits in vain has a hung neighbour, and should hear of it."""

_LOOK_SECONDS: Final = 0.01


def usable_cpus() -> list[int]:
    """The CPUs on which this process may run."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


@contextlib.contextmanager
def own_cpus(count: int, *, share: bool = False) -> Iterator[list[int]]:
    """Keep this thread, and what it starts, on `count` CPUs that no other live run has; on all of them if fewer exist.

    Waits until so many are free. With `share` it takes those that are free, and then any others.
    """
    check_host()
    usable = usable_cpus()
    wanted = min(count, len(usable))
    with contextlib.ExitStack() as claims:
        cpus = _shared(usable, wanted, claims) if share else _claimed(usable, wanted, claims)
        try:
            _stay_on(cpus)
            yield cpus
        finally:
            _stay_on(usable)


def _claimed(usable: list[int], wanted: int, claims: contextlib.ExitStack) -> list[int]:
    """So many CPUs, waited for. One run at a time collects them: two that each have half would wait for ever."""
    end = time.monotonic() + WAIT_SECONDS
    with contextlib.ExitStack() as gate:
        while not _claim("splitsweep-cpus", gate):
            _wait(end, wanted)
        cpus: list[int] = []
        while True:
            cpus += _free([cpu for cpu in usable if cpu not in cpus], wanted - len(cpus), claims)
            if len(cpus) == wanted:
                return sorted(cpus)
            _wait(end, wanted)


def _shared(usable: list[int], wanted: int, claims: contextlib.ExitStack) -> list[int]:
    cpus = _free(usable, wanted, claims)
    others = [cpu for cpu in usable if cpu not in cpus]
    return sorted(cpus + random.sample(others, wanted - len(cpus)))


def _free(cpus: list[int], wanted: int, claims: contextlib.ExitStack) -> list[int]:
    """Claim up to so many of the CPUs that nobody has. The lowest first: siblings usually come after all cores."""
    mine: list[int] = []
    for cpu in cpus:
        if len(mine) < wanted and _claim(f"splitsweep-cpu-{cpu}", claims):
            mine.append(cpu)
    return mine


def _claim(name: str, claims: contextlib.ExitStack) -> bool:
    """Whether the name was free; if so it is ours until `claims` closes."""
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        claim.bind(f"\0{name}")
    except OSError as error:
        claim.close()
        if error.errno != errno.EADDRINUSE:
            raise
        return False
    claims.enter_context(claim)
    return True


def _wait(end: float, wanted: int) -> None:
    if time.monotonic() > end:
        raise LiveError(
            f"{wanted} CPUs did not become free within {WAIT_SECONDS:.0f} s: other live runs of this host have them; "
            "wait for those, or let runs share CPUs (--share-cpus)"
        )
    time.sleep(_LOOK_SECONDS)


def _stay_on(cpus: list[int]) -> None:
    with contextlib.suppress(OSError):  # not allowed here: the kernel puts everybody where it likes
        os.sched_setaffinity(0, cpus)
