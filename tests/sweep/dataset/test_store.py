"""The dataset on disk: what a plain reader sees, whatever was killed when."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pandas
import pyarrow.parquet as pq
import pytest

import sweep.dataset.store as store_module
from core.config import LIVE_FIELDS, Config
from core.identity import config_id
from core.rows import PHASE_COLUMNS, PROVENANCE_COLUMNS, RUN_COLUMNS, Row
from sweep.dataset.listing import finished, list_shards
from sweep.dataset.store import Store, open_store, write_shard
from sweep.dataset.upkeep import MERGE_FROM, compact, finish, only_writer, repair
from sweep.errors import StoreError
from tests.sweep.datasets import as_of_former_version
from tests.sweep.engines import phase_rows, shards, some_configs


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = open_store(str(tmp_path / "dataset"))
    with only_writer(store):
        return store


def run_row(config: Config, status: str = "ok", started_at: str = "2026-01-01T00:00:00+00:00") -> Row:
    when = datetime.fromisoformat(started_at).replace(tzinfo=UTC)
    return {"config_id": config_id(config), "seed": config.seed, "status": status, "started_at": when}


def write(store: Store, *configs: Config, status: str = "ok", started_at: str = "2026-01-01") -> str:
    """A shard of configs that all went well, or all failed; its name."""
    phases = [row for config in configs for row in phase_rows(config)] if status == "ok" else []
    return write_shard(store, [run_row(config, status, started_at) for config in configs], phases)


def seeds(store: Store, table: str = "runs") -> list[int]:
    """The seeds in a table as plain pandas reads it."""
    return sorted(pandas.read_parquet(f"{store.path}/{table}")["seed"])


A, B, C = some_configs(1, 2, 3)


def test_both_tables_have_all_their_columns_in_order(store: Store) -> None:
    write(store, A)
    assert list(pandas.read_parquet(f"{store.path}/runs").columns) == [column.name for column in RUN_COLUMNS]
    assert list(pandas.read_parquet(f"{store.path}/phases").columns) == [column.name for column in PHASE_COLUMNS]


def test_shards_are_written_and_read_without_importing_pandas_which_is_there_all_the_same(store: Store) -> None:
    program = (
        "import sys\n"
        "from sweep.dataset.listing import finished\n"
        "from sweep.dataset.store import open_store, write_shard\n"
        "store = open_store(sys.argv[1])\n"
        "write_shard(store, [{'config_id': 'x', 'status': 'ok'}], [{'config_id': 'x'}])\n"
        "print(finished(store), 'pandas' in sys.modules)\n"
        "import pyarrow.parquet\n"
        "print(len(pyarrow.parquet.read_table(store.path + '/runs').to_pandas()), 'pandas' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, store.path], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["{'x'} False", "1 True"]


def test_column_types_do_not_depend_on_the_values(store: Store) -> None:
    write(store, A)
    described = duckdb.execute(f"DESCRIBE SELECT * FROM '{store.path}/runs/*.parquet'").fetchall()
    types = {name: kind for name, kind, *_ in described}
    expected = {int: "BIGINT", float: "DOUBLE", str: "VARCHAR", bool: "BOOLEAN"}
    expected[datetime] = "TIMESTAMP WITH TIME ZONE"
    assert types == {column.name: expected[column.kind] for column in RUN_COLUMNS}


def test_phases_say_where_they_come_from_as_their_run_does(store: Store) -> None:
    provenance = {"engine_version": "2", "profile_digest": "d" * 16, "host": "node-a", "kernel_release": "6.12.0"}
    provenance |= {"source": "run", "started_at": datetime(2026, 1, 1, tzinfo=UTC), "git_revision": None}
    name = write_shard(store, [run_row(A) | provenance, run_row(B)], phase_rows(A) + phase_rows(B))
    assert list(provenance) == [column.name for column in PROVENANCE_COLUMNS]
    for table in ("runs", "phases"):
        rows = pq.read_table(store.file(table, name)).to_pylist()
        assert [row for row in rows if row["seed"] == A.seed and not row.items() >= provenance.items()] == []
        assert {row["host"] for row in rows if row["seed"] == B.seed} == {None}


def test_finished_configs_are_those_with_status_ok(store: Store) -> None:
    write(store, A, B)
    write(store, C, status="failed")
    assert finished(store) == {config_id(A), config_id(B)}


def test_nothing_is_finished_where_nothing_is(tmp_path: Path) -> None:
    assert finished(open_store(str(tmp_path / "nowhere"))) == set()
    assert not (tmp_path / "nowhere").exists()


def test_uris_are_places_too(tmp_path: Path) -> None:
    store = open_store(f"file://{tmp_path}/dataset")
    with only_writer(store):
        write(store, A)
    assert finished(open_store(str(tmp_path / "dataset"))) == {config_id(A)}


def test_a_file_is_no_place_for_results(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"^results .*/file: is a file; allowed: a folder"):
        open_store(str(tmp_path / "file"))


def test_an_unknown_kind_of_uri_is_an_error_in_one_line() -> None:
    with pytest.raises(StoreError, match=r"^results ftp://host/x: cannot be opened: [^\n]*$"):
        open_store("ftp://host/x")


def test_a_folder_below_a_file_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(StoreError, match=r"^results .*: cannot be [^\n]*$"),
        only_writer(open_store(str(tmp_path / "file" / "dataset"))),
    ):
        pass


def test_two_runs_cannot_write_one_dataset(store: Store) -> None:
    with only_writer(store), pytest.raises(StoreError, match="another run is writing there"), only_writer(store):
        pass


def dead_process() -> int:
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


def temporary_file(store: Store, host: str, pid: int) -> Path:
    file = Path(store.path) / "runs" / f".{'b' * 16}.{host}.{pid}.tmp"
    file.write_bytes(b"PAR1 half")
    return file


def test_a_temporary_file_is_not_read_and_goes_once_its_writer_is_dead(store: Store) -> None:
    write(store, A)
    left = temporary_file(store, socket.gethostname(), dead_process())
    assert seeds(store) == [1]
    assert finished(store) == {config_id(A)}
    repair(store)
    assert not left.exists()


def test_a_temporary_file_that_somebody_may_be_writing_stays(store: Store) -> None:
    ours = temporary_file(store, socket.gethostname(), os.getpid())
    elsewhere = temporary_file(store, "node-b", dead_process())
    repair(store)
    assert ours.exists()
    assert elsewhere.exists()
    os.utime(elsewhere, (0, 0))
    repair(store)
    assert not elsewhere.exists()


def test_phases_whose_writer_died_get_their_runs_from_their_own_copy(store: Store) -> None:
    name = write(store, A, B)
    file = Path(store.file("runs", name))
    content = file.read_bytes()
    file.unlink()
    assert finished(store) == {config_id(A), config_id(B)}
    repair(store)
    assert file.read_bytes() == content


def test_runs_without_phases_are_what_an_interrupted_deletion_left(store: Store) -> None:
    write(store, A)
    Path(store.file("phases", write(store, B))).unlink()
    assert finished(store) == {config_id(A)}
    repair(store)
    assert seeds(store) == [1]


def test_a_failed_row_goes_once_its_config_was_run_again(store: Store) -> None:
    write(store, A, status="failed")
    write_shard(store, [run_row(B, "failed"), run_row(C)], phase_rows(C))
    write(store, A, B, started_at="2026-01-02")
    finish(store)
    assert seeds(store) == [1, 2, 3]
    assert set(pandas.read_parquet(f"{store.path}/runs")["status"]) == {"ok"}
    assert seeds(store, "phases") == [1, 1, 2, 2, 3, 3]


def test_a_failed_row_stays_while_its_config_is_not_run_again(store: Store) -> None:
    write(store, A, status="failed")
    finish(store)
    assert seeds(store) == [1]


@pytest.mark.parametrize("first", ["ok", "failed"])
def test_of_a_config_in_two_shards_one_is_kept_ok_before_failed(store: Store, first: str) -> None:
    second = "failed" if first == "ok" else "ok"
    write(store, A, B, status=first, started_at="2026-01-01")
    write(store, B, C, status=second, started_at="2026-01-02")
    finish(store)
    assert seeds(store) == [1, 2, 3]
    runs = pandas.read_parquet(f"{store.path}/runs").set_index("seed")
    assert runs.loc[2, "status"] == "ok"
    assert seeds(store, "phases") == sorted(2 * runs.index[runs["status"] == "ok"].tolist())


def many_shards(store: Store) -> list[int]:
    configs = some_configs(*range(1, MERGE_FROM + 2))
    for config in configs:
        write(store, config)
    return [config.seed for config in configs]


def test_many_shards_become_one(store: Store) -> None:
    everything = many_shards(store)
    finish(store)
    assert [len(shards(store, table)) for table in ("runs", "phases")] == [1, 1]
    assert seeds(store) == everything
    assert seeds(store, "phases") == sorted(2 * everything)
    assert len(finished(store)) == len(everything)


def test_shards_from_before_the_live_engine_and_labels_merge_with_newer_ones(store: Store) -> None:
    (old,) = some_configs(1000)
    write(store, old)
    as_of_former_version(Path(store.path), [*LIVE_FIELDS, "label", "profile_digest", "source"])
    everything = many_shards(store)
    finish(store)
    assert [len(shards(store, table)) for table in ("runs", "phases")] == [1, 1]
    assert seeds(store) == [*everything, 1000]
    assert set(pandas.read_parquet(f"{store.path}/phases")["guest_seconds"].dropna()) == {0.125}


def test_few_shards_stay_as_they_are(store: Store) -> None:
    name = write(store, A)
    finish(store)
    assert list_shards(store).counting == (name,)


def test_compacting_leaves_one_file_even_of_few(store: Store) -> None:
    for config in (A, B):
        write(store, config)
    compact(store)
    (name,) = list_shards(store).counting
    compact(store)
    assert list_shards(store).counting == (name,)
    assert seeds(store) == [1, 2]
    assert seeds(store, "phases") == [1, 1, 2, 2]


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


# Writing both tables, then deleting both files of MERGE_FROM + 1 shards.
KILLED_AFTER = [(0, 0), (1, 0), (2, 0), (2, 1), (2, MERGE_FROM), (2, 2 * MERGE_FROM + 1)]


@pytest.mark.parametrize(("writes", "deletions"), KILLED_AFTER)
def test_a_merge_killed_at_any_point_loses_and_doubles_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch, writes: int, deletions: int
) -> None:
    everything = many_shards(store)
    _die_after(monkeypatch, store_module, "_write_whole", writes)
    _die_after(monkeypatch, store_module, "_delete_file", deletions)
    with pytest.raises(Killed):
        finish(store)
    monkeypatch.undo()
    assert len(finished(store)) == len(everything)
    finish(store)
    assert seeds(store) == everything
    assert seeds(store, "phases") == sorted(2 * everything)


def _die_after(monkeypatch: pytest.MonkeyPatch, owner: object, name: str, calls: int) -> None:
    original = getattr(owner, name)
    left = calls

    def limited(*args: object) -> object:
        nonlocal left
        if left == 0:
            raise Killed
        left -= 1
        return original(*args)

    monkeypatch.setattr(owner, name, limited)
