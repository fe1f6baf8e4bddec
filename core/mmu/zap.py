"""Dropping leaves and tables."""

from __future__ import annotations

import numpy as np

from core.compiled.kernel import kernel
from core.mmu.block import block_of, own, share
from core.mmu.change import swap_entry
from core.mmu.split import CHILDREN
from core.mmu.walk import entry_index, first_page
from core.spte import LEAF, TABLE


@kernel
def zap_leaf(memory, machine, counters, root, page, level):
    """Drop the leaf of `level` that maps `page`; return the leaves dropped: 1, or 0 if there is none.

    The caller owns the block of a leaf of level 1 or 2.
    """
    index = entry_index(memory, machine, root, page, level)
    while True:  # until it is dropped as it was last: a lock-free fix may come in between
        leaf = memory.sptes[index]
        if not leaf & LEAF:
            return 0
        if swap_entry(memory, index, leaf, 0):
            counters.zapped[level] += 1
            counters.leaves[level] -= 1
            return 1


@kernel
def zap_table(memory, machine, counters, root, page, level):
    """Drop everything in the table below the entry of `level` (2 or 3) for `page`, and free it; return leaves dropped.

    The entry itself is left for the caller to replace.
    """
    counters.tables_freed += 1
    start = first_page(machine, page, level)
    if level == 2:
        own(memory, machine, start >> 9)
        dropped = _clear_table(memory, machine, root, start)
        _count_dropped(counters, dropped, 1)
        return dropped
    all_dropped = 0
    dropped = leaf_level = 0
    before = after = -1
    for child in range(max(start, 0), min(start + CHILDREN * CHILDREN, machine.entries), CHILDREN):
        chunk = child >> 9
        if block_of(memory, chunk) == before:
            share(memory, chunk, after)  # chunks that were alike lose the same
        else:
            before = block_of(memory, chunk)
            after = own(memory, machine, chunk)
            index = entry_index(memory, machine, root, child, 2)
            entry = memory.sptes[index]
            leaf_level = 1 if entry == TABLE else 2
            dropped = _clear_table(memory, machine, root, child) if entry == TABLE else (1 if entry & LEAF else 0)
            memory.sptes[index] = 0
        counters.tables_freed += 1 if leaf_level == 1 else 0
        _count_dropped(counters, dropped, leaf_level)
        all_dropped += dropped
    return all_dropped


@kernel
def _clear_table(memory, machine, root, start):
    """Clear the level-1 entries of the table that starts at page `start`; return how many were leaves."""
    first = entry_index(memory, machine, root, start, 1)
    dropped = 0
    for index in range(first, first + np.uintp(CHILDREN)):
        leaf = memory.sptes[index]
        while leaf & LEAF:  # until it is dropped as it was last: a lock-free fix may come in between
            if swap_entry(memory, index, leaf, 0):
                dropped += 1
                break
            leaf = memory.sptes[index]
    return dropped


@kernel
def _count_dropped(counters, dropped, level):
    counters.zapped[level] += dropped
    counters.leaves[level] -= dropped
