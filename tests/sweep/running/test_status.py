"""What `splitsweep status` promises: how far a sweep is, from the disk alone, and how to go on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from core.config import Config, make_config, parse_field
from core.identity import ENGINE_VERSION
from sweep.cli import exit_code
from sweep.dataset.store import make_folders, open_store
from sweep.errors import QueryError
from sweep.running.status import Status, dataset_status, status_text
from tests.sweep.datasets import write_shard

SPEC = """
name = "four"
[fixed]
mmu = "shadow"
backing = "1G"
iterations = 1
[[grid]]
vcpus = [2, 4, 8, 16]
"""


def shadow(vcpus: int) -> Config:
    return make_config({"mmu": "shadow", "backing": "1G", "vcpus": vcpus, "iterations": 1})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "spec.toml").write_text(SPEC)
    make_folders(open_store(str(tmp_path)))
    return tmp_path


def status(folder: Path) -> Status:
    return dataset_status(str(folder))


def text(folder: Path) -> list[str]:
    return list(status_text(status(folder)))


def test_done_failed_and_missing_add_up_to_the_spec(folder: Path) -> None:
    write_shard(folder, [shadow(2), shadow(4)])
    write_shard(folder, [shadow(8)], batch=1, failed=True)
    assert text(folder)[:2] == [f"{folder}: four", "configs   2 of 4 done (50%), 1 failed, 1 missing"]


def test_before_the_first_shard_all_is_missing(folder: Path) -> None:
    assert text(folder)[1] == "configs   0 of 4 done (0%), 4 missing"


def test_an_unfinished_sweep_tells_the_command_that_goes_on(folder: Path) -> None:
    write_shard(folder, [shadow(2)])
    assert text(folder)[-1] == f"to go on  splitsweep run {folder}/spec.toml --results {folder}"


def test_a_finished_sweep_tells_none(folder: Path) -> None:
    write_shard(folder, [shadow(vcpus) for vcpus in (2, 4, 8, 16)])
    assert text(folder) == [
        f"{folder}: four",
        "configs   4 of 4 done (100%)",
        "rows      28 phases",
        "started   2026-01-01 00:00:00 to 2026-01-01 00:00:00 UTC",
        f"engine    sim {ENGINE_VERSION}",
        "hosts     node-a (4)",
    ]


def test_configs_beyond_the_spec_are_counted_apart(folder: Path) -> None:
    write_shard(folder, [shadow(2), shadow(32)])
    found = status(folder)
    assert (found.done, found.other) == (1, 1)


def test_a_config_in_two_shards_counts_once(folder: Path) -> None:
    write_shard(folder, [shadow(2)])
    write_shard(folder, [shadow(2)], batch=2)
    assert status(folder).done == 1


def test_failures_are_grouped_with_one_example(folder: Path) -> None:
    write_shard(folder, [shadow(2), shadow(4)], failed=True)
    (group,) = status(folder).failures
    assert (group.error_type, group.count, group.error) == ("MemoryError", 2, "no memory for the page tables")


def test_the_example_of_a_failure_can_be_typed_back(folder: Path) -> None:
    write_shard(folder, [shadow(4)], failed=True)
    words = [word.partition("=") for word in status(folder).failures[0].config.split()]
    assert make_config({name: parse_field(name, value) for name, _, value in words}) == shadow(4)


def test_a_dataset_without_a_spec_has_a_status_too(folder: Path) -> None:
    (folder / "spec.toml").unlink()
    write_shard(folder, [shadow(2)])
    found = status(folder)
    assert (found.total, found.done) == (None, 1)
    assert list(status_text(found))[:2] == [f"{folder}: results without a spec", "configs   1 done"]


def test_a_folder_that_is_no_dataset_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(QueryError, match=r"no dataset there; `splitsweep run` makes one"):
        status(tmp_path)


def test_status_needs_no_heavy_package(folder: Path) -> None:
    write_shard(folder, [shadow(2)])
    program = (
        "import sys\n"
        "from sweep.commands.dataset.status import status\n"
        f"status({str(folder)!r})\n"
        "print(sorted({'numba', 'pandas', 'ray', 'scipy'}.intersection(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_json_has_the_same_numbers(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_shard(folder, [shadow(2), shadow(4)])
    write_shard(folder, [shadow(8)], failed=True)
    assert exit_code(["status", str(folder), "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [found[name] for name in ("total", "done", "failed", "phase_rows")] == [4, 2, 1, 14]
    assert found["first"] == "2026-01-01T00:00:00+00:00"
    assert found["failures"][0]["count"] == 1
    assert exit_code(["status", str(folder), "--format", "xml"]) == 2
