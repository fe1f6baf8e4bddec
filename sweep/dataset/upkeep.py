"""What the driver does to a dataset before and after a run: put right what a kill left, and merge small shards.

Only one driver writes a dataset at a time; on a local filesystem a lock sees to that, which the kernel releases when
the driver dies. Workers of a killed driver may live on for a second or two, so nothing here relies on their absence.

A killed run leaves one of these, each harmless to readers that follow store.py and repaired by `begin`:

* hidden temporary files: deleted;
* one file of a shard without the other: deleted, the configs are run again;
* a merge that was not finished: merged file and former shards are there. The merged file names them: they are deleted;
* one config in two shards (a straggling worker of the former driver): the older row goes, ok before failed.

A config that failed and is run again leaves the failed row behind; `begin` takes it out before the new one can come,
so a plain reader of all files never sees both.
"""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Iterator, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sweep.dataset.store import (
    MERGED_KEY,
    PHASES,
    RUNS,
    Store,
    delete,
    file_names,
    in_schema,
    make_folders,
    merged_into,
    scan_runs,
    shard_names,
    temporary_files,
    write_table,
)
from sweep.errors import StoreError

MERGE_FROM: Final = 32
"""Shards below this number are left as they are: DuckDB opens them in about 10 ms."""

MERGED_BYTES: Final = 64 * 2**20
"""Size of the phases in a merged file, about; bounds the driver's memory."""

_BEFORE_ALL: Final = datetime.min.replace(tzinfo=UTC)  # an imported row has no time of its own

_READERS: Final = 4  # the workers are done, and an object store takes its time for each file


@contextmanager
def only_writer(store: Store) -> Iterator[None]:
    """Hold the dataset for this process; StoreError if another one writes it. Object stores have no such lock."""
    make_folders(store)
    if not store.is_local:
        yield
        return
    with open(Path(store.path) / ".lock", "a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreError(
                f"results {store.location}: another run is writing there; wait for it, or choose another folder"
            ) from None
        except OSError:
            pass  # a network filesystem without locks
        yield


def begin(store: Store, to_run: Set[str]) -> None:
    """Make the dataset ready for running the configs `to_run`: repaired, and without their failed rows."""
    repair(store)
    _drop_rows(store, _superseded(store, to_run))


def finish(store: Store) -> None:
    """Leave a dataset that any reader can take as it is: repaired, nothing doubled, few files."""
    repair(store)
    _drop_rows(store, _superseded(store, frozenset()))
    merge_shards(store)


def repair(store: Store) -> None:
    """Delete what an interrupted write or merge left behind."""
    delete(store, temporary_files(store))
    runs, phases = file_names(store, RUNS), file_names(store, PHASES)
    delete(store, [store.file(RUNS, name) for name in runs - phases])
    delete(store, [store.file(PHASES, name) for name in phases - runs])
    _delete_shards(store, merged_into(store, runs & phases).keys() & (runs & phases))


def merge_shards(store: Store) -> None:
    """Copy the rows of many small shards into few files, then delete the shards.

    Killed at any point, no row is lost. Between the two steps a reader that just takes all files sees rows twice; the
    merged file names its shards, so `shard_names` and `repair` know.
    """
    small = [name for name in shard_names(store) if not name.startswith("merged-")]
    if len(small) < MERGE_FROM:
        return
    for group in _groups(store, small):
        digest = hashlib.sha256(",".join(group).encode()).hexdigest()[:16]
        for table in (PHASES, RUNS):
            with ThreadPoolExecutor(_READERS) as readers:
                rows = pa.concat_tables(readers.map(partial(_read, store, table), group), promote_options="default")
            write_table(store, table, f"merged-{digest}", rows.replace_schema_metadata({MERGED_KEY: " ".join(group)}))
        _delete_shards(store, group)


def _groups(store: Store, names: list[str]) -> Iterator[list[str]]:
    group: list[str] = []
    size = 0
    for info in store.filesystem.get_file_info([store.file(PHASES, name) for name in names]):
        group.append(Path(info.path).stem)
        size += info.size
        if size >= MERGED_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _superseded(store: Store, to_run: Set[str]) -> dict[str, set[str]]:
    """Rows that have to go, as config_ids by shard: failed ones of `to_run`, and all but the best of each config."""
    table = scan_runs(store, shard_names(store), ["config_id", "status", "started_at", "__filename"])
    table = table.filter(_candidates(table, to_run))
    rows = zip(*(table[column].to_pylist() for column in table.column_names), strict=True)
    superseded: dict[str, set[str]] = {}
    best: dict[str, tuple[bool, datetime, str]] = {}
    for config_id, status, started_at, file in rows:
        rank = (status == "ok", started_at or _BEFORE_ALL, Path(file).stem)
        if status == "failed" and config_id in to_run:
            superseded.setdefault(rank[2], set()).add(config_id)
            continue
        worse = min(rank, best.get(config_id, rank))
        if config_id in best:
            superseded.setdefault(worse[2], set()).add(config_id)
        best[config_id] = max(rank, best.get(config_id, rank))
    return superseded


def _candidates(table: Any, to_run: Set[str]) -> Any:
    """Which rows may have to go. Nearly all do not, and are looked at here only, where a million take no time."""
    counts = pc.value_counts(table["config_id"])
    doubled = counts.field("values").filter(pc.greater(counts.field("counts"), 1))
    failed = pc.equal(table["status"], "failed")
    again = pc.is_in(table["config_id"], pa.array(sorted(to_run), pa.string()))
    return pc.or_kleene(pc.is_in(table["config_id"], doubled), pc.and_kleene(failed, again))


def _drop_rows(store: Store, superseded: dict[str, set[str]]) -> None:
    for name, config_ids in superseded.items():
        for table in (PHASES, RUNS):  # in this order: a run without phases would promise what is not there
            rows = _read(store, table, name)
            kept = rows.filter(pc.invert(pc.is_in(rows["config_id"], pa.array(sorted(config_ids), pa.string()))))
            if table == RUNS and not kept.num_rows:
                _delete_shards(store, [name])
            elif kept.num_rows < rows.num_rows:
                write_table(store, table, name, kept)


def _read(store: Store, table: str, name: str) -> Any:
    try:
        file = store.filesystem.open_input_file(store.file(table, name))
        return in_schema(table, pq.ParquetFile(file).read(use_threads=False))
    except (OSError, pa.ArrowInvalid) as error:
        raise StoreError(f"results {store.location}: {table}/{name}.parquet cannot be read: {error}") from None


def _delete_shards(store: Store, names: Any) -> None:
    """Delete both files of each shard."""
    delete(store, [store.file(table, name) for name in sorted(names) for table in (RUNS, PHASES)])
