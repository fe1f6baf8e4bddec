"""The event counters: one record of 64-bit integers, cleared at the start of each phase but for `leaves`."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from core.compiled.records import Record, clear_record, layout
from core.rows import Row

COUNTED: Final = (
    "accesses",
    "writes",
    "pages_written",
    "faults",
    "faults_not_present",
    "faults_not_present_read",
    "faults_write_protect",
    "faults_fast",
    "faults_spurious",
    "write_protected",
    "dirty_cleared",
    "tables_allocated",
    "tables_freed",
    "tables_upper",
    "dirty_pages",
    "dirty_2m_regions",
    "pml_entries",
    "pml_exits",
    "tlb_flushes",
    "lock_acquisitions",
    "lock_contended",
)
"""Counters that are columns of the results as they stand."""

BY_LEVEL: Final = ("zapped", "splits", "leaves")
"""Counters indexed by level (1, 2, 3); `leaves` are those mapped now."""

COUNTERS: Final[np.dtype[Any]] = layout([*COUNTED, *((name, 4) for name in BY_LEVEL)])


def start_phase(counters: Record) -> None:
    """Clear everything that belongs to one phase."""
    leaves = counters.leaves.copy()
    clear_record(counters)
    counters.leaves = leaves


def count_columns(counters: Record) -> Row:
    """The counters as result columns."""
    row: Row = {name: int(counters[name]) for name in COUNTED}
    row["reads"] = row["accesses"] - row["writes"]
    for level, size in enumerate(("4k", "2m", "1g"), start=1):
        row[f"zapped_{size}"] = int(counters.zapped[level])
        row[f"pages_{size}"] = int(counters.leaves[level])
        if level > 1:
            row[f"splits_{size}"] = int(counters.splits[level])
    return row
