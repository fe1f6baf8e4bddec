"""The dataset of a sweep: Parquet shards in a folder or under any filesystem URI that pyarrow knows.

    LOCATION/spec.toml                  the resolved spec
    LOCATION/runs/NAME.parquet          one row per config
    LOCATION/phases/NAME.parquet        their phases, one row per config, phase and iteration

The files are the protocol between workers, driver and readers; nothing else is kept. The rules:

* Both files of a shard carry the name of the batch. The phases are written first: a row in `runs` with status `ok`
  promises that its phases are there. A shard of which one file is missing does not count, and is run again.
* A file appears whole or not at all: written under a hidden name (`.NAME.tmp`) and renamed, or put in one piece where
  the filesystem is an object store. Readers skip hidden names, as pandas, Spark and DuckDB's globs do.
* A worker never changes a file of another batch. Whatever a kill leaves behind is put right by the driver, when the
  next run starts: see sweep/dataset/upkeep.py.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.fs as fs
import pyarrow.parquet as pq

from core.rows import PHASE_COLUMNS, PROVENANCE_COLUMNS, RUN_COLUMNS, Column, Row
from sweep.dataset.arrow import spare_pandas
from sweep.errors import StoreError

spare_pandas()

RUNS: Final = "runs"
PHASES: Final = "phases"

_TYPES: Final = {
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
    str: pa.string(),
    datetime: pa.timestamp("us", tz="UTC"),
}
_OBJECT_STORES: Final = ("s3", "gcs", "abfs")
_SHARD_FILE: Final = re.compile(r"(?P<name>(?:merged-)?[0-9a-f]{16})\.parquet")
_TEMPORARY_FILE: Final = re.compile(r"\..+\.tmp")


def _schema(columns: Sequence[Column]) -> Any:
    return pa.schema([pa.field(column.name, _TYPES[column.kind]) for column in columns])


SCHEMAS: Final = {RUNS: _schema(RUN_COLUMNS), PHASES: _schema(PHASE_COLUMNS)}


@dataclass(frozen=True, slots=True)
class Store:
    """A place for a dataset; there need not be one yet. Can be sent to workers."""

    location: str  # as the user wrote it
    filesystem: Any  # pyarrow.fs.FileSystem
    path: str

    def file(self, table: str, name: str) -> str:
        return f"{self.path}/{table}/{name}.parquet"

    @property
    def is_local(self) -> bool:
        return str(self.filesystem.type_name) == "local"


def open_store(location: str) -> Store:
    """The store at a folder or URI, which need not exist yet. Nothing is written; StoreError if it cannot be one."""
    try:
        if "://" in location:
            filesystem, path = fs.FileSystem.from_uri(location)
        else:
            filesystem, path = fs.LocalFileSystem(), os.path.abspath(os.path.expanduser(location))
        store = Store(location, filesystem, path.rstrip("/"))
        kind = filesystem.get_file_info(store.path).type
    except (OSError, ValueError) as error:
        raise StoreError(f"results {location}: cannot be opened: {_reason(error)}") from None
    if kind == fs.FileType.File:
        raise StoreError(f"results {location}: is a file; allowed: a folder, or a URI such as s3://bucket/folder")
    return store


def make_folders(store: Store) -> None:
    """Create what is missing of the dataset's folders, and make sure that it can be written."""
    try:
        for table in (RUNS, PHASES):
            store.filesystem.create_dir(f"{store.path}/{table}", recursive=True)
            if store.is_local and not os.access(f"{store.path}/{table}", os.W_OK):
                raise PermissionError(None, "Permission denied")
    except OSError as error:
        raise StoreError(f"results {store.location}: cannot be written: {_reason(error)}") from None


def write_shard(store: Store, name: str, runs: Sequence[Row], phases: Sequence[Row]) -> None:
    """Write both files of a shard, replacing a former one of this name. Phases get their run's provenance."""
    provenance = {
        run["config_id"]: {column.name: run.get(column.name) for column in PROVENANCE_COLUMNS} for run in runs
    }
    phases = [row | provenance[row["config_id"]] for row in phases]
    for table, rows in ((PHASES, phases), (RUNS, runs)):
        columns = _columns(SCHEMAS[table], rows)
        write_table(store, table, name, columns, compression="snappy")  # zstd takes twice as long on so few rows


def _columns(schema: Any, rows: Sequence[Row]) -> Any:
    """A pyarrow Table of the rows; Table.from_pylist does the same, more slowly."""
    named = zip(schema.names, schema.types, strict=True)
    arrays = [pa.array([row.get(name) for row in rows], kind) for name, kind in named]
    return pa.Table.from_arrays(arrays, schema=schema)


def in_schema(table: str, rows: Any) -> Any:
    """The rows of any version with today's columns: those that came later are null."""
    schema = SCHEMAS[table]
    nothing = pa.nulls(rows.num_rows)
    arrays = [
        (rows[name] if name in rows.column_names else nothing).cast(kind)
        for name, kind in zip(schema.names, schema.types, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def write_table(store: Store, table: str, name: str, rows: Any, compression: str = "zstd") -> None:
    """Write a pyarrow Table as one file of the dataset, whole or not at all."""
    try:
        _write_whole(store, table, name, rows, compression)
    except OSError as error:
        where = f"results {store.location}: {table}/{name}.parquet"
        raise StoreError(f"{where}: cannot be written: {_reason(error)}") from None


def _write_whole(store: Store, table: str, name: str, rows: Any, compression: str) -> None:
    sink = pa.BufferOutputStream()  # in memory first: a stream to an object store that breaks off leaves half a file
    pq.write_table(rows, sink, compression=compression)
    content = sink.getvalue()
    final = store.file(table, name)
    if str(store.filesystem.type_name) in _OBJECT_STORES:
        _put(store, final, content)
        return
    hidden = f"{store.path}/{table}/.{name}.{os.getpid()}.tmp"
    if store.is_local:
        with open(hidden, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # a name must not outlive its content in a power failure
        os.replace(hidden, final)
    else:
        _put(store, hidden, content)
        store.filesystem.move(hidden, final)


def _put(store: Store, path: str, content: Any) -> None:
    with store.filesystem.open_output_stream(path) as stream:
        stream.write(content)


def shard_names(store: Store) -> list[str]:
    """Names of the shards that count: both files are there, and no merged shard holds their rows already."""
    complete = file_names(store, RUNS) & file_names(store, PHASES)
    return sorted(complete - merged_into(store, complete).keys())


def finished(store: Store) -> set[str]:
    """The config_ids that need not be run again: those with status ok."""
    rows = scan_runs(store, shard_names(store), ["config_id", "status"])
    statuses = zip(rows["config_id"].to_pylist(), rows["status"].to_pylist(), strict=True)
    return {config_id for config_id, status in statuses if status == "ok"}


def scan_runs(store: Store, names: Iterable[str], columns: Sequence[str]) -> Any:
    """These columns of the runs in the shards `names`, as a pyarrow Table; `__filename` may be among the columns."""
    files = [store.file(RUNS, name) for name in names]
    if not files:
        return pa.table({column: pa.array([], pa.string()) for column in columns})
    import pyarrow.dataset as ds  # only where shards are read

    try:
        found = ds.dataset(files, schema=SCHEMAS[RUNS], format="parquet", filesystem=store.filesystem)
        return found.to_table(columns=list(columns))
    except (OSError, pa.ArrowInvalid) as error:
        raise StoreError(f"results {store.location}: a shard cannot be read: {_reason(error)}") from None


def file_names(store: Store, table: str) -> set[str]:
    """Names of the shards that have a file in this table's folder."""
    matches = (_SHARD_FILE.fullmatch(Path(path).name) for path in _files(store, table))
    return {match["name"] for match in matches if match}


def merged_into(store: Store, names: Iterable[str]) -> dict[str, str]:
    """For each shard whose rows a merged shard among `names` holds too: the name of that one."""
    former: dict[str, str] = {}
    for name in names:
        if name.startswith("merged-"):
            metadata = pq.read_schema(store.file(RUNS, name), filesystem=store.filesystem).metadata or {}
            former |= dict.fromkeys(metadata.get(MERGED_KEY, b"").decode().split(), name)
    return former


MERGED_KEY: Final = b"splitsweep.merged"
"""Parquet metadata of a merged shard: the names of the shards whose rows it holds."""


def temporary_files(store: Store) -> list[str]:
    """What a killed worker left behind."""
    files = [*_files(store, RUNS), *_files(store, PHASES)]
    return [path for path in files if _TEMPORARY_FILE.fullmatch(Path(path).name)]


def _files(store: Store, table: str) -> list[str]:
    selector = fs.FileSelector(f"{store.path}/{table}", allow_not_found=True)
    return [info.path for info in store.filesystem.get_file_info(selector) if info.type == fs.FileType.File]


def write_spec(store: Store, text: str) -> None:
    """Keep the resolved spec beside the results."""
    try:
        store.filesystem.create_dir(store.path, recursive=True)
        _put(store, f"{store.path}/spec.toml", text.encode())
    except OSError as error:
        raise StoreError(f"results {store.location}: cannot be written: {_reason(error)}") from None


def read_spec(store: Store) -> str | None:
    """The resolved spec, or None where there is none."""
    try:
        with store.filesystem.open_input_stream(f"{store.path}/spec.toml") as stream:
            return bytes(stream.read()).decode()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"results {store.location}: spec.toml cannot be read: {_reason(error)}") from None


def clear_dataset(store: Store) -> None:
    """Delete the dataset: its spec and shards, and no file that is not of our making."""
    delete(store, [store.file(RUNS, name) for name in file_names(store, RUNS)])
    delete(store, [store.file(PHASES, name) for name in file_names(store, PHASES)])
    delete(store, [*temporary_files(store), f"{store.path}/spec.toml"])


def delete(store: Store, paths: Iterable[str]) -> None:
    """Delete files; one that is not there is deleted already."""
    for path in paths:
        _delete_file(store, path)


def _delete_file(store: Store, path: str) -> None:
    try:
        store.filesystem.delete_file(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise StoreError(f"results {store.location}: cannot delete {path}: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    """The first line of what the system says, without pyarrow's account of its own layers."""
    text = getattr(error, "strerror", None) or str(error)
    return str(text).splitlines()[0] if str(text) else type(error).__name__
