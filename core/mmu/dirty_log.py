"""The dirty bitmap: one bit per 4K page, set when a page becomes writable or is logged, taken by get and clear."""

from __future__ import annotations

import numpy as np

from core.atomics import count_ones, fetch_or
from core.kernel import inlined, kernel

ALL_ONES = np.uint64(2**64 - 1)
ONE = np.uint64(1)


@inlined
def mark_leaf_dirty(memory, machine, page, level):
    """Set the bits of every page the tracked leaf of `level` maps (`page` is a level-1 index)."""
    number = page - machine.first
    if level == 1:
        fetch_or(memory.dirty, number >> 6, ONE << np.uint64(number & 63))
        return
    word = number >> 9 << 3
    for offset in range(8):
        fetch_or(memory.dirty, word + offset, ALL_ONES)


@kernel
def set_all_dirty(memory, machine, slot):
    """initially_all_set: the bitmap of the slot starts full."""
    words = machine.pages_per_slot >> 6
    memory.dirty[slot * words : (slot + 1) * words] = ALL_ONES


@kernel
def count_reported(memory, machine, counters, slot):
    """Count the pages and the groups of 512 pages that get reported dirty in `slot`."""
    words = machine.pages_per_slot >> 6
    pages = 0
    regions = 0
    for start in range(slot * words, (slot + 1) * words, 8):
        in_region = 0
        for word in range(start, min(start + 8, (slot + 1) * words)):
            in_region += count_ones(memory.reported[word])
        pages += in_region
        regions += 1 if in_region else 0
    counters.dirty_pages += pages
    counters.dirty_2m_regions += regions
