"""The bits of a shadow page-table entry, one byte each: only what logging and splitting look at.

A byte of 0 is an entry that is not present. PRESENT without LEAF is an entry that points to a lower table.
"""

from __future__ import annotations

from typing import Final

PRESENT: Final = 1
LEAF: Final = 2
WRITABLE: Final = 4
MMU_WRITABLE: Final = 8
"""fast_page_fault may make the entry writable without the lock."""
DIRTY: Final = 16
"""The D-bit: a write to an entry without it sets it and is logged by PML."""

TABLE: Final = PRESENT
READ_ONLY_LEAF: Final = PRESENT | LEAF
WRITABLE_LEAF: Final = PRESENT | LEAF | WRITABLE | MMU_WRITABLE | DIRTY

FROZEN: Final = 32
"""Somebody is splitting the leaf, or dropping the table, that was here; others wait until that is done."""

ALL_BITS: Final = 255
