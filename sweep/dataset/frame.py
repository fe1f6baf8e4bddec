"""Rows as pandas frames, with the types that the Parquet files themselves have for pandas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sweep.dataset.schema import SCHEMAS

if TYPE_CHECKING:
    from pandas import DataFrame


def frame(rows: Any, table: str) -> DataFrame:
    """A pyarrow Table that was selected from a view as a frame."""
    schema = SCHEMAS.get(table)
    if schema is None:
        return rows.to_pandas()
    for number, field in enumerate(rows.schema):
        if field.name in schema.names:
            wanted = schema.field(field.name)
            column = rows[field.name]
            column = column.dictionary_encode() if wanted.type != column.type else column
            rows = rows.set_column(number, wanted, column.cast(wanted.type))
    return rows.replace_schema_metadata(schema.metadata).to_pandas()
