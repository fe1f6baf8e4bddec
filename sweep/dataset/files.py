"""The files of a dataset held open for a reader: what was there when it came stays readable until it goes.

A local file is mapped into memory, where it outlives its name: runs may be merged and compacted while readers read.
Every byte of it has been looked at before its first row is read. A remote file is read where it lies, only the columns
and row groups that are asked for; its length was looked at, and every page is held against its checksum.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
import pyarrow.dataset as ds

from core.rows import FORMER_NAMES
from sweep.dataset.listing import CURE, list_shards
from sweep.dataset.schema import PHASES, RUNS, plain_schema
from sweep.dataset.shard import is_former_version, is_sound
from sweep.dataset.store import Store, read_file, reason
from sweep.errors import StoreError

SHARD: Final = "shard"
"""The column that says which shard a row stands in."""

_TRIES: Final = 10
"""Times the shards are listed again because one of them was merged before it could be opened."""

_READERS: Final = 4

_FORMAT: Final = ds.ParquetFileFormat(
    default_fragment_scan_options=ds.ParquetFragmentScanOptions(page_checksum_verification=True)
)


@dataclass(frozen=True, slots=True)
class OpenShards:
    """The shards that counted when they were opened."""

    store: Store
    names: tuple[str, ...]
    buffers: dict[tuple[str, str], Any]  # by table and name; empty where they are read in place

    def dataset(self, table: str, *, former_version: bool) -> Any:
        """The rows of one table as a pyarrow Dataset with their shard, of this version's shards or of former ones."""
        schema = plain_schema(table).append(pa.field(SHARD, pa.string()))
        names = [name for name in self.names if is_former_version(name) == former_version]
        if former_version:
            schema = pa.schema([field.with_name(FORMER_NAMES.get(field.name, field.name)) for field in schema])
        return ds.FileSystemDataset([self._fragment(table, name) for name in names], schema, _FORMAT)

    def _fragment(self, table: str, name: str) -> Any:
        shard = ds.field(SHARD) == name
        if self.buffers:
            return _FORMAT.make_fragment(pa.BufferReader(self.buffers[table, name]), partition_expression=shard)
        return _FORMAT.make_fragment(self.store.file(table, name), self.store.filesystem, partition_expression=shard)


def open_shards(store: Store) -> OpenShards:
    """The shards of the dataset, held open; StoreError naming one that is not what was written, and what to do."""
    for left in reversed(range(_TRIES)):
        listing = list_shards(store)
        if listing.cut_off:
            raise _damage(store, listing.cut_off)
        if not store.is_local:
            return OpenShards(store, listing.counting, {})
        try:
            return OpenShards(store, listing.counting, _mapped(store, listing.counting))
        except FileNotFoundError:
            if not left:
                raise StoreError(f"results {store.location}: changes all the time; try again") from None
        except (OSError, pa.ArrowException) as error:
            raise StoreError(f"results {store.location}: cannot be read: {reason(error)}; {CURE}") from None
    raise AssertionError


def _mapped(store: Store, names: Sequence[str]) -> dict[tuple[str, str], Any]:
    buffers = {(table, name): read_file(store, store.file(table, name)) for name in names for table in (RUNS, PHASES)}
    with ThreadPoolExecutor(_READERS) as readers:
        sound = readers.map(lambda name: is_sound(name, buffers[RUNS, name], buffers[PHASES, name]), names)
        bad = [name for name, is_so in zip(names, sound, strict=True) if not is_so]
    if bad:
        raise _damage(store, bad)
    return buffers


def _damage(store: Store, names: Sequence[str]) -> StoreError:
    others = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return StoreError(f"results {store.location}: shard {names[0]}{others} is damaged; {CURE}")
