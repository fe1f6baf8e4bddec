"""The dataset of a sweep: Parquet shards in a folder or under any filesystem URI that pyarrow knows.

    LOCATION/spec.toml                  the resolved spec
    LOCATION/specs/                     the specs of earlier runs, where they differ
    LOCATION/runs/NAME.parquet          one row per config
    LOCATION/phases/NAME.parquet        their phases, one row per config, phase and iteration
    LOCATION/damaged/                   files that were not what was written

The files are the protocol between workers, drivers and readers; nothing else is kept. The rules:

* A file appears whole or not at all: written under a hidden name (`.NAME.HOST.PID.tmp`) and renamed, or put in one
  piece where the filesystem is an object store. Readers skip hidden names, as pandas, Spark and DuckDB's globs do.
* No file ever changes: a name stands for its content (sweep/dataset/shard.py).
* A shard counts once both of its files are there, until a shard that names it as a former one counts.
* Nobody deletes a file whose rows do not stand in another one that counts (sweep/dataset/upkeep.py), so any number of
  drivers may write one dataset at once, with no lock between them.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit
from urllib.request import getproxies

import pyarrow as pa
import pyarrow.fs as fs

from core.rows import Row
from sweep.asking import within
from sweep.dataset.arrow import spare_memory, spare_pandas
from sweep.dataset.schema import PHASES, RUNS
from sweep.dataset.shard import Shard, shard_of_rows
from sweep.errors import StoreError
from sweep.secrets import hide_secrets, with_secrets, without_secrets

spare_pandas()
spare_memory()

OBJECT_STORES: Final = ("s3", "gcs", "abfs")

CONNECT_SECONDS: Final = 3.0
ANSWER_SECONDS: Final = 6.0
"""Longest time for the first word of a remote filesystem."""

_TRIES: Final = 3
"""Times a file is written whose hidden name somebody cleans up, or that an object store took in part."""


@dataclass(frozen=True, slots=True)
class Store:
    """A place for a dataset; there need not be one yet. Can be sent to workers."""

    location: str  # as the user wrote it, without credentials
    filesystem: Any  # pyarrow.fs.FileSystem
    path: str

    def file(self, table: str, name: str) -> str:
        return f"{self.path}/{table}/{name}.parquet"

    @property
    def is_local(self) -> bool:
        return str(self.filesystem.type_name) == "local"


def open_store(location: str) -> Store:
    """The store at a folder or URI, which need not exist yet. Nothing is written; StoreError if it cannot be one."""
    location = hide_secrets(location)
    if not location.strip():
        raise StoreError("results: an empty name is no place; allowed: a folder, or a URI such as s3://bucket/folder")
    try:
        if "://" in location:
            filesystem, path, kind = within(ANSWER_SECONDS, partial(_reached, with_secrets(location)))
        else:
            filesystem, path = fs.LocalFileSystem(), os.path.abspath(os.path.expanduser(location))
            kind = filesystem.get_file_info(path.rstrip("/")).type
        store = Store(location, filesystem, path.rstrip("/"))
    except (OSError, ValueError) as error:
        raise StoreError(f"results {location}: cannot be opened: {reason(error)}") from None
    if kind == fs.FileType.File:
        raise StoreError(f"results {location}: is a file; allowed: a folder, or a URI such as s3://bucket/folder")
    return store


def _reached(uri: str) -> tuple[Any, str, Any]:
    """The filesystem of a URI, the path in it, and what is there; OSError where that cannot be a dataset's place."""
    place = endpoint(uri)
    if place is not None:
        _check_listens(*place)
    filesystem, path = fs.FileSystem.from_uri(uri)
    kind = filesystem.get_file_info(path.rstrip("/")).type
    if kind == fs.FileType.NotFound and str(filesystem.type_name) == "s3" and "allow_bucket_creation" not in uri:
        _check_bucket(filesystem, path.split("/")[0])
    return filesystem, path, kind


def _check_bucket(filesystem: Any, bucket: str) -> None:
    """Raise OSError where there is none: what is asked for in it would only be said not to be there."""
    if filesystem.get_file_info(bucket).type == fs.FileType.NotFound:
        raise OSError(f"there is no bucket {bucket}; create it first, or name one that is there")


def _check_listens(host: str, port: int) -> None:
    """Raise OSError where nobody listens: the clients try for minutes to find out."""
    try:
        socket.create_connection((host, port), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        raise OSError(f"{host}:{port} cannot be reached from here: {reason(error)}") from None


def endpoint(uri: str) -> tuple[str, int] | None:
    """Host and port of the server that a URI of an object store means; None where that cannot be told or asked."""
    parts = urlsplit(uri)
    override = parse_qs(parts.query).get("endpoint_override", [""])[0]
    if parts.scheme == "s3":
        override = override or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
    host = override or {"s3": "s3.amazonaws.com", "gs": "storage.googleapis.com"}.get(parts.scheme, "")
    if not host or getproxies():
        return None
    server = urlsplit(host if "://" in host else f"//{host}")
    return (server.hostname, server.port or (80 if server.scheme == "http" else 443)) if server.hostname else None


def make_folders(store: Store) -> None:
    """Create what is missing of the dataset's folders, and make sure that it can be written."""
    try:
        for table in (RUNS, PHASES):
            store.filesystem.create_dir(f"{store.path}/{table}", recursive=True)
            if store.is_local and not os.access(f"{store.path}/{table}", os.W_OK):
                raise PermissionError(None, "Permission denied")
    except OSError as error:
        raise StoreError(f"results {store.location}: cannot be written: {reason(error)}") from None


def write_shard(store: Store, runs: list[Row], phases: list[Row]) -> str:
    """Write the rows of some configs as a shard; its name."""
    shard = shard_of_rows(runs, phases)
    put_shard(store, shard)
    return shard.name


def put_shard(store: Store, shard: Shard) -> None:
    """Write both files of a shard, the one that holds everything first."""
    put_file(store, store.file(PHASES, shard.name), shard.phases)
    put_file(store, store.file(RUNS, shard.name), shard.runs)


def put_file(store: Store, path: str, content: Any) -> None:
    """Write a file of the dataset, whole or not at all."""
    try:
        _write_whole(store, path, content)
    except OSError as error:
        where = f"results {store.location}: {path.removeprefix(store.path + '/')}"
        raise StoreError(f"{where}: cannot be written: {reason(error)}") from None


def _write_whole(store: Store, path: str, content: Any) -> None:
    for left in reversed(range(_TRIES)):
        try:
            if str(store.filesystem.type_name) in OBJECT_STORES:
                _put_object(store, path, content)
            else:
                _put_and_rename(store, path, content)
            return
        except FileNotFoundError:
            if not left:
                raise


def _put_and_rename(store: Store, path: str, content: Any) -> None:
    folder, name = path.rsplit("/", 1)
    hidden = f"{folder}/.{name.removesuffix('.parquet')}.{socket.gethostname()}.{os.getpid()}.tmp"
    if not store.is_local:
        _put(store, hidden, content)
        store.filesystem.move(hidden, path)
        return
    try:
        with open(hidden, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # a name must not outlive its content in a power failure
        os.replace(hidden, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(hidden)
        raise


def _put_object(store: Store, path: str, content: Any) -> None:
    """An object appears when its stream is closed, with whatever came so far: nothing may interrupt that.

    A signal's exception reaches the main thread only; what an error of the store leaves behind is taken away.
    """
    with ThreadPoolExecutor(1) as thread:
        try:
            thread.submit(_put, store, path, content).result()
        except OSError:
            with contextlib.suppress(OSError):
                if store.filesystem.get_file_info(path).size != len(content):
                    store.filesystem.delete_file(path)
            raise


def _put(store: Store, path: str, content: Any) -> None:
    with store.filesystem.open_output_stream(path) as stream:
        stream.write(content)


def read_file(store: Store, path: str) -> Any:
    """The bytes of a file, as a pyarrow Buffer; of a local one they stay readable when somebody deletes it."""
    if store.is_local:
        with pa.memory_map(path) as file:
            return file.read_buffer()
    with store.filesystem.open_input_file(path) as file:
        return file.read_buffer()


def listed(store: Store, folder: str) -> dict[str, int]:
    """The files in one of the dataset's folders by name, with their sizes; hidden ones too."""
    selector = fs.FileSelector(f"{store.path}/{folder}", allow_not_found=True)
    try:
        found = store.filesystem.get_file_info(selector)
    except OSError as error:
        raise StoreError(f"results {store.location}: cannot be read: {reason(error)}") from None
    return {info.base_name: info.size for info in found if info.type == fs.FileType.File}


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
        raise StoreError(f"results {store.location}: cannot delete {path}: {reason(error)}") from None


def reason(error: Exception) -> str:
    """The first line of what the system says, without pyarrow's account of its own layers."""
    text = getattr(error, "strerror", None) or str(error)
    return without_secrets(str(text).splitlines()[0]) if str(text) else type(error).__name__
