"""Dropping leaves and tables."""

from __future__ import annotations

from core.atomics import compare_and_swap
from core.kernel import kernel
from core.mmu.split import CHILDREN
from core.mmu.walk import entry_index, first_page
from core.spte import LEAF, TABLE


@kernel
def zap_leaf(memory, machine, counters, space, page, level):
    """Drop the leaf of `level` that maps `page`; return the leaves dropped: 1, or 0 if there is none."""
    index = entry_index(machine, space, page, level)
    leaf = memory.sptes[index]
    if not leaf & LEAF or not compare_and_swap(memory.sptes, index, leaf, 0):
        return 0
    counters.zapped[level] += 1
    counters.leaves[level] -= 1
    return 1


@kernel
def zap_table(memory, machine, counters, space, page, level):
    """Drop everything in the table below the entry of `level` (2 or 3) for `page`, and free it; return leaves dropped.

    The entry itself is left for the caller to replace.
    """
    counters.tables_freed += 1
    dropped = 0
    start = first_page(machine, page, level)
    if level == 2:
        for child in range(start, start + CHILDREN):
            dropped += zap_leaf(memory, machine, counters, space, child, 1)
        return dropped
    for child in range(max(start, 0), min(start + CHILDREN * CHILDREN, machine.entries), CHILDREN):
        index = entry_index(machine, space, child, 2)
        if memory.sptes[index] == TABLE:
            for page_4k in range(child, child + CHILDREN):
                dropped += zap_leaf(memory, machine, counters, space, page_4k, 1)
            counters.tables_freed += 1
            memory.sptes[index] = 0
        else:
            dropped += zap_leaf(memory, machine, counters, space, child, 2)
    return dropped
