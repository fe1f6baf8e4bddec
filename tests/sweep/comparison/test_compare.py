"""`splitsweep compare`: what is matched with what, what is said of it, and the exit code."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from core.config import Config, make_config
from core.costs.profile import load_profile
from sweep.cli import exit_code
from tests.sweep.datasets import Numbers, write_shard

SIM = [make_config({"mmu": mmu, "vcpus": vcpus}) for mmu in ("tdp", "shadow") for vcpus in (1, 2)]


def live(repeats: int, **values: object) -> list[Config]:
    fields = {"engine": "live", "mem_per_vcpu": "1MiB"} | values
    return [make_config(fields | {"repeat": repeat}) for repeat in range(repeats)]


def noise(factor: float = 1.0, spread: float = 0.02) -> Numbers:
    """A second times `factor`, with noise that differs from repeat to repeat and from call to call of this."""
    random = np.random.default_rng(round(factor * 1000))
    return lambda config, phase, iteration: {"seconds": factor * float(np.exp(random.normal(0, spread)))}


def numbers(**columns: float) -> Numbers:
    return lambda config, phase, iteration: dict(columns)


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "base"


@pytest.fixture
def new(tmp_path: Path) -> Path:
    return tmp_path / "new"


def test_simulated_numbers_that_are_equal_are_nothing_worse(
    base: Path, new: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_shard(base, SIM, numbers(seconds=1.0, faults=8))
    write_shard(new, SIM, numbers(seconds=1.0, faults=8))
    assert exit_code(["compare", "base", "new"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "nothing worse: 0 of 80 simulated numbers differ"


@pytest.mark.parametrize("seconds", [1.0 + 1e-12, 0.5])
def test_any_difference_of_simulated_numbers_is_drift_also_a_tiny_or_a_better_one(
    seconds: float, base: Path, new: Path
) -> None:
    write_shard(base, SIM, numbers(seconds=1.0))
    write_shard(new, SIM, numbers(seconds=seconds))
    assert exit_code(["compare", "base", "new"]) == 1


def test_counts_that_differ_are_named_before_times(base: Path, new: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_shard(base, SIM[:1], numbers(seconds=1.0, faults=8))
    write_shard(new, SIM[:1], numbers(seconds=1.5, faults=9))
    assert exit_code(["compare", "base", "new", "--metric", "dirty,dirty.faults"]) == 1
    titles = [line for line in capsys.readouterr().out.splitlines() if line.startswith('"')]
    assert titles == [
        '"Iteration 1 dirty memory: faults (simulated: exact)"',
        '"Iteration 2 dirty memory: faults (simulated: exact)"',
        '"Iteration 1 dirty memory time (simulated: exact)"',
        '"Iteration 2 dirty memory time (simulated: exact)"',
    ]


def test_drift_is_explained_by_the_profile_parameter_that_changed(
    base: Path, new: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shipped = load_profile("cascade-lake-2022")
    text = "\n".join(f"{name} = {value + (name == 'fault.map_ns')}" for name, value in shipped.values.items())
    mine = base.parent / "mine.toml"
    mine.write_text(text)
    write_shard(base, SIM, profile_digest=shipped.digest)
    configs = [make_config({"mmu": config.mmu, "vcpus": config.vcpus, "profile": "mine.toml"}) for config in SIM]
    write_shard(new, configs, numbers(seconds=2.0), profile_digest=load_profile("mine.toml").digest)
    assert exit_code(["compare", "base", "new"]) == 1
    before, after = (f"{shipped['fault.map_ns'] + more:g}" for more in (0, 1))
    changed = f"changed: profile parameter fault.map_ns {before} -> {after}"
    assert changed in capsys.readouterr().out.splitlines()


def test_drift_is_explained_by_the_engine_version(base: Path, new: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_shard(base, SIM, engine_version="2")
    write_shard(new, SIM, numbers(seconds=2.0), engine_version="3")
    assert exit_code(["compare", "base", "new"]) == 1
    assert "changed: engine version 2 -> 3" in capsys.readouterr().out.splitlines()


def test_drift_without_a_reason_is_said_to_be_without(
    base: Path, new: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_shard(base, SIM, git_revision="aaa")
    write_shard(new, SIM, numbers(seconds=2.0), git_revision="bbb")
    assert exit_code(["compare", "base", "new"]) == 1
    printed = capsys.readouterr().out
    assert "changed: unexplained: the profile and the engine version are the same" in printed
    assert "changed: splitsweep revision aaa -> bbb" in printed


def test_a_slower_measured_config_is_a_regression(base: Path, new: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_shard(base, live(6), noise())
    write_shard(new, live(6), noise(1.2))
    assert exit_code(["compare", "base", "new"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith("regressed: of 10 measured numbers")
    row = lines[lines.index('"Iteration 1 dirty memory time"') + 3]
    assert row.endswith("worse")


def test_measured_numbers_that_only_scatter_are_nothing_worse(base: Path, new: Path) -> None:
    write_shard(base, live(8), noise())
    write_shard(new, live(8), noise(1.001))
    assert exit_code(["compare", "base", "new"]) == 0


def test_a_faster_measured_config_is_nothing_worse(base: Path, new: Path) -> None:
    write_shard(base, live(8), noise())
    write_shard(new, live(8), noise(0.5))
    assert exit_code(["compare", "base", "new"]) == 0


def test_the_threshold_says_what_matters(base: Path, new: Path) -> None:
    write_shard(base, live(8), noise(spread=0.001))
    write_shard(new, live(8), noise(1.04, spread=0.001))
    assert exit_code(["compare", "base", "new"]) == 0
    assert exit_code(["compare", "base", "new", "--threshold", "3%"]) == 1
    assert exit_code(["compare", "base", "new", "--threshold", "0.03"]) == 1


def test_too_few_repeats_alone_are_nothing_compared(base: Path, new: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_shard(base, live(3), noise())
    write_shard(new, live(3), noise(2.0))
    assert exit_code(["compare", "base", "new"]) == 3
    assert "too few repeats: 3 where each side needs 5" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("base_origin", "new_origin", "told"),
    [
        ({"host": "a"}, {"host": "b"}, "changed: host a -> b"),
        ({"kernel_release": "6.1"}, {"kernel_release": "6.12"}, "changed: kernel 6.1 -> 6.12"),
    ],
)
def test_sides_of_other_hosts_and_kernels_are_matched_and_it_is_told(
    base_origin: Mapping[str, object],
    new_origin: Mapping[str, object],
    told: str,
    base: Path,
    new: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_shard(base, live(6), noise(), **base_origin)
    write_shard(new, live(6), noise(1.001), **new_origin)
    assert exit_code(["compare", "base", "new"]) == 0
    assert told in capsys.readouterr().out.splitlines()


def test_two_labels_of_one_dataset_are_compared(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_shard(base, live(6, label="a"), noise())
    write_shard(base, live(6, label="b"), noise(1.3), batch=1)
    assert exit_code(["compare", "base", "--base", "label = 'a'", "--new", "label = 'b'"]) == 1
    printed = capsys.readouterr().out
    assert "new  base (label = 'b')" in printed
    assert "changed: label a -> b" in printed


def test_repeats_of_two_labels_are_not_taken_together(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_shard(base, [*live(6, label="a"), *live(6, label="b")], noise())
    assert exit_code(["compare", "base", "base"]) == 3
    assert "1 configs have numbers of more than one label (a, b)" in capsys.readouterr().out


def test_selections_may_set_a_field_apart(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_shard(base, SIM, lambda config, *_: {"seconds": 2.0 if config.mmu == "shadow" else 1.0})
    assert exit_code(["compare", "base", "--base", "mmu = 'tdp'", "--new", "mmu = 'shadow'"]) == 1
    printed = capsys.readouterr().out
    assert "changed: mmu tdp -> shadow" in printed
    assert "+100.0%" in printed
    assert exit_code(["compare", "base", "--base", "mmu = 'shadow'", "--new", "mmu = 'tdp'"]) == 0


def test_where_holds_for_both_sides(base: Path, new: Path) -> None:
    write_shard(base, SIM)
    write_shard(new, SIM, lambda config, *_: {"seconds": float(config.vcpus)})
    assert exit_code(["compare", "base", "new", "--where", "vcpus = 1"]) == 0
    assert exit_code(["compare", "base", "new", "--where", "vcpus = 2"]) == 1


def test_a_config_that_fails_now_is_a_regression(base: Path, new: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_shard(base, SIM)
    write_shard(new, SIM[1:])
    write_shard(new, SIM[:1], batch=1, failed=True)
    assert exit_code(["compare", "base", "new"]) == 1
    assert "1 configs failed that ran before" in capsys.readouterr().out


def test_all_failed_is_nothing_compared(base: Path, new: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_shard(base, SIM)
    write_shard(new, SIM, failed=True)
    assert exit_code(["compare", "base", "new"]) == 3
    assert "all 4 configs failed in new" in capsys.readouterr().out


def test_configs_of_one_side_only_are_counted(base: Path, new: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_shard(base, SIM)
    write_shard(new, SIM[:1])
    assert exit_code(["compare", "base", "new"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "3 configs are in base only"


def test_no_config_in_common_is_nothing_compared_and_says_what_differs(
    base: Path, new: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_shard(base, SIM[:1])
    write_shard(new, SIM[1:2])
    assert exit_code(["compare", "base", "new"]) == 3
    assert "no config is on both sides; they differ in vcpus (1 against 2)" in capsys.readouterr().out


@pytest.mark.parametrize("form", ["markdown", "csv", "json", "junit"])
def test_every_form_tells_the_verdict(form: str, base: Path, new: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_shard(base, live(6), noise())
    write_shard(new, live(6), noise(1.5))
    assert exit_code(["compare", "base", "new", "--metric", "dirty", "--format", form]) == 1
    printed = capsys.readouterr().out
    if form == "markdown":
        assert "| worse |" in printed
        assert "**regressed: " in printed
    elif form == "csv":
        rows = list(csv.DictReader(printed.splitlines()))
        assert [rows[0][name] for name in ("kind", "phase", "iteration")] == ["config", "dirty", "1"]
        assert (rows[0]["verdict"], rows[0]["base_repeats"], rows[0]["engine"]) == ("worse", "6", "live")
        assert float(rows[0]["ratio"]) == pytest.approx(1.5, rel=0.05)
    elif form == "json":
        found = json.loads(printed)
        assert found["outcome"] == "regressed"
        assert found["records"][0]["ratio_low"] > 1.3
    else:
        suite = ElementTree.fromstring(printed)[0]
        assert suite.attrib["failures"] == "2"
        assert [case.find("failure") is not None for case in suite] == [True, True]
        assert suite[0].attrib["name"] == "mem_per_vcpu=1MiB mmu=tdp engine=live"


def test_junit_has_a_case_for_each_simulated_config(base: Path, new: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_shard(base, SIM)
    write_shard(new, SIM, lambda config, *_: {"seconds": float(config.vcpus)})
    assert exit_code(["compare", "base", "new", "--format", "junit"]) == 1
    suite = ElementTree.fromstring(capsys.readouterr().out)[0]
    assert (suite.attrib["tests"], suite.attrib["failures"], suite.attrib["errors"]) == ("4", "2", "0")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nowhere", "new"], "nowhere: no such dataset"),
        (["base"], "compare: one dataset needs two selections"),
        (["base", "--base", "vcpus = 1"], "compare: one dataset needs two selections"),
        (["base", "new", "--metric", "drty"], "--metric: there is no phase 'drty'"),
        (["base", "new", "--metric", ""], "--metric: there is no phase ''"),
        (["base", "new", "--threshold", "often"], "--threshold: 'often' is no share"),
        (["base", "new", "--threshold", "-5%"], "--threshold: '-5%' is no share"),
        (["base", "new", "--threshold", "nan"], "--threshold: 'nan' is no share"),
        (["base", "new", "--format", "xml"], "--format: 'xml' is not allowed; allowed: lkml, markdown, csv, json"),
        (["base", "new", "--where", "vcpus = 77"], "base: no config matches --where vcpus = 77"),
        (["base", "new", "--where", "colour = 'red'"], "--where: no field colour"),
        (["base", "new", "--base", "vcpus"], "--base: 'vcpus' is neither true nor false"),
        (["base", "new", "--new", "1=1); DROP TABLE runs; --"], "--new: "),
        (["base", "new", "--where", ""], "--where: "),
    ],
)
def test_bad_usage_is_one_line(
    words: list[str], told: str, base: Path, new: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_shard(base, SIM)
    write_shard(new, SIM)
    assert exit_code(["compare", *words]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith(f"splitsweep: {told}")
    assert printed.count("\n") == 1
