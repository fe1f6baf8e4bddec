"""The result columns of core/rows.py as Parquet knows them: types, and what readers find out about them in a file.

Each field says in its metadata what it means and in which unit; pandas is told which columns may be null and are
whole numbers all the same, which it would make floating-point numbers of; a text out of few is a dictionary.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import pyarrow as pa

from core.costs.profile import Profile, load_profile
from core.errors import ProfileError
from core.rows import CONFIG_COLUMNS, PHASE_COLUMNS, RUN_COLUMNS, SCHEMA_VERSION, TIMELINE_COLUMNS, Column
from sweep.dataset.arrow import spare_pandas

spare_pandas()

RUNS: Final = "runs"
PHASES: Final = "phases"

TABLE_COLUMNS: Final = {RUNS: RUN_COLUMNS, PHASES: PHASE_COLUMNS}

_TYPES: Final[dict[type, Any]] = {
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
    str: pa.string(),
    datetime: pa.timestamp("us", tz="UTC"),
}
_TYPES[list] = pa.list_(pa.struct([(column.name, _TYPES[column.kind]) for column in TIMELINE_COLUMNS]))
_CHOICE: Final = pa.dictionary(pa.int8(), pa.string())

_PANDAS: Final = {int: ("int64", "Int64"), bool: ("bool", "boolean")}  # without null, and where one may be


def _field(column: Column) -> Any:
    said = {"meaning": column.meaning, "unit": column.unit, "kvm": column.kvm}
    return pa.field(
        column.name,
        _CHOICE if column.choices else _TYPES[column.kind],
        metadata={name: text for name, text in said.items() if text},
    )


def _schema(columns: Sequence[Column]) -> Any:
    return pa.schema([_field(column) for column in columns], metadata={"pandas": json.dumps(_pandas(columns))})


def _pandas(columns: Sequence[Column]) -> dict[str, object]:
    """What pandas itself writes beside a table, here to say which type of its own a column is to have."""
    always = {column.name for column in CONFIG_COLUMNS}
    described = [
        {
            "name": column.name,
            "field_name": column.name,
            "pandas_type": _PANDAS[column.kind][0],
            "numpy_type": _PANDAS[column.kind][column.name not in always],
            "metadata": None,
        }
        for column in columns
        if column.kind in _PANDAS
    ]
    return {"index_columns": [], "column_indexes": [], "columns": described, "pandas_version": "2.2.0"}


SCHEMAS: Final = {table: _schema(columns) for table, columns in TABLE_COLUMNS.items()}


def plain_schema(table: str) -> Any:
    """The schema without dictionaries and metadata, for those who only compute."""
    return pa.schema([pa.field(column.name, _TYPES[column.kind]) for column in TABLE_COLUMNS[table]])


def file_metadata(runs: Any) -> dict[bytes, bytes]:
    """What a file says about all of its rows: the schema's version, and the engine and the profiles that made them."""
    versions = sorted(filter(None, runs["engine_version"].unique().to_pylist()))
    said = {"splitsweep.schema": SCHEMA_VERSION, "splitsweep.engine": " ".join(versions)}
    for name in runs["profile"].unique().to_pylist():
        profile = _profile(name)
        if profile and profile.digest in runs["profile_digest"].unique().to_pylist():
            said[f"splitsweep.profile.{profile.digest}"] = profile.text
    return {key.encode(): text.encode() for key, text in said.items()}


def _profile(name: str | None) -> Profile | None:
    """The profile of this name as it is now; the rows may be older than its file."""
    try:
        return load_profile(name) if name else None
    except ProfileError:
        return None
