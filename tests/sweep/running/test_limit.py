"""How long a config may take, and how much memory."""

from __future__ import annotations

import multiprocessing
import resource
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from core.config import Config, make_config
from core.identity import config_id
from core.rows import Row
from sweep.dataset.query import query
from sweep.dataset.store import Store, make_folders, open_store
from sweep.running import limit
from sweep.running.limit import LEAST_SECONDS, MEASURED_SECONDS, seconds_allowed
from sweep.running.plan import Batch, Task, make_batch
from sweep.running.worker import run_batch
from tests.sweep.engines import phase_rows, some_configs


def task(engine: str = "sim", estimated_seconds: float = 0.1) -> Task:
    return Task("0" * 16, make_config({"engine": engine}), estimated_seconds)


def test_what_the_user_says_counts() -> None:
    assert seconds_allowed(task(estimated_seconds=100), 1.5) == 1.5


def test_a_short_config_has_minutes_and_a_long_one_many_times_its_estimate() -> None:
    assert seconds_allowed(task(), None) == LEAST_SECONDS
    assert seconds_allowed(task(estimated_seconds=100), None) == 2000


def test_what_is_measured_may_wait_for_its_cpus() -> None:
    assert seconds_allowed(task("live"), None) == MEASURED_SECONDS + LEAST_SECONDS


def test_memory_that_is_asked_for_beyond_what_is_allowed_fails_the_config_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limit, "usable_memory", lambda: 0)  # then twice what is expected is allowed, as on a small host
    store = open_store(str(tmp_path))
    make_folders(store)
    before = resource.getrlimit(resource.RLIMIT_DATA)
    summary = run_batch(batch(1, 2, 3), 1, store=store, git_revision=None, engine=greedy_at_two)
    assert (summary.done, summary.failed) == (2, 1)
    [failed] = query(str(tmp_path), "SELECT error_type, error FROM failures").to_pylist()
    assert failed == {
        "error_type": "MemoryError",
        "error": "needs more memory than the 320 MiB it had; expected were 160 MiB",
    }
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


def test_memory_that_grows_beyond_what_is_allowed_ends_the_process_and_keeps_its_batch(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    make_folders(store)
    worker = multiprocessing.get_context("fork").Process(target=grow_at_two, args=(store,))
    worker.start()
    worker.join()
    assert worker.exitcode == limit.EXIT_CODE
    rows = query(str(tmp_path), "SELECT seed, status, error_type FROM runs ORDER BY seed").to_pylist()
    assert [tuple(row.values()) for row in rows] == [(1, "ok", None), (2, "failed", "MemoryError")]


def batch(*seeds: int) -> Batch:
    return make_batch([Task(config_id(config), config, 0.01) for config in some_configs(*seeds)], cpus=1)


def greedy_at_two(config: Config) -> list[Row]:
    if config.seed == 2:
        bytearray(2**31)
    return phase_rows(config)


def grow_at_two(store: Store) -> None:
    """A worker whose second config uses more than it may, as far as its watch can see."""
    real = limit.memory_allowed
    limit.memory_allowed = lambda config: 2**20 if config.seed == 2 else real(config)  # type: ignore[assignment]
    run_batch(batch(1, 2, 3), 1, store=store, git_revision=None, engine=waiting_at_two, since=datetime.now(UTC))


def waiting_at_two(config: Config) -> list[Row]:
    if config.seed == 2:
        threading.Event().wait()
    return phase_rows(config)
