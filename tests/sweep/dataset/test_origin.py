"""Whose numbers are whose: rows that no field tells apart are told apart by where they come from."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.config import Config, make_config
from core.identity import ENGINE_VERSION
from sweep.cli import exit_code
from sweep.dataset.origin import origins, origins_note
from sweep.dataset.query import select
from sweep.dataset.views import open_dataset
from tests.sweep.datasets import as_of_former_version, write_shard

NAME = Config().profile


def names(folder: Path, *, table: str = "phases", current: bool = False) -> list[str]:
    with open_dataset(str(folder), current=current) as dataset:
        rows = select(dataset, f"SELECT DISTINCT origin FROM {table} ORDER BY ALL").to_pylist()
    return [row["origin"] for row in rows]


def note(folder: Path) -> str | None:
    with open_dataset(str(folder)) as dataset:
        return origins_note(origins(dataset))


@pytest.fixture
def edited(tmp_path: Path) -> Path:
    """A dataset whose profile was edited between two runs."""
    write_shard(tmp_path, [Config()], profile_digest="a" * 16)
    write_shard(tmp_path, [Config()], batch=1, started_at="2026-01-02T00:00:00Z", profile_digest="b" * 16)
    return tmp_path


def test_an_origin_is_the_profile_where_that_says_it(tmp_path: Path) -> None:
    write_shard(tmp_path, [Config()])
    assert names(tmp_path) == names(tmp_path, table="runs") == [NAME]
    assert note(tmp_path) is None


@pytest.mark.parametrize("table", ["runs", "phases"])
def test_two_contents_of_one_profile_are_told_apart_by_their_digests(edited: Path, table: str) -> None:
    assert names(edited, table=table) == [f"{NAME} aaaaaaaa", f"{NAME} bbbbbbbb"]
    assert note(edited) == (
        f"rows of several origins, kept apart: {NAME} bbbbbbbb (1 config), {NAME} aaaaaaaa (1 config); "
        "--current leaves out all but the newest profile and engine"
    )


def test_two_engine_versions_are_told_apart(tmp_path: Path) -> None:
    write_shard(tmp_path, [Config()], engine_version="7")
    write_shard(tmp_path, [Config()], batch=1, started_at="2026-01-02T00:00:00Z", engine_version="8")
    assert names(tmp_path) == [f"{NAME}, engine 7", f"{NAME}, engine 8"]
    assert names(tmp_path, current=True) == [f"{NAME}, engine 8"]


@pytest.mark.parametrize("table", ["runs", "phases"])
def test_current_rows_are_those_of_the_newest_run_of_each_profile(edited: Path, table: str, tmp_path: Path) -> None:
    other = make_config({"profile": str(_copied_profile(tmp_path))})
    write_shard(edited, [other], batch=2, started_at="2025-01-01T00:00:00Z")
    with open_dataset(str(edited), current=True) as dataset:
        rows = select(dataset, f"SELECT DISTINCT profile, profile_digest FROM {table} ORDER BY profile_digest")
        found = [tuple(row.values()) for row in rows.to_pylist()]
    assert (NAME, "a" * 16) not in found
    assert (NAME, "b" * 16) in found
    assert other.profile in {profile for profile, _ in found}


def _copied_profile(folder: Path) -> Path:
    import core.costs.profile

    copy = folder / "mine.toml"
    copy.write_text((Path(core.costs.profile.__file__).parent / "profiles" / f"{NAME}.toml").read_text())
    return copy


def test_measurements_of_two_hosts_are_told_apart_and_simulations_of_two_are_not(tmp_path: Path) -> None:
    for number, host in enumerate(("node-a", "node-b")):
        write_shard(tmp_path, [make_config({"engine": "live"})], batch=number, host=host)
        write_shard(tmp_path, [make_config({"vcpus": number + 1})], batch=number + 2, host=host)
    assert names(tmp_path) == [NAME, f"{NAME} on node-a", f"{NAME} on node-b"]
    assert "--current" not in str(note(tmp_path))


def test_measurements_of_real_kvm_have_no_profile_and_differ_by_kernel(tmp_path: Path) -> None:
    kvm = {"engine": "kvm", "profile_digest": None, "host": "node-a"}
    write_shard(tmp_path, [Config()], kernel_release="6.1.0", **kvm)
    write_shard(tmp_path, [Config()], batch=1, kernel_release="6.12.0", **kvm)
    assert names(tmp_path) == ["measured, kernel 6.1.0", "measured, kernel 6.12.0"]


def test_rows_from_before_digests_were_kept_are_told_apart_from_later_ones(tmp_path: Path) -> None:
    write_shard(tmp_path, [Config()])
    as_of_former_version(tmp_path, ["profile_digest", "source", "label"])
    assert names(tmp_path) == [NAME]
    assert note(tmp_path) == (
        "1 config from a version that did not keep which content of its profile the numbers are of; "
        "`splitsweep run` with --fresh makes new ones that say so"
    )
    write_shard(tmp_path, [Config()], batch=1, profile_digest="b" * 16)
    assert names(tmp_path) == [f"{NAME} bbbbbbbb", f"{NAME} without digest"]


def test_phases_from_before_they_said_where_they_come_from_take_it_from_their_run(tmp_path: Path) -> None:
    write_shard(tmp_path, [make_config({"engine": "live"})])
    for table, names_ in (("runs", ["source"]), ("phases", ["source", "engine_version", "host", "kernel_release"])):
        as_of_former_version(tmp_path, names_, table)
    with open_dataset(str(tmp_path)) as dataset:
        rows = select(dataset, "SELECT DISTINCT engine_version, host, kernel_release FROM phases").to_pylist()
    assert rows == [{"engine_version": ENGINE_VERSION, "host": "node-a", "kernel_release": "6.12.0"}]


def test_commands_say_that_a_dataset_holds_several_origins(edited: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["query", str(edited), "SELECT count(*) AS n FROM runs", "--format", "csv"]
    assert exit_code(asked) == 0
    said = capsys.readouterr()
    assert said.out == "n\n2\n"
    assert said.err.startswith(f"splitsweep: {edited}: rows of several origins, kept apart: ")
    assert exit_code([*asked, "--current"]) == 0
    assert capsys.readouterr() == ("n\n1\n", "")
    assert exit_code(["status", str(edited)]) == 0
    assert f"origins   {note(edited)}" in capsys.readouterr().out.splitlines()
