"""Who still answers: dead and cut off are told apart, and whose silence means what."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from cluster.watch import DEAD_SECONDS, LOST_SECONDS, UNHEARD_SECONDS, Hearing, Node, Port, Watch

OWN, OTHER = "own", "other"


@pytest.fixture
def port() -> Iterator[Port]:
    """Where somebody greets as Ray's ports do."""
    greeting = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
    over = threading.Event()

    def greet(server: socket.socket) -> None:
        while not over.is_set():
            connection, _ = server.accept()
            with connection:
                connection.sendall(greeting + b"grpc-status")
                with contextlib.suppress(ConnectionResetError):
                    while connection.recv(65536):
                        pass

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=greet, args=(server,), daemon=True)
        thread.start()
        yield server.getsockname()[:2]
        over.set()
        socket.create_connection(server.getsockname()).close()
        thread.join()


def watch_of(port: Port, *nodes: Node) -> Watch:
    """A watch that is told what it hears."""
    watch = Watch(port, OWN, lambda: nodes)
    watch.stop()
    return watch


def node(name: str, port: Port, *, is_alive: bool = True) -> Node:
    return Node(name, port, cpus=2, memory=0, is_alive=is_alive)


def hear(watch: Watch, now: float, *answering: str | None, refusing: tuple[str | None, ...] = ()) -> None:
    """One round of probes over the head and two nodes, at a time that the test chooses."""
    watch.judge({name: (name in answering, name in refusing) for name in (None, OWN, OTHER)}, now)


def test_a_short_silence_is_nothing(port: Port) -> None:
    watch = watch_of(port, node(OWN, port), node(OTHER, port))
    hear(watch, 1000.0, None, OWN, OTHER)
    hear(watch, 1000.0 + UNHEARD_SECONDS - 1)
    assert (watch.broken, watch.unheard) == (None, frozenset())
    hear(watch, 1005.0 + UNHEARD_SECONDS, None, OWN, OTHER)
    assert (watch.broken, watch.unheard) == (None, frozenset())


def test_a_node_that_falls_silent_takes_no_work_until_it_is_heard_again(port: Port) -> None:
    watch = watch_of(port, node(OWN, port), node(OTHER, port))
    hear(watch, 1000.0, None, OWN, OTHER)
    hear(watch, 1000.0 + UNHEARD_SECONDS, None, OWN)
    assert [node.name for node in watch.nodes] == [OWN]
    assert watch.broken is None
    hear(watch, 1100.0, None, OWN, OTHER)
    assert [node.name for node in watch.nodes] == [OWN, OTHER]


def test_a_node_that_was_never_in_reach_is_left_to_the_cluster(port: Port) -> None:
    watch = watch_of(port, node(OWN, port), node(OTHER, port))
    hear(watch, 1000.0, None, OWN)
    hear(watch, 2000.0, None, OWN)
    assert watch.unheard == frozenset()
    assert watch_of(port, node(OTHER, port, is_alive=False)).nodes == []


def test_a_head_where_nobody_listens_is_dead_within_seconds(port: Port) -> None:
    watch = watch_of(port, node(OWN, port))
    hear(watch, 1000.0, None, OWN)
    hear(watch, 1001.0, OWN, refusing=(None,))
    assert watch.broken is None
    hear(watch, 1001.0 + DEAD_SECONDS, OWN, refusing=(None,))
    assert str(watch.broken) == f"the head of the cluster at {port[0]}:{port[1]} is dead: nobody listens there any more"


def test_a_head_that_is_cut_off_is_given_up_before_ray_ends_the_driver(port: Port) -> None:
    watch = watch_of(port, node(OWN, port))
    hear(watch, 1000.0, None, OWN)
    hear(watch, 1000.0 + LOST_SECONDS - 1, OWN)
    assert watch.broken is None
    hear(watch, 1000.0 + LOST_SECONDS, OWN)
    assert "has said nothing for 40 s" in str(watch.broken)
    assert LOST_SECONDS < 60


def test_without_its_own_raylet_a_driver_can_do_nothing(port: Port) -> None:
    watch = watch_of(port, node(OWN, port), node(OTHER, port))
    hear(watch, 1000.0, None, OWN, OTHER)
    hear(watch, 1001.0, None, OTHER, refusing=(OWN,))
    hear(watch, 1001.0 + DEAD_SECONDS, None, OTHER, refusing=(OWN,))
    assert str(watch.broken).startswith("the Ray of this machine is dead")


def test_a_cluster_without_cpus_is_waited_for_as_long_as_machines_take(port: Port) -> None:
    watch = watch_of(port, node(OWN, port, is_alive=False))
    start = time.monotonic()
    watch.judge({None: (True, False)}, start + 590)
    assert watch.broken is None
    watch.judge({None: (True, False)}, start + 610)
    assert watch.broken == "the cluster has had no machine with a CPU for 10 min"


def test_a_port_that_is_refused_once_is_not_dead() -> None:
    hearing = Hearing()
    hearing.note(answers=False, is_refused=True, now=10.0)
    hearing.note(answers=True, is_refused=False, now=11.0)
    hearing.note(answers=False, is_refused=True, now=12.0)
    assert not hearing.is_dead(14.0)


def test_what_a_watch_hears_comes_from_real_ports(port: Port) -> None:
    heard = threading.Event()

    class Noticing(Watch):
        def judge(self, answers: dict[str | None, tuple[bool, bool]], now: float) -> None:
            super().judge(answers, now)
            if answers == {None: (True, False), OTHER: (False, True)}:
                heard.set()

    with socket.create_server(("127.0.0.1", 0)) as server:
        closed: Port = server.getsockname()[:2]
    watch = Noticing(port, None, lambda: [node(OTHER, closed)])
    assert heard.wait(30)
    watch.stop()
