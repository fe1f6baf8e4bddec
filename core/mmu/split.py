"""Splitting a huge leaf: a table of 512 children that inherit the leaf's bits takes its place."""

from __future__ import annotations

import numpy as np

from core.compiled.kernel import kernel
from core.mmu.block import block_of, own, share
from core.mmu.change import entry_at, link_entry, swap_entry
from core.mmu.walk import entry_index, first_page
from core.spte import FROZEN, LEAF, TABLE

CHILDREN = 512


@kernel
def split_leaf(memory, machine, counters, space, page, level):
    """Split the leaf of `level` (2 or 3) that maps `page` one level down; say whether this caller did it.

    The caller owns the block around `page`, before and after. The new table is filled while the entry is frozen, so
    its entries need no compare-and-swap.
    """
    index = entry_index(memory, machine, space, page, level)
    leaf = entry_at(memory, index)
    if not leaf & LEAF or not swap_entry(memory, index, leaf, FROZEN):
        entry_at(memory, index)  # somebody else splits it: wait for them
        return False
    if level == 2:
        child = entry_index(memory, machine, space, first_page(machine, page, 2), 1)
        memory.sptes[child : child + np.uintp(CHILDREN)] = leaf
    else:
        _fill_level_2(memory, machine, space, first_page(machine, page, 3), leaf)
        own(memory, machine, page >> 9)
        index = entry_index(memory, machine, space, page, level)
    link_entry(memory, index, TABLE)
    counters.splits[level] += 1
    counters.tables_allocated += 1
    counters.leaves[level] -= 1
    counters.leaves[level - 1] += CHILDREN
    return True


@kernel
def _fill_level_2(memory, machine, space, first, leaf):
    """Set the 512 level-2 entries from `first` on; what was alike stays so."""
    before = after = -1
    for chunk in range(first >> 9, (first >> 9) + CHILDREN):
        if block_of(memory, chunk) == before:
            share(memory, chunk, after)
            continue
        before = block_of(memory, chunk)
        after = own(memory, machine, chunk)
        memory.sptes[entry_index(memory, machine, space, chunk << 9, 2)] = leaf


@kernel
def split_down_to(memory, machine, counters, space, page, level, target):
    """Split the leaf of `level` that maps `page` until a leaf of level `target` does; return the number of splits."""
    splits = 0
    while level > target:
        if split_leaf(memory, machine, counters, space, page, level):
            splits += 1
        level -= 1
    return splits
