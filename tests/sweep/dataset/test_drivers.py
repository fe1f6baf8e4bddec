"""Any number of workers and drivers on one dataset at once, without a lock, some of them killed: no row is lost.

Each takes its steps - a listing, a read, a put, a deletion - when the test says so, in any order. A filesystem of its
own stands in front of every actor; it behaves as an object store's does.
"""

from __future__ import annotations

import dataclasses
import random
import tempfile
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.config import Config, config_record
from core.identity import config_id
from sweep.dataset.listing import finished, list_shards
from sweep.dataset.query import query
from sweep.dataset.store import Store, make_folders, open_store, write_shard
from sweep.dataset.upkeep import compact, finish
from tests.sweep.engines import phase_rows, some_configs

CONFIGS = some_configs(1, 2, 3, 4)


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


class Actor:
    """A worker or driver, in a thread that goes one step on when it is told to."""

    def __init__(self, store: Store, act: Callable[[Store], object]) -> None:
        self.paused = threading.Semaphore(0)
        self.may_go_on = threading.Semaphore(0)
        self.killed = self.ended = self.succeeded = False
        own = dataclasses.replace(store, filesystem=SteppedFilesystem(store.filesystem, self))
        self.thread = threading.Thread(target=self._live, args=(own, act), daemon=True)
        self.thread.start()
        self.paused.acquire()

    def _live(self, store: Store, act: Callable[[Store], object]) -> None:
        try:
            self.wait()
            act(store)
            self.succeeded = True
        except Killed:
            pass
        finally:
            self.ended = True
            self.paused.release()

    def wait(self) -> None:
        self.paused.release()
        self.may_go_on.acquire()
        if self.killed:
            raise Killed

    def step(self) -> None:
        self.may_go_on.release()
        self.paused.acquire()


class SteppedFilesystem:
    """A filesystem that waits before each operation; to the store it is an object store."""

    type_name = "s3"

    def __init__(self, filesystem: Any, actor: Actor) -> None:
        self._filesystem = filesystem
        self._actor = actor

    def __getattr__(self, name: str) -> Any:
        operation = getattr(self._filesystem, name)

        def stepped(*arguments: Any, **named: Any) -> Any:
            self._actor.wait()
            return operation(*arguments, **named)

        return stepped


def work(config: Config, status: str, day: int) -> Callable[[Store], object]:
    """What a worker does: write one shard."""
    when = datetime(2026, 1, day, tzinfo=UTC)
    row = {"config_id": config_id(config), **config_record(config), "status": status, "started_at": when}
    return lambda store: write_shard(store, [row], phase_rows(config) if status == "ok" else [])


WORKERS = st.builds(
    work, st.sampled_from(CONFIGS), st.sampled_from(["ok", "ok", "failed"]), st.integers(min_value=1, max_value=28)
)
DRIVERS = st.sampled_from([compact, finish])


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(WORKERS, min_size=2, max_size=4), st.lists(DRIVERS, min_size=2, max_size=3), st.integers(min_value=0))
def test_no_interleaving_and_no_kill_loses_or_doubles_a_row(
    workers: list[Callable[[Store], object]], drivers: list[Callable[[Store], object]], order: int
) -> None:
    turns = random.Random(order)
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(folder)
        make_folders(store)
        for config in CONFIGS[:2]:
            work(config, "ok", 10)(store)
        work(CONFIGS[2], "failed", 10)(store)
        actors = [Actor(store, act) for act in (*workers, *drivers)]
        safe = finished(store)
        assert len(safe) == 2
        while living := [actor for actor in actors if not actor.ended]:
            actor = turns.choice(living)
            actor.killed = turns.random() < 0.01
            actor.step()
            held = finished(store)
            assert safe <= held
            safe = held
        assert all(actor.succeeded or actor.killed for actor in actors)
        finish(store)
        assert finished(store) == safe
        assert list_shards(store).without_phases == list_shards(store).superseded == ()
        rows = query(
            folder, "SELECT config_id, count(*) AS rows, sum(seconds) AS sum FROM phases GROUP BY ALL"
        ).to_pylist()
        assert {row["config_id"]: (row["rows"], row["sum"]) for row in rows} == dict.fromkeys(safe, (2, 0.75))
        runs = query(folder, "SELECT count(*) AS rows, count(DISTINCT config_id) AS configs FROM runs").to_pylist()[0]
        assert runs["rows"] == runs["configs"] >= 3
