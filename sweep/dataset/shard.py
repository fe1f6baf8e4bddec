"""A shard: the rows of some configs as two Parquet files of one name, which follows from their content.

    phases/NAME.parquet     the phases of the configs; its metadata holds the whole runs file once more
    runs/NAME.parquet       one row per config

The phases file is put first, and whole, so a shard is there or not: nothing can come between its two tables. Whoever
finds phases without runs writes the runs file again, byte for byte, from that copy. NAME is a digest of both files and
the length of the first, so a file that was cut off or changed is known by its name, and no file ever replaces another
one: a name stands for one content for ever.

A merged shard names the shards whose rows it holds (`FORMERS`). It may stand for them from the moment it is there, and
only a shard that such a one names is ever deleted (see sweep/dataset/upkeep.py).
"""

from __future__ import annotations

import base64
import hashlib
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from core.rows import CONFIG_COLUMNS, FORMER_NAMES, PROVENANCE_COLUMNS, Row
from sweep.dataset.schema import PHASES, RUNS, SCHEMAS, file_metadata

FORMERS: Final = b"splitsweep.merged"
"""Parquet metadata of a merged shard: the names of the shards whose rows it holds."""

RUNS_FILE: Final = b"splitsweep.runs"
"""Parquet metadata of a phases file: its runs file, deflated, in base64."""

NAME: Final = re.compile(r"(?:merged-)?(?P<digest>[0-9a-f]{16})(?:-(?P<length>[0-9]+))?")
"""A shard's name. Without a length it was written by a version that named shards otherwise, and not by content."""

_GROUP_ROWS: Final = 65_536
"""Rows that are held at a time while a shard is written from others."""


@dataclass(frozen=True, slots=True)
class Shard:
    """A shard as the bytes of its two files."""

    name: str
    runs: Any  # bytes-like
    phases: Any


def shard_of_rows(runs: Sequence[Row], phases: Sequence[Row]) -> Shard:
    """The shard of these rows; phases get the config and the provenance of their run."""
    run_table = _table(RUNS, runs)
    place = {run["config_id"]: number for number, run in enumerate(runs)}
    run_of = pa.array([place[row["config_id"]] for row in phases], pa.int64())
    shared = {column.name: run_table[column.name] for column in (*CONFIG_COLUMNS, *PROVENANCE_COLUMNS)}
    own = _by_column(phases)
    nothing = [None] * len(phases)
    columns = [
        shared[field.name].take(run_of) if field.name in shared else pa.array(own.get(field.name, nothing), field.type)
        for field in SCHEMAS[PHASES]
    ]
    phase_table = pa.Table.from_arrays(columns, schema=SCHEMAS[PHASES])
    return shard_of_tables(run_table, [phase_table], compression="snappy")  # zstd takes twice as long on so few rows


def shard_of_tables(runs: Any, phases: Iterable[Any], formers: Sequence[str] = (), compression: str = "zstd") -> Shard:
    """The shard of pyarrow tables, the phases piece by piece; `formers` are the shards that it holds the rows of."""
    merged = {FORMERS: " ".join(formers).encode()} if formers else {}
    runs_file = _parquet(RUNS, [runs], compression, file_metadata(runs) | merged)
    copy = {RUNS_FILE: base64.b64encode(zlib.compress(runs_file, level=1))}
    phases_file = _parquet(PHASES, phases, compression, file_metadata(runs) | merged | copy)
    prefix = "merged-" if formers else ""
    return Shard(f"{prefix}{_digest(runs_file, phases_file)}-{len(phases_file)}", runs_file, phases_file)


def is_former_version(name: str) -> bool:
    """Whether a shard was written when names said nothing about their content, with the columns of that time."""
    match = NAME.fullmatch(name)
    return match is not None and match["length"] is None


def is_sound(name: str, runs: Any, phases: Any) -> bool:
    """Whether these are the two files that were written under this name, bit for bit (as far as an old name tells)."""
    match = NAME.fullmatch(name)
    if match is None:
        return False
    if match["length"] is None:
        return _can_be_read(runs) and _can_be_read(phases)
    return len(phases) == int(match["length"]) and _digest(runs, phases) == match["digest"]


def runs_copy(phases: Any) -> bytes | None:
    """The runs file that a phases file carries; None where it cannot be read or carries none."""
    try:
        metadata = pq.read_metadata(pa.BufferReader(phases)).metadata or {}
        return zlib.decompress(base64.b64decode(metadata[RUNS_FILE], validate=True))
    except (pa.ArrowException, OSError, KeyError, ValueError, zlib.error):
        return None


def formers_of(runs: Any) -> list[str]:
    """The shards that a merged one stands for, as its runs file says."""
    metadata = pq.read_metadata(pa.BufferReader(runs)).metadata or {}
    return bytes(metadata.get(FORMERS, b"")).decode().split()


def read_table(table: str, file: Any) -> Any:
    """The rows of a file as a pyarrow Table with today's columns; every page is held against its checksum."""
    rows = pq.ParquetFile(file, page_checksum_verification=True).read(use_threads=False)
    return in_schema(table, rows)


def read_pieces(table: str, file: Any) -> Iterator[Any]:
    """The same, a row group at a time: the rows of a large file take much more room than the file."""
    parquet = pq.ParquetFile(file, page_checksum_verification=True)
    for group in range(parquet.num_row_groups):
        yield in_schema(table, parquet.read_row_group(group, use_threads=False))


def column_names(file: Any) -> list[str]:
    """The columns of a file in memory."""
    return list(pq.read_schema(pa.BufferReader(file)).names)


def read_columns(file: Any, names: list[str]) -> dict[str, list[Any]]:
    """The values of these columns of a file in memory."""
    rows = pq.ParquetFile(pa.BufferReader(file), page_checksum_verification=True).read(names, use_threads=False)
    return dict(zip(rows.column_names, (column.to_pylist() for column in rows.columns), strict=True))


def read_every_page(file: Any) -> None:
    """Hold every page of a file in memory against its checksum; raises where one does not agree."""
    parquet = pq.ParquetFile(pa.BufferReader(file), page_checksum_verification=True)
    for group in range(parquet.num_row_groups):
        parquet.read_row_group(group, use_threads=False)


def in_schema(table: str, rows: Any) -> Any:
    """Rows of any version with today's columns: those that came later are null."""
    names = set(rows.column_names)
    arrays = []
    for field in SCHEMAS[table]:
        former = FORMER_NAMES.get(field.name, field.name)
        name = field.name if field.name in names else former
        column = rows[name] if name in names else pa.nulls(rows.num_rows)
        arrays.append(_cast(column, field.type))
    return pa.Table.from_arrays(arrays, schema=SCHEMAS[table])


def _cast(column: Any, kind: Any) -> Any:
    if column.type == kind:
        return column
    if pa.types.is_dictionary(kind):
        plain = column.cast(kind.value_type)
        return plain.cast(kind) if pa.types.is_null(column.type) else plain.dictionary_encode().cast(kind)
    return column.cast(kind)


def _table(table: str, rows: Sequence[Row]) -> Any:
    schema = SCHEMAS[table]
    values = _by_column(rows)
    nothing = [None] * len(rows)
    return pa.Table.from_arrays([pa.array(values.get(f.name, nothing), f.type) for f in schema], schema=schema)


def _by_column(rows: Sequence[Row]) -> dict[str, Sequence[Any]]:
    """The values of each column. Rows that have the same, as those of an engine do, need no loop in Python."""
    names = list(rows[0]) if rows else []
    if all(list(row) == names for row in rows):
        return dict(zip(names, zip(*(row.values() for row in rows), strict=True), strict=True)) if rows else {}
    named = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in named}


def _parquet(table: str, pieces: Iterable[Any], compression: str, metadata: dict[bytes, bytes]) -> Any:
    """A Parquet file in memory; pieces are gathered into row groups of some size."""
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, SCHEMAS[table], compression=compression, write_page_checksum=True) as writer:
        held: list[Any] = []
        for piece in pieces:
            held.append(piece)
            if sum(map(len, held)) >= _GROUP_ROWS:
                writer.write_table(pa.concat_tables(held).unify_dictionaries())
                held = []
        if held:
            writer.write_table(pa.concat_tables(held).unify_dictionaries())
        writer.add_key_value_metadata(metadata)
    return sink.getvalue()


def _digest(runs: Any, phases: Any) -> str:
    digest = hashlib.sha256(phases)
    digest.update(runs)
    return digest.hexdigest()[:16]


def _can_be_read(file: Any) -> bool:
    """Whether a file that has no digest in its name is Parquet at all; what is wrong inside shows when it is read."""
    try:
        pq.read_metadata(pa.BufferReader(file))
    except (pa.ArrowException, OSError):
        return False
    return True
