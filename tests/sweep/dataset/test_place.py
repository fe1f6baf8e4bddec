"""What lies beside the shards, and which folders are nobody's but the user's."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from core.config import Config
from sweep.cli import exit_code
from sweep.dataset.listing import finished
from sweep.dataset.place import check_place, clear_dataset, read_spec, write_spec
from sweep.dataset.store import Store, make_folders, open_store
from sweep.errors import StoreError
from tests.sweep.datasets import as_of_former_version, write_shard


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path))


def test_the_spec_is_kept_as_it_was_written(store: Store) -> None:
    write_spec(store, "name = 'ä'\n")
    assert read_spec(store) == "name = 'ä'\n"


def test_the_spec_of_an_earlier_run_is_kept_under_its_date(store: Store, tmp_path: Path) -> None:
    write_spec(store, "name = 'one'\n")
    os.utime(tmp_path / "spec.toml", (0, 0))
    write_spec(store, "name = 'one'\n")
    write_spec(store, "name = 'two'\n")
    assert read_spec(store) == "name = 'two'\n"
    assert {file.name: file.read_text() for file in (tmp_path / "specs").iterdir()} == {
        "until-1970-01-01T00-00-00.toml": "name = 'one'\n"
    }


def foreign_files(folder: Path) -> list[Path]:
    """Files that only look like those of a dataset."""
    files = [folder / "spec.toml", folder / "runs" / "mine.parquet", folder / "phases" / f"{7:016x}.parquet"]
    for file in files:
        file.parent.mkdir(exist_ok=True)
        pyarrow.parquet.write_table(pyarrow.table({"mine": [1]}), file)
    return files


@pytest.mark.parametrize("fresh", [False, True])
def test_a_folder_of_foreign_files_is_not_a_dataset_and_stays_as_it_is(
    store: Store, tmp_path: Path, fresh: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    files = foreign_files(tmp_path)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(StoreError, match=r"holds no dataset .*; choose another folder$"):
        check_place(store, fresh)
    assert exit_code(["status", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"splitsweep: {tmp_path}: no dataset there; `splitsweep run` makes one\n"
    assert all(file.exists() for file in files)


def test_an_empty_name_is_no_place(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["run", "examples/cover_letter.toml", "--results", ""]) == 2
    assert capsys.readouterr().err.startswith("splitsweep: results: an empty name is no place; allowed: a folder, or")


def test_an_empty_folder_and_one_with_hidden_files_alone_are_places(store: Store, tmp_path: Path) -> None:
    check_place(store, fresh=False)
    (tmp_path / ".lock").touch()
    check_place(store, fresh=True)


@pytest.mark.parametrize("former", [False, True])
def test_clearing_deletes_the_dataset_and_nothing_else(store: Store, tmp_path: Path, former: bool) -> None:
    make_folders(store)
    specs, *foreign = foreign_files(tmp_path)
    specs.unlink()
    write_spec(store, "name = 'x'")
    write_shard(tmp_path, [Config()])
    if former:
        for file in foreign:
            file.rename(file.with_suffix(".aside"))
        as_of_former_version(tmp_path, ["label"])
        for file in foreign:
            file.with_suffix(".aside").rename(file)
    assert len(finished(store)) == 1
    clear_dataset(store)
    assert finished(store) == set()
    assert read_spec(store) is None
    left = sorted(str(path) for table in ("runs", "phases") for path in (tmp_path / table).iterdir())
    assert left == sorted(map(str, foreign))
