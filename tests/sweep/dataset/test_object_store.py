"""Datasets on an object store, a real server: the same promises, with no lock and no rename."""

from __future__ import annotations

import multiprocessing
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import sweep.dataset.store as store_module
from core.config import config_record
from core.identity import ENGINE_VERSION, config_id
from core.rows import Row
from sweep.cli import exit_code
from sweep.dataset.listing import damaged, finished, list_shards
from sweep.dataset.query import query
from sweep.dataset.store import make_folders, open_store, write_shard
from sweep.dataset.upkeep import MERGE_FROM, compact, finish, only_writer, repair
from sweep.dataset.views import open_dataset
from sweep.errors import StoreError
from tests.sweep.engines import phase_rows, some_configs

CONFIGS = some_configs(*range(1, MERGE_FROM + 2))


def run_row(number: int) -> Row:
    named = {"config_id": config_id(CONFIGS[number]), **config_record(CONFIGS[number])}
    return named | {"status": "ok", "engine_version": ENGINE_VERSION, "source": "run", "attempts": 1}


def write(location: str, number: int) -> str:
    return write_shard(open_store(location), [run_row(number)], phase_rows(CONFIGS[number]))


def counted(location: str) -> list[int]:
    sql = "SELECT count(*) AS rows, count(DISTINCT seed) AS configs, sum(guest_seconds)::BIGINT AS s FROM phases"
    return list(query(location, sql).to_pylist()[0].values())


def test_a_dataset_on_an_object_store_is_written_merged_and_read_where_it_lies(bucket: str) -> None:
    location = bucket.format("sweep")
    for number in range(len(CONFIGS)):
        write(location, number)
    assert counted(location) == [66, 33, 4]
    finish(open_store(location))
    assert len(list_shards(open_store(location)).counting) == 1
    assert counted(location) == [66, 33, 4]
    assert len(finished(open_store(location))) == 33


def test_commands_take_its_uri(bucket: str, capsys: pytest.CaptureFixture[str]) -> None:
    location = bucket.format("sweep")
    write(location, 0)
    for command in (["status", location], ["check", location], ["compact", location], ["table", location]):
        words = [*command, "--metric", "dirty"] if command[0] == "table" else command
        assert exit_code(words) == 0, capsys.readouterr().err


def drive(location: str, act: Callable[[Any], None], until: Any) -> None:
    """What another driver does there, over and over."""
    while not until.is_set():
        act(open_store(location))


def test_other_drivers_that_start_and_end_all_the_time_take_no_row_away(bucket: str) -> None:
    location = bucket.format("sweep")
    processes = multiprocessing.get_context("spawn")
    until = processes.Event()
    with only_writer(open_store(location)):
        drivers = [processes.Process(target=drive, args=(location, act, until)) for act in (repair, compact, compact)]
        for driver in drivers:
            driver.start()
        try:
            for number in range(len(CONFIGS)):
                write(location, number)
        finally:
            until.set()
            for driver in drivers:
                driver.join()
    assert [driver.exitcode for driver in drivers] == [0, 0, 0]
    finish(open_store(location))
    assert counted(location) == [66, 33, 4]


def test_an_object_is_put_whole_or_not_at_all_when_the_writer_is_interrupted(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    location = bucket.format("sweep")
    store = open_store(location)

    def breaks_off(store: store_module.Store, path: str, content: Any) -> None:
        with store.filesystem.open_output_stream(path) as stream:
            stream.write(bytes(content)[:100])
            raise OSError("the server went away")

    monkeypatch.setattr(store_module, "_put", breaks_off)
    with pytest.raises(StoreError, match="cannot be written: the server went away"):
        write(location, 0)
    monkeypatch.undo()
    assert list_shards(store).cut_off == ()
    assert write(location, 0) in list_shards(store).counting


def test_a_cut_off_object_is_named_put_aside_and_run_again(bucket: str) -> None:
    location = bucket.format("sweep")
    store = open_store(location)
    name = write(location, 0)
    with store.filesystem.open_output_stream(store.file("phases", name)) as stream:
        stream.write(b"PAR1 and no more")
    with pytest.raises(StoreError, match=f"shard {name} is damaged; `splitsweep run` puts it aside"):
        query(location, "SELECT 1")
    assert finished(store) == set()
    repair(store)
    assert finished(store) == set()
    write(location, 0)
    assert counted(location) == [2, 1, 0]


@pytest.mark.parametrize("command", [["status"], ["query"], ["run", "spec.toml", "--results"]])
def test_a_bucket_that_does_not_exist_is_one_line(
    command: list[str], bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("spec.toml").write_text('name = "s"\n')
    location = bucket.replace("s3://key:secret@bucket-", "s3://key:secret@nobucket-").format("sweep")
    words = [*command, location, *(["SELECT 1"] if command == ["query"] else [])]
    assert exit_code([*words, "--address", "inline"] if command[0] == "run" else words) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def write_all(location: str, told: Any) -> None:
    """What a run leaves, over and over from its start; tells of every shard."""
    store = open_store(location)
    for number in range(len(CONFIGS)):
        write(location, number)
        told.send(number)
    finish(store)
    told.send("finished")


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.chaos) for seed in range(1, 20))])
def test_writers_killed_at_any_moment_leave_whole_objects_and_the_next_ends_the_same(
    seed: int, bucket: str, tmp_path: Path
) -> None:
    location = bucket.format("sweep")
    chance = random.Random(seed)
    processes = multiprocessing.get_context("spawn")
    for shards in (chance.randrange(len(CONFIGS)), len(CONFIGS) - 1):  # in the middle, and while it merges
        told, tell = processes.Pipe()
        writer = processes.Process(target=write_all, args=(location, tell))
        writer.start()
        while told.recv() != shards:
            pass
        time.sleep(chance.random() * 0.1)
        writer.kill()
        writer.join()
        repair(open_store(location))
        listing = list_shards(open_store(location))
        assert (listing.cut_off, damaged(open_store(location), listing.counting)) == ((), [])
    local = str(tmp_path / "undisturbed")
    make_folders(open_store(local))
    for place in (location, local):
        for number in range(len(CONFIGS)):
            write(place, number)
        finish(open_store(place))
    rows = [query(place, "SELECT * FROM phases ORDER BY config_id, phase, iteration") for place in (location, local)]
    assert rows[0].num_rows == 66
    assert rows[0].equals(rows[1])


def test_a_question_reads_only_the_columns_it_names(bucket: str) -> None:
    location = bucket.format("sweep")
    write(location, 0)
    with open_dataset(location) as dataset:
        ((_, plan),) = dataset.execute("EXPLAIN SELECT vcpus FROM phases WHERE seconds > 1").fetchall()
    assert "vcpus" in plan
    assert "stall_max_ns" not in plan
