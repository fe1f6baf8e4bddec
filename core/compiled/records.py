"""Records: fixed sets of named 64-bit integers that kernels read and write by name.

A record is passed to a kernel as one pointer, so a call costs the same however many fields it has, and it can lie in
shared memory. In plain Python it is a numpy record with the same attributes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]

Record = Any
"""A numpy record, whose fields no type checker knows."""


def layout(fields: Iterable[str | tuple[str, int]]) -> np.dtype[Any]:
    """The layout of a record of integers; (name, size) is a field of that many."""
    named: list[Any] = [
        (field, np.int64) if isinstance(field, str) else (field[0], np.int64, (field[1],)) for field in fields
    ]
    return np.dtype((np.record, named))


def new_record(fields: np.dtype[Any], values: Mapping[str, int] | None = None) -> Record:
    """A record of zeros, or of `values`."""
    record = np.zeros(1, fields)[0]
    for name, value in (values or {}).items():
        record[name] = value
    return record


def words_of(fields: np.dtype[Any]) -> int:
    """How many integers a record of that layout holds."""
    return fields.itemsize // np.dtype(np.int64).itemsize


def clear_record(record: Record) -> None:
    """Set every field to 0."""
    for name in record.dtype.names:
        record[name] = 0
