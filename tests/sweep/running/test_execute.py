"""A run of a plan: each config ends as one row, on real workers that raise, die and are killed."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas
import pytest
from ray import cloudpickle

from core.config import Config
from core.identity import config_id
from sweep.dataset.listing import finished
from sweep.dataset.store import Store, open_store
from sweep.errors import StoreError, SweepError
from sweep.running.execute import Outcome, _check_arrived, execute
from sweep.running.plan import BATCH_SECONDS, Task, make_batch, make_plan
from sweep.running.tally import Progress
from sweep.running.worker import Summary
from tests.sweep import engines
from tests.sweep.engines import HOLDS, KILLS, RAISES, live_configs, quick_engine, some_configs

WORKERS = pytest.mark.parametrize("address", ["pool", "local"])

# Workers need not find the tests.
cloudpickle.register_pickle_by_value(engines)  # type: ignore[no-untyped-call]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "dataset"))


def run(
    store: Store, configs: Sequence[Config], address: str = "inline", timeout: float | None = None
) -> tuple[Outcome, list[Progress]]:
    reports: list[Progress] = []
    plan = make_plan(configs, finished(store))
    return execute(plan, store, address, reports.append, engine=quick_engine, timeout=timeout), reports


def runs_of(store: Store) -> pandas.DataFrame:
    return pandas.read_parquet(f"{store.path}/runs").set_index("seed").sort_index()


def phase_seeds(store: Store) -> list[int]:
    return sorted(pandas.read_parquet(f"{store.path}/phases")["seed"])


def test_every_config_becomes_a_row_with_its_phases(store: Store) -> None:
    outcome, _ = run(store, some_configs(1, 2, 3))
    assert outcome == Outcome(done=3, failed=0)
    assert list(runs_of(store).index) == [1, 2, 3]
    assert phase_seeds(store) == [1, 1, 2, 2, 3, 3]


def test_a_row_tells_what_where_and_when(store: Store) -> None:
    run(store, some_configs(5))
    row = runs_of(store).loc[5]
    assert row["config_id"] == config_id(some_configs(5)[0])
    assert (row["status"], row["attempts"]) == ("ok", 1)
    assert (row["host"], row["node_cpus"]) == (os.uname().nodename, os.cpu_count())
    assert row["wall_seconds"] >= 0
    assert row["cpu_seconds"] >= 0
    assert row["peak_rss_bytes"] > 2**20
    assert pandas.Timestamp(row["started_at"]).utcoffset() == pandas.Timedelta(0)


def test_a_live_row_tells_of_its_host_and_a_simulated_one_does_not(store: Store) -> None:
    many = len(os.sched_getaffinity(0)) + 1
    run(store, [*some_configs(1), *live_configs(2), *live_configs(3, vcpus=many)])
    rows = runs_of(store)
    facts = ["cpu_model", "cores", "numa_nodes", "huge_pages", "load_at_start", "oversubscribed"]
    assert rows.loc[1, facts].isna().all()
    assert (rows["kernel_release"] == os.uname().release).all()
    assert (rows.loc[[2, 3], "load_at_start"] >= 0).all()
    assert list(rows.loc[[2, 3], "oversubscribed"]) == [False, True]
    assert list(rows["cpu_seconds"].isna()) == [False, True, True]


def test_a_live_run_that_fails_is_a_failed_row_and_the_others_of_its_batch_go_on(store: Store) -> None:
    configs = live_configs(1, RAISES, 2)
    batch = make_batch([Task(config_id(config), config, 0.1) for config in configs], cpus=1)
    plan = dataclasses.replace(make_plan(configs, set()), batches=(batch,))
    outcome = execute(plan, store, "inline", lambda _: None, engine=quick_engine)
    assert outcome == Outcome(done=2, failed=1)
    row = runs_of(store).loc[RAISES]
    assert (row["status"], row["error_type"], row["error"]) == ("failed", "LiveError", "vCPU 3 died of SIGSEGV")
    assert row["kernel_release"] == os.uname().release
    assert phase_seeds(store) == [1, 1, 2, 2]


@WORKERS
def test_live_configs_run_even_with_more_vcpus_than_any_node_has_cpus(store: Store, address: str) -> None:
    outcome, _ = run(store, [*live_configs(1, 2), *live_configs(3, vcpus=1000), *some_configs(4)], address=address)
    assert outcome == Outcome(done=4, failed=0)
    assert list(runs_of(store)["oversubscribed"].isin([True])) == [False, False, True, False]


def test_an_exception_is_a_failed_row_and_the_others_go_on(store: Store) -> None:
    outcome, _ = run(store, some_configs(1, RAISES, 2))
    assert outcome == Outcome(done=2, failed=1)
    row = runs_of(store).loc[RAISES]
    assert (row["status"], row["error_type"], row["error"]) == ("failed", "ValueError", "this seed\nis not liked")
    assert phase_seeds(store) == [1, 1, 2, 2]


def test_running_again_runs_what_is_missing_and_what_failed(store: Store) -> None:
    run(store, some_configs(1, RAISES))
    before = runs_of(store)
    outcome, _ = run(store, some_configs(1, RAISES, 2))
    after = runs_of(store)
    assert outcome == Outcome(done=1, failed=1)
    assert list(after.index) == [1, 2, RAISES]
    assert after.loc[1, "started_at"] == before.loc[1, "started_at"]
    assert after.loc[RAISES, "started_at"] > before.loc[RAISES, "started_at"]


def test_nothing_to_do_is_done_without_workers(store: Store) -> None:
    outcome, reports = run(store, [], address="ray://127.0.0.1:1")
    assert outcome == Outcome(0, 0)
    assert reports == []


def test_progress_counts_up_to_the_total(store: Store) -> None:
    _, reports = run(store, some_configs(1, 2, RAISES))
    counts = dict.fromkeys((progress.done, progress.failed, progress.total) for progress in reports)
    assert list(counts) == [(0, 0, 3), (2, 1, 3)]
    assert reports[0].seconds_left is None
    assert reports[-1].seconds_left == 0


@WORKERS
def test_a_config_that_kills_its_worker_is_the_only_one_that_fails(store: Store, address: str) -> None:
    outcome, _ = run(store, some_configs(1, KILLS, 2, RAISES), address=address)
    assert outcome == Outcome(done=2, failed=2)
    rows = runs_of(store)
    assert list(rows["status"]) == ["ok", "ok", "failed", "failed"]
    assert rows.loc[KILLS, "error_type"] == "WorkerCrashedError"
    assert rows.loc[KILLS, "error"].startswith("killed its worker process each time it was started, 6 times:")
    assert rows.loc[KILLS, "attempts"] == 6
    assert rows.loc[1, "attempts"] == 4
    assert phase_seeds(store) == [1, 1, 2, 2]


@WORKERS
def test_a_config_that_hangs_is_a_failed_row_and_the_others_of_its_batch_are_done(store: Store, address: str) -> None:
    outcome, _ = run(store, some_configs(1, HOLDS, 2), address=address, timeout=2.0)
    assert outcome == Outcome(done=2, failed=1)
    rows = runs_of(store)
    assert list(rows["status"]) == ["ok", "ok", "failed"]
    assert rows.loc[HOLDS, "error_type"] == "TimeoutError"
    assert rows.loc[HOLDS, "error"].startswith("took longer than 2 s")
    assert rows.loc[HOLDS, "attempts"] == 1
    assert rows.loc[HOLDS, "wall_seconds"] >= 2.0
    assert phase_seeds(store) == [1, 1, 2, 2]


def test_any_number_of_configs_may_hang(store: Store) -> None:
    configs = [config for pages in range(1, 7) for config in some_configs(HOLDS, mem_per_vcpu=f"{pages}MiB")]
    outcome, _ = run(store, [*configs, *some_configs(1)], address="pool", timeout=0.5)
    assert outcome == Outcome(done=1, failed=6)
    assert list(runs_of(store)["error_type"][1:]) == ["TimeoutError"] * 6


def test_a_time_limit_needs_processes_that_can_be_ended(store: Store) -> None:
    with pytest.raises(SweepError, match="--timeout needs worker processes"):
        run(store, some_configs(1), timeout=1.0)


def test_ctrl_c_keeps_what_is_done_and_a_second_run_does_the_rest(store: Store) -> None:
    costly = some_configs(*range(1, 6), mem_per_vcpu="64GiB")
    plan = make_plan(costly, set())
    assert len(plan.batches) == 5, BATCH_SECONDS

    def stop_after_two(progress: Progress) -> None:
        if progress.done == 2:
            signal.raise_signal(signal.SIGINT)

    assert execute(plan, store, "inline", stop_after_two, engine=quick_engine) == Outcome(
        2, 0, interrupted_by=signal.SIGINT
    )
    outcome, _ = run(store, costly)
    assert outcome == Outcome(3, 0)
    assert list(runs_of(store).index) == [1, 2, 3, 4, 5]


KILLED_DRIVER = """
import sys
from ray import cloudpickle
from tests.sweep import engines
from sweep.running.execute import execute
from sweep.running.plan import make_plan
from sweep.dataset.store import open_store

cloudpickle.register_pickle_by_value(engines)
configs = engines.some_configs(*range(1, 21), engines.HOLDS, mem_per_vcpu="64GiB")
plan = make_plan(configs, set())
report = lambda progress: print(progress.done, flush=True)
execute(plan, open_store(sys.argv[1]), sys.argv[2], report, engine=engines.quick_engine)
"""


@WORKERS
def test_a_driver_killed_in_the_middle_loses_and_doubles_nothing(store: Store, address: str) -> None:
    command = [sys.executable, "-c", KILLED_DRIVER, store.location, address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None
        for line in driver.stdout:
            if int(line) >= 5:
                driver.kill()
                break
    done = finished(store)
    assert 5 <= len(done) <= 20
    outcome, _ = run(store, some_configs(*range(1, 21), mem_per_vcpu="64GiB"))
    assert outcome.done + len(done) >= 20 - 4  # workers of the killed driver may have finished a batch or two since
    assert list(runs_of(store).index) == list(range(1, 21))
    assert phase_seeds(store) == sorted(2 * list(range(1, 21)))
    assert HOLDS not in runs_of(store).index


def test_a_bad_address_is_an_error_before_anything_is_written(store: Store) -> None:
    with pytest.raises(SweepError, match="address 'nowhere' is not allowed"):
        run(store, some_configs(1), address="nowhere")
    assert not Path(store.path).exists()


def test_a_store_that_cannot_be_written_stops_the_run(store: Store) -> None:
    def spoil() -> None:
        (Path(store.path) / "runs").rename(Path(store.path) / "elsewhere")

    plan = make_plan(some_configs(1), set())
    with pytest.raises(SweepError, match=r"runs/.*: cannot be written") as error:
        execute(plan, store, "inline", lambda _: None, engine=quick_engine, before_work=spoil)
    assert "\n" not in str(error.value)
    assert not isinstance(error.value, StoreError)


def test_a_worker_elsewhere_that_wrote_to_its_own_disk_is_named(store: Store) -> None:
    said = f"results {store.location}: host far-away wrote to its own disk; allowed with several hosts: a folder"
    with pytest.raises(StoreError, match=f"^{said}"):
        _check_arrived(store, Summary(1, 0, "far-away", "0123456789abcdef-100"))
