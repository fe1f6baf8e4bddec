"""Files that are not what was written: found whatever is asked, named with their cure, and run again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from core.config import make_config
from sweep.cli import exit_code
from sweep.dataset.listing import CURE, finished
from sweep.dataset.query import select
from sweep.dataset.store import open_store
from sweep.dataset.upkeep import repair
from sweep.dataset.views import open_dataset
from tests.sweep.datasets import write_shard

Damage = Callable[[bytes], bytes]


def cut_off(content: bytes) -> bytes:
    return content[: len(content) // 2]


def nothing_left(content: bytes) -> bytes:
    return b""


def flipped_in_a_page(content: bytes) -> bytes:
    return content[:200] + bytes([content[200] ^ 1]) + content[201:]


def flipped_in_the_footer(content: bytes) -> bytes:
    return content[:-60] + bytes([content[-60] ^ 1]) + content[-59:]


DAMAGES: list[Damage] = [cut_off, nothing_left, flipped_in_a_page, flipped_in_the_footer]


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    write_shard(tmp_path, [make_config({"vcpus": 1})])
    write_shard(tmp_path, [make_config({"vcpus": 2})])
    return tmp_path


def damage_one(dataset: Path, table: str, damage: Damage) -> Path:
    file = sorted((dataset / table).glob("*.parquet"))[0]
    content = damage(file.read_bytes())
    file.unlink()  # what is read of the file so far is left alone
    file.write_bytes(content)
    return file


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("table", ["runs", "phases"])
@pytest.mark.parametrize(
    "command",
    [
        ["query", "{}", "SELECT count(*) FROM published"],
        ["table", "{}", "--metric", "dirty"],
        ["plot", "{}", "-o", "{}/chart.svg"],
        ["status", "{}"],
    ],
)
def test_every_reader_names_a_damaged_shard_and_its_cure(
    dataset: Path, command: list[str], table: str, damage: Damage, capsys: pytest.CaptureFixture[str]
) -> None:
    file = damage_one(dataset, table, damage)
    assert exit_code([word.format(dataset) for word in command]) == 2
    assert capsys.readouterr().err == f"splitsweep: results {dataset}: shard {file.stem} is damaged; {CURE}\n"


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_phases_are_put_aside_and_their_configs_are_to_be_run_again(dataset: Path, damage: Damage) -> None:
    store = open_store(str(dataset))
    file = damage_one(dataset, "phases", damage)
    assert len(finished(store)) == 1
    repair(store)
    assert len(finished(store)) == 1
    assert sorted(path.name for path in (dataset / "damaged").iterdir()) == [
        f"phases-{file.name}",
        f"runs-{file.name}",
    ]
    assert len(list((dataset / "phases").glob("*.parquet"))) == 1


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_runs_are_written_again_from_their_copy(dataset: Path, damage: Damage) -> None:
    store = open_store(str(dataset))
    before = {file.name: file.read_bytes() for file in (dataset / "runs").iterdir()}
    damage_one(dataset, "runs", damage)
    repair(store)
    assert {file.name: file.read_bytes() for file in (dataset / "runs").iterdir()} == before
    assert len(finished(store)) == 2


def test_check_says_that_all_is_well(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["check", str(dataset)]) == 0
    assert capsys.readouterr().out == f"{dataset}: 2 shards, sound\n"


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("table", ["runs", "phases"])
def test_check_finds_damage_and_says_its_cure(
    dataset: Path, table: str, damage: Damage, capsys: pytest.CaptureFixture[str]
) -> None:
    file = damage_one(dataset, table, damage)
    assert exit_code(["check", str(dataset)]) == 1
    first, *_, last = capsys.readouterr().out.splitlines()
    assert first.startswith(f"damaged: shard {file.stem}: ")
    assert "`splitsweep run` " in first
    assert last.endswith(", damaged")


def test_check_tells_what_is_only_untidy(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_shard(dataset, [make_config({"vcpus": 2})], started_at="2026-02-01T00:00:00Z")
    (sorted((dataset / "runs").glob("*.parquet"))[0]).unlink()
    assert exit_code(["check", str(dataset)]) == 0
    notes = capsys.readouterr().out
    assert "note: 1 shards whose runs file is still to come" in notes
    assert exit_code(["compact", str(dataset)]) == 0
    assert exit_code(["check", str(dataset)]) == 0
    assert capsys.readouterr().out.endswith(f"{dataset}: 1 shard, sound\n")


def test_compacting_under_a_reader_leaves_it_what_it_opened(dataset: Path) -> None:
    asked = "SELECT count(*) AS rows, sum(seconds) AS seconds FROM phases"
    with open_dataset(str(dataset)) as reader:
        before = select(reader, asked).to_pylist()
        assert exit_code(["compact", str(dataset)]) == 0
        assert len(list((dataset / "phases").glob("*.parquet"))) == 1
        assert select(reader, asked).to_pylist() == before
    with open_dataset(str(dataset)) as reader:
        assert select(reader, asked).to_pylist() == before
