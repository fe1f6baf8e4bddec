"""Who of a Ray cluster still answers, asked once a second, as Ray itself is slow to tell and harsh when it does.

A head that is dead or cut off ends the driver's process from native code, after a minute and without an exception; a
dead raylet of the driver's own machine does so after 14 seconds. A node that is cut off is missed after a minute, and
work that was handed to it may stay unanswered for ever, even when it comes back. So whoever waits for answers looks
here: `broken` says that the cluster is lost, `unheard` names the nodes on which nobody should wait.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from cluster.errors import ClusterError
from cluster.probe import check_answers

LOOK_SECONDS: Final = 1.0
PROBE_SECONDS: Final = 3.0

DEAD_SECONDS: Final = 4.0
"""Nobody listens on a port for so long: its process has ended. A head that is started anew takes longer."""

UNHEARD_SECONDS: Final = 15.0
"""A node that says nothing for so long is not waited for; a shorter cut is TCP's business."""

LOST_SECONDS: Final = 40.0
"""The cluster is given up when its head says nothing for so long: before Ray ends this process."""

EMPTY_SECONDS: Final = 600.0
"""A cluster without a single CPU is waited for as long as machines may take to be had."""

OWN_RAY_DEAD: Final = "the Ray of this machine is dead: its raylet or one of the agents that it dies with has ended"

_PROBES_AT_ONCE: Final = 16
_END_SECONDS: Final = 5.0

Port = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Node:
    """A machine of the cluster, as the cluster sees it; `port` is its raylet's."""

    name: str
    port: Port
    cpus: int
    memory: int
    is_alive: bool


@dataclass(slots=True)
class Hearing:
    """When a port has answered last, and since when nobody listens there; None for never and not."""

    heard: float | None = None
    refused: float | None = None

    def note(self, answers: bool, is_refused: bool, now: float) -> None:
        """One probe more."""
        if answers:
            self.heard = now
        self.refused = (self.refused or now) if is_refused else None

    def is_dead(self, now: float) -> bool:
        return self.refused is not None and now - self.refused >= DEAD_SECONDS

    def unheard_for(self, now: float) -> float:
        """Seconds since the last answer. A port that never answered may be out of reach from here for good reasons."""
        return 0.0 if self.heard is None else now - self.heard


class Watch:
    """Looks after a cluster in two threads, as either may wait for somebody who is gone."""

    def __init__(self, head: Port, own_node: str | None, list_nodes: Callable[[], Sequence[Node]]) -> None:
        """`head` is a port of the head's, `own_node` the one whose raylet this driver depends on."""
        self.broken: str | None = None
        self.unheard: frozenset[str] = frozenset()
        self._head = head
        self._own_node = own_node
        self._list_nodes = list_nodes
        self._listed: tuple[Node, ...] = ()
        self._is_listed = threading.Event()
        self._hearings: dict[str | None, Hearing] = {None: Hearing(heard=time.monotonic())}  # None is the head
        self._had_cpus = time.monotonic()
        self._over = threading.Event()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._list, self._look)]
        for thread in self._threads:
            thread.start()
        while self.broken is None and not self._is_listed.wait(LOOK_SECONDS):
            pass

    @property
    def nodes(self) -> list[Node]:
        """Those that take work."""
        return [node for node in self._listed if node.is_alive and node.name not in self.unheard]

    def stop(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(_END_SECONDS)

    def _list(self) -> None:
        while not self._over.is_set():
            with contextlib.suppress(Exception):  # whatever Ray's layers raise; the head's silence is noticed elsewhere
                self._listed = tuple(self._list_nodes())
                self._is_listed.set()
            self._over.wait(LOOK_SECONDS)

    def _look(self) -> None:
        with ThreadPoolExecutor(_PROBES_AT_ONCE) as probes:
            while not self._over.wait(LOOK_SECONDS) and self.broken is None:
                ports = {None: self._head} | {node.name: node.port for node in self._listed if node.is_alive}
                answers = dict(zip(ports, probes.map(_answers, ports.values()), strict=True))
                self.judge(answers, time.monotonic())

    def judge(self, answers: dict[str | None, tuple[bool, bool]], now: float) -> None:
        """Take in whether each port answers, and whether it refuses to."""
        for name, (is_answering, is_refused) in answers.items():
            self._hearings.setdefault(name, Hearing()).note(is_answering, is_refused, now)
        dead = {node.name for node in self._listed if not node.is_alive}
        unheard = {
            name
            for name in answers
            if name is not None
            and (self._hearings[name].is_dead(now) or self._hearings[name].unheard_for(now) >= UNHEARD_SECONDS)
        }
        self.unheard = frozenset(unheard | dead)
        if any(node.cpus for node in self.nodes):
            self._had_cpus = now
        self.broken = self._what_broke(now)

    def _what_broke(self, now: float) -> str | None:
        head = self._hearings[None]
        where = "{}:{}".format(*self._head)
        if head.is_dead(now):
            return f"the head of the cluster at {where} is dead: nobody listens there any more"
        if head.unheard_for(now) >= LOST_SECONDS:
            return f"the head of the cluster at {where} has said nothing for {LOST_SECONDS:.0f} s"
        own = self._hearings.get(self._own_node) if self._own_node is not None else None
        if own is not None and (own.is_dead(now) or self._own_node in self.unheard):
            return OWN_RAY_DEAD
        if now - self._had_cpus >= EMPTY_SECONDS:
            return f"the cluster has had no machine with a CPU for {EMPTY_SECONDS / 60:.0f} min"
        return None


def _answers(port: Port) -> tuple[bool, bool]:
    """Whether somebody answers there, and whether it is certain that nobody listens."""
    try:
        check_answers("", *port, seconds=PROBE_SECONDS)
    except ClusterError as error:
        return False, isinstance(error.__cause__, ConnectionRefusedError)
    return True, False
