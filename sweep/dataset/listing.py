"""Which shards of a dataset count, told from the names of its files, and which of them are what was written.

A listing of a folder is no snapshot of two. The runs are listed before the phases, and a shard's phases are written
before its runs: so runs without phases mean that somebody has merged them meanwhile, and everything is listed again;
if they are still there then, a merge was interrupted between its two deletions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from sweep.dataset.schema import PHASES, RUNS, plain_schema
from sweep.dataset.shard import NAME, formers_of, is_sound, read_table, runs_copy
from sweep.dataset.store import Store, listed, read_file, reason
from sweep.errors import StoreError

_READERS: Final = 4  # an object store takes its time for each file, and digests are made without Python's lock

CURE: Final = "`splitsweep run` puts it aside and runs its configs again"


@dataclass(frozen=True, slots=True)
class Listing:
    """The shards of a dataset at one moment."""

    counting: tuple[str, ...]
    superseded: tuple[str, ...]  # a merged shard that counts holds their rows
    without_runs: tuple[str, ...]  # phases that carry their runs: the writer is about to write those, or has died
    without_phases: tuple[str, ...]  # what an interrupted deletion left: their rows stand in a merged shard
    cut_off: tuple[str, ...]  # phases files that are not as long as their names say
    sizes: dict[str, int]  # of the phases files, by shard


def list_shards(store: Store) -> Listing:
    """The shards as they are now."""
    former: frozenset[str] = frozenset()
    while True:
        runs, phases = _names(store, RUNS), _names(store, PHASES)
        without_phases = runs.keys() - phases.keys()
        if without_phases <= former:
            break
        former = frozenset(without_phases)
    cut_off = {name for name, size in phases.items() if _length(name) not in (None, size)}
    complete = (runs.keys() & phases.keys()) - cut_off
    superseded = _superseded(store, complete)
    single = phases.keys() - runs.keys() - cut_off
    return Listing(
        counting=tuple(sorted(complete - superseded)),
        superseded=tuple(sorted((complete | single) & superseded)),
        without_runs=tuple(sorted(name for name in single - superseded if _length(name) is not None)),
        without_phases=tuple(sorted(without_phases)),
        cut_off=tuple(sorted(cut_off)),
        sizes=phases,
    )


def damaged(store: Store, names: Iterable[str]) -> list[str]:
    """The shards among `names` of which a file is not what was written: every byte of each is looked at."""
    named = list(names)
    with ThreadPoolExecutor(_READERS) as readers:
        sound = readers.map(lambda name: _is_sound(store, name), named)
        return [name for name, is_so in zip(named, sound, strict=True) if not is_so]


def scan_runs(store: Store, names: Iterable[str], columns: list[str]) -> Iterator[tuple[str, Any]]:
    """These columns of the runs of each shard, as a pyarrow Table; StoreError where one cannot be read."""
    for name in names:
        try:
            yield name, read_runs(store, name, columns)
        except (OSError, pa.ArrowException) as error:
            raise StoreError(
                f"results {store.location}: shard {name}: cannot be read: {reason(error)}; {CURE}"
            ) from None


def read_runs(store: Store, name: str, columns: list[str]) -> Any:
    """These columns of one shard's runs."""
    file = pq.ParquetFile(pa.BufferReader(read_file(store, store.file(RUNS, name))), page_checksum_verification=True)
    return file.read(columns=columns, use_threads=False).cast(pa.schema([plain_schema(RUNS).field(c) for c in columns]))


def finished(store: Store) -> set[str]:
    """The config_ids that need not be run again: those with status ok, in shards that are sound."""
    listing = list_shards(store)
    bad = set(damaged(store, listing.counting)) if store.is_local else set()
    done: set[str] = set()
    for name in listing.counting:
        if name in bad:
            continue
        try:
            done |= _ok(read_runs(store, name, ["config_id", "status"]))
        except (OSError, pa.ArrowException):
            continue  # damaged, where not every byte was looked at: run again
    for name in listing.without_runs:
        copy = runs_copy(read_file(store, store.file(PHASES, name)))
        done |= _ok(read_table(RUNS, pa.BufferReader(copy))) if copy else set()
    return done


def _ok(runs: Any) -> set[str]:
    statuses = zip(runs["config_id"].to_pylist(), runs["status"].to_pylist(), strict=True)
    return {config_id for config_id, status in statuses if status == "ok"}


def _is_sound(store: Store, name: str) -> bool:
    try:
        return is_sound(name, *(read_file(store, store.file(table, name)) for table in (RUNS, PHASES)))
    except FileNotFoundError:
        return True  # somebody has merged it meanwhile
    except OSError:
        return False


def _names(store: Store, table: str) -> dict[str, int]:
    files = ((name.removesuffix(".parquet"), size) for name, size in listed(store, table).items() if name[0] != ".")
    return {name: size for name, size in files if NAME.fullmatch(name)}


def _length(name: str) -> int | None:
    match = NAME.fullmatch(name)
    return int(match["length"]) if match and match["length"] else None


def _superseded(store: Store, complete: Iterable[str]) -> set[str]:
    """The shards that a merged one among `complete` names as former ones."""
    names: set[str] = set()
    for name in complete:
        if name.startswith("merged-"):
            try:
                names.update(formers_of(read_file(store, store.file(RUNS, name))))
            except (OSError, pa.ArrowException):
                continue  # damaged: it stands for nobody
    return names
