"""What a driver does to a dataset before and after a run: put right what a kill left, and merge small shards.

Any number of drivers may do this to one dataset at once, at any moments, without a lock. (On a local filesystem there
is one all the same, so that two drivers do not run the same configs; the kernel releases it when a driver dies.)

Merging is the only way in which rows move, and being a former shard of a merged one that counts the only reason for
which a shard is deleted. A merged shard holds, of each config in its formers, the best row: ok before failed, then the
newest. So whatever was deleted stands in a shard that was there when that was decided, or in one that merged that one
in turn, and so on; a name is a digest of the content, the names of the formers included, so this cannot go in a circle
and ends at a shard that nobody may delete. Merging in any order, partly and more than once comes to the same rows.

What a kill leaves, each harmless to readers that follow sweep/dataset/listing.py:

* a shard without its runs file: written again from the copy that its phases file carries;
* a runs file without its phases file: the rest of a merged shard, deleted;
* a merge that was not finished: the merged shard names its formers, they are deleted;
* one config in two shards, because two drivers ran it, or it failed before: they are merged;
* hidden temporary files: deleted if their writer is dead, or has not been heard of for an hour.

A file that is not what was written, bit for bit, is put aside in damaged/, and its configs are run again.
"""

from __future__ import annotations

import contextlib
import fcntl
import re
import socket
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as fs

from sweep.dataset.listing import damaged, list_shards, scan_runs
from sweep.dataset.schema import PHASES, RUNS
from sweep.dataset.shard import (
    formers_of,
    is_former_version,
    is_sound,
    read_pieces,
    read_table,
    runs_copy,
    shard_of_tables,
)
from sweep.dataset.store import Store, delete, make_folders, put_file, put_shard, read_file, reason
from sweep.errors import StoreError

MERGE_FROM: Final = 32
"""Shards below this number are left as they are: readers open them in about 10 ms."""

MERGED_BYTES: Final = 16 * 2**20
"""Size of the phases in a merged file, about; bounds what a merge holds in memory, and what one flipped bit spoils."""

_BEFORE_ALL: Final = datetime.min.replace(tzinfo=UTC)  # an imported row has no time of its own

_TEMPORARY_FILE: Final = re.compile(r"\..+?\.(?:(?P<host>.+)\.)?(?P<pid>\d+)\.tmp")
_FORGOTTEN_SECONDS: Final = 3600


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


def finish(store: Store) -> None:
    """Leave a dataset that any reader can take as it is: repaired, no config twice, few files."""
    repair(store)
    merge_shards(store)


def compact(store: Store) -> None:
    """The same, in as few files as their size allows, all in today's form."""
    repair(store)
    merge_shards(store, all_small=True)


def repair(store: Store) -> None:
    """Put right what an interrupted writer left behind, and put aside what is damaged."""
    _delete_temporary_files(store)
    listing = list_shards(store)
    for name in listing.without_runs:
        _write_runs_again(store, name)
    bad = damaged(store, listing.counting) if store.is_local else []
    for name in [*bad, *listing.cut_off]:
        _put_right(store, name)
    listing = list_shards(store)
    if listing.superseded:
        formers = {former for name in listing.counting for former in _sound_formers(store, name)}
        _delete_shards(store, [name for name in listing.superseded if name in formers])
    delete(store, [store.file(RUNS, name) for name in listing.without_phases])


def merge_shards(store: Store, *, all_small: bool = False) -> None:
    """Merge shards that hold the same config, and small ones if there are many of them (or `all_small`).

    A reader that just takes all files sees rows twice for the moment between a merged shard and the deletion of its
    formers; one that follows list_shards does not.
    """
    listing = list_shards(store)
    parts = _holding_the_same(store, listing.counting)
    taken = {name for part in parts for name in part}
    small = [name for name in listing.counting if name not in taken and _is_small(name, listing.sizes, all_small)]
    if all_small or len(small) >= MERGE_FROM:
        parts += [[name] for name in small]
    for group in _groups(parts, listing.sizes):
        if len(group) > 1 or (all_small and is_former_version(group[0])):
            _merge(store, group)


def _is_small(name: str, sizes: dict[str, int], all_small: bool) -> bool:
    if all_small:
        return sizes[name] < MERGED_BYTES / 2 or is_former_version(name)
    return not name.startswith("merged-")


def _groups(parts: Iterable[Sequence[str]], sizes: dict[str, int]) -> Iterator[list[str]]:
    """The shards to merge, as many together as make a file of some size; what is one part stays together."""
    group: list[str] = []
    size = 0
    for part in parts:
        group += part
        size += sum(sizes[name] for name in part)
        if size >= MERGED_BYTES:
            yield sorted(group)
            group, size = [], 0
    if group:
        yield sorted(group)


def _holding_the_same(store: Store, names: Iterable[str]) -> list[list[str]]:
    """The shards that have a config in common with another one, those together that are linked by such configs."""
    ids = list(scan_runs(store, names, ["config_id"]))
    if not ids:
        return []
    everything = pa.chunked_array([chunk for _, runs in ids for chunk in runs["config_id"].chunks], pa.string())
    counts = pc.value_counts(everything)
    doubled = counts.field("values").filter(pc.greater(counts.field("counts"), 1))
    if not len(doubled):
        return []
    part_of: dict[str, set[str]] = {}  # by config
    for name, runs in ids:
        held = runs["config_id"].filter(pc.is_in(runs["config_id"], doubled)).to_pylist()
        if held:
            part = {name}.union(*(part_of.get(config_id, ()) for config_id in held))
            touched = [config_id for config_id, other in part_of.items() if other & part]
            part_of |= dict.fromkeys([*held, *touched], part)
    return sorted(sorted(part) for part in {id(part): part for part in part_of.values()}.values())


def _merge(store: Store, formers: list[str]) -> None:
    """Write the rows of the formers as one shard and delete them; nothing if one is gone or damaged: that is for later.

    The same formers give the same bytes, so two drivers that do this at once do it together.
    """
    try:
        files = {name: [read_file(store, store.file(table, name)) for table in (RUNS, PHASES)] for name in formers}
    except FileNotFoundError:
        return
    if not all(is_sound(name, *both) for name, both in files.items()):
        return
    runs = {name: read_table(RUNS, pa.BufferReader(both[0])) for name, both in files.items()}
    best = _best(runs)
    kept = pa.concat_tables([_of_configs(runs[name], best[name]) for name in formers]).unify_dictionaries()
    phases = (
        _of_configs(piece, best[name])
        for name in formers
        for piece in read_pieces(PHASES, pa.BufferReader(files[name][1]))
    )
    put_shard(store, shard_of_tables(kept, phases, formers))
    _delete_shards(store, formers)


def _best(runs: dict[str, Any]) -> dict[str, list[str]]:
    """For each shard the configs of which it has the best row: ok before failed, then the newest."""
    best: dict[str, tuple[bool, datetime, str, float, str]] = {}
    for name, table in runs.items():
        columns = ("config_id", "status", "started_at", "host", "wall_seconds")
        for config_id, status, started_at, host, seconds in zip(*(table[c].to_pylist() for c in columns), strict=True):
            rank = (status == "ok", started_at or _BEFORE_ALL, host or "", seconds or 0.0, name)
            best[config_id] = max(rank, best.get(config_id, rank))
    configs: dict[str, list[str]] = {name: [] for name in runs}
    for config_id, rank in best.items():
        configs[rank[-1]].append(config_id)
    return configs


def _of_configs(rows: Any, config_ids: list[str]) -> Any:
    return rows.filter(pc.is_in(rows["config_id"], pa.array(config_ids, pa.string())))


def _write_runs_again(store: Store, name: str) -> None:
    """Finish a shard whose writer has died (or is about to do the same) between its two files."""
    with contextlib.suppress(FileNotFoundError):
        phases = read_file(store, store.file(PHASES, name))
        copy = runs_copy(phases)
        if copy is not None and is_sound(name, copy, phases):
            put_file(store, store.file(RUNS, name), copy)
        else:
            _put_aside(store, name)


def _put_right(store: Store, name: str) -> None:
    """Mend a damaged shard from its own copy if it was the runs file, else put it aside: its configs are run again."""
    _write_runs_again(store, name)
    if name in damaged(store, [name]):
        _put_aside(store, name)


def _put_aside(store: Store, name: str) -> None:
    store.filesystem.create_dir(f"{store.path}/damaged", recursive=True)
    for table in (PHASES, RUNS):
        try:
            store.filesystem.move(store.file(table, name), f"{store.path}/damaged/{table}-{name}.parquet")
        except FileNotFoundError:
            continue
        except OSError as error:
            raise StoreError(f"results {store.location}: cannot move shard {name}: {reason(error)}") from None


def _sound_formers(store: Store, name: str) -> list[str]:
    """The shards that a merged shard stands for, if it is what was written."""
    if not name.startswith("merged-") or damaged(store, [name]):
        return []
    return formers_of(read_file(store, store.file(RUNS, name)))


def _delete_shards(store: Store, names: Iterable[str]) -> None:
    """Delete both files of each shard, first the one that would be taken for an unfinished shard."""
    for name in names:
        delete(store, [store.file(PHASES, name), store.file(RUNS, name)])


def _delete_temporary_files(store: Store) -> None:
    for table in (RUNS, PHASES):
        selector = fs.FileSelector(f"{store.path}/{table}", allow_not_found=True)
        found = [info for info in store.filesystem.get_file_info(selector) if info.base_name.endswith(".tmp")]
        delete(store, [info.path for info in found if _is_left_behind(info)])


def _is_left_behind(info: Any) -> bool:
    """Whether nobody is writing a temporary file any more: its process was of this machine, or it is old."""
    match = _TEMPORARY_FILE.fullmatch(info.base_name)
    if match is None:
        return False
    if match["host"] in (None, socket.gethostname()) and not Path(f"/proc/{match['pid']}").exists():
        return True
    return info.mtime is not None and time.time() - info.mtime.timestamp() > _FORGOTTEN_SECONDS
