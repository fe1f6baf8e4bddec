"""What is kept beside the shards, and what a folder is before anything is written to it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import pyarrow as pa
import pyarrow.fs as fs
import pyarrow.parquet as pq

from sweep.dataset.schema import PHASES, RUNS
from sweep.dataset.shard import NAME
from sweep.dataset.store import Store, delete, listed, put_file, read_file, reason
from sweep.errors import StoreError

SPEC: Final = "spec.toml"
SPECS: Final = "specs"


def check_place(store: Store, fresh: bool) -> None:
    """Raise StoreError for a folder of somebody else's files: nothing is put among them, and nothing deleted."""
    selector = fs.FileSelector(store.path, allow_not_found=True)
    try:
        names = {info.base_name for info in store.filesystem.get_file_info(selector)}
    except OSError as error:
        raise StoreError(f"results {store.location}: cannot be read: {reason(error)}") from None
    foreign = sorted(name for name in names if name not in (RUNS, PHASES, SPECS, "damaged") and name[0] != ".")
    if not foreign or is_dataset(store) or (foreign == [SPEC] and is_place_of_runs(store)):
        return
    what = "that --fresh could delete" if fresh else "but other files, like " + foreign[0]
    raise StoreError(f"results {store.location}: holds no dataset {what}; choose another folder")


def is_dataset(store: Store) -> bool:
    """Whether any shard lies there: a file with a shard's name and the columns of one."""
    return any(_is_ours(store, RUNS, name) for name in _shard_files(store, RUNS))


def is_place_of_runs(store: Store) -> bool:
    """Whether a run has begun there, be it without a shard so far: its folders are there, and nothing else in them."""
    found = store.filesystem.get_file_info([f"{store.path}/{table}" for table in (RUNS, PHASES)])
    if any(info.type != fs.FileType.Directory for info in found):
        return False
    names = [name for table in (RUNS, PHASES) for name in listed(store, table)]
    return all(name[0] == "." or NAME.fullmatch(name.removesuffix(".parquet")) for name in names)


def clear_dataset(store: Store) -> None:
    """Delete the dataset: its specs and shards, and no file that is not of our making."""
    for table in (PHASES, RUNS):
        delete(store, [store.file(table, name) for name in _shard_files(store, table) if _is_ours(store, table, name)])
    delete(store, [f"{store.path}/{SPEC}", *(f"{store.path}/{SPECS}/{name}" for name in listed(store, SPECS))])


def write_spec(store: Store, text: str) -> None:
    """Keep the resolved spec beside the results, and a former one that differs under the date it was last in use."""
    former = read_spec(store)
    if former == text:
        return
    try:
        store.filesystem.create_dir(f"{store.path}/{SPECS}", recursive=True)
        if former is not None:
            written = store.filesystem.get_file_info(f"{store.path}/{SPEC}").mtime or datetime.now()
            put_file(store, f"{store.path}/{SPECS}/until-{written:%Y-%m-%dT%H-%M-%S}.toml", former.encode())
    except OSError as error:
        raise StoreError(f"results {store.location}: cannot be written: {reason(error)}") from None
    put_file(store, f"{store.path}/{SPEC}", text.encode())


def read_spec(store: Store) -> str | None:
    """The resolved spec, or None where there is none."""
    try:
        return bytes(read_file(store, f"{store.path}/{SPEC}")).decode()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"results {store.location}: spec.toml cannot be read: {reason(error)}") from None


def _shard_files(store: Store, table: str) -> list[str]:
    names = (name.removesuffix(".parquet") for name in listed(store, table) if name.endswith(".parquet"))
    return [name for name in names if NAME.fullmatch(name)]


def _is_ours(store: Store, table: str, name: str) -> bool:
    """Whether the file is a shard's. A name with its length is ours alone; an older one might be anybody's."""
    match: Any = NAME.fullmatch(name)
    if match["length"] is not None:
        return True
    try:
        return "config_id" in pq.read_schema(pa.BufferReader(read_file(store, store.file(table, name)))).names
    except (OSError, pa.ArrowException):
        return False
