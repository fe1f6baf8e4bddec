"""A sweep on real KVM, with a stand-in for its selftest: same rows as from every engine, repeats interleaved."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from core.config import make_config
from core.kvm.engine import measure
from core.kvm.host import Host
from core.rows import PHASE_COLUMNS
from sweep.cli import exit_code
from sweep.dataset.listing import finished
from sweep.dataset.query import query
from sweep.dataset.store import open_store
from sweep.running.execute import execute
from sweep.running.plan import make_plan
from tests.core.kvm.conftest import binary, host  # noqa: F401

COMMON = {"engine": "kvm", "pml": False, "mem_per_vcpu": "4MiB", "backing": "2M"}


def test_a_sweep_measures_what_the_host_can_and_says_why_it_cannot_the_rest(
    tmp_path: Path,
    host: Host,  # noqa: F811
    binary: str,  # noqa: F811
) -> None:
    configs = [make_config(COMMON | {"split": split}) for split in ("eager", "fault", "lazy")]
    store = open_store(str(tmp_path / "results"))
    outcome = execute(
        make_plan(configs, set()),
        store,
        "inline",
        lambda progress: None,
        engine=partial(measure, binary=binary, host=host),
    )
    assert (outcome.done, outcome.failed) == (2, 1)
    assert len(finished(store)) == 2
    runs = query(store.location, "SELECT * FROM runs ORDER BY split").to_pylist()
    assert [run["status"] for run in runs] == ["ok", "ok", "failed"]
    assert runs[2]["error"] == "split: KVM 6.12 does not split by lazy on tdp; allowed: eager, fault"
    assert {run["engine_version"] for run in runs} == {"dirty_log_perf_test"}
    assert {run["profile_digest"] for run in runs} == {None}
    assert all(run["host"] and run["kernel_release"] and run["load_at_start"] is not None for run in runs)
    seconds = query(
        store.location, "SELECT split, seconds FROM phases WHERE phase = 'dirty' AND iteration = 2 ORDER BY 1"
    )
    assert [tuple(row.values()) for row in seconds.to_pylist()] == [("eager", 0.1), ("fault", 0.3)]
    columns = query(store.location, "SELECT * FROM phases").column_names
    assert columns == [*(column.name for column in PHASE_COLUMNS), "origin"]


def test_repeats_are_interleaved_and_each_is_a_batch_of_its_own() -> None:
    configs = [make_config(COMMON | {"vcpus": vcpus, "repeat": repeat}) for repeat in (0, 1) for vcpus in (1, 2)]
    batches = make_plan(configs, set()).batches
    assert [[(task.config.repeat, task.config.vcpus) for task in batch.tasks] for batch in batches] == [
        [(0, 2)],
        [(0, 1)],
        [(1, 2)],
        [(1, 1)],
    ]


def test_a_test_that_is_not_there_is_a_failed_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("spec.toml").write_text('name = "s"\n[fixed]\nengine = "kvm"\n')
    run = ["run", "spec.toml", "--results", "here", "--address", "inline", "--binary", "./nothing"]
    assert exit_code(run) == 1
    capsys.readouterr()
    assert exit_code(["query", "here", "SELECT error FROM failures"]) == 0
    assert "./nothing: no such program; give it with --binary" in capsys.readouterr().out
