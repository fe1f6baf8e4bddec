"""Splitting a huge leaf: a table of 512 children that inherit the leaf's bits takes its place."""

from __future__ import annotations

import numpy as np

from core.compiled.kernel import inlined, kernel
from core.mmu.block import block_of, own, share
from core.mmu.change import entry_at, link_entry, swap_entry
from core.mmu.walk import entry_index, first_page, is_linked_elsewhere
from core.spte import FROZEN, LEAF, TABLE

CHILDREN = 512


@kernel
def split_leaf(memory, machine, counters, root, page, level):
    """Split the leaf of `level` (2 or 3) that maps `page` one level down; return how many leaves that made.

    A table that another root has already is only linked; the leaves in it stay as they are. The caller owns the block
    around `page`, before and after. The table is filled while the entry is frozen, so its entries need no
    compare-and-swap.
    """
    index = entry_index(memory, machine, root, page, level)
    leaf = entry_at(memory, index)
    if not leaf & LEAF or not swap_entry(memory, index, leaf, FROZEN):
        entry_at(memory, index)  # somebody else splits it: wait for them
        return 0
    is_new = not is_linked_elsewhere(memory, machine, root, page, level)
    counters.tables_allocated += is_new
    if level == 2 and is_new:
        made = CHILDREN
        child = entry_index(memory, machine, root, first_page(machine, page, 2), 1)
        memory.sptes[child : child + np.uintp(CHILDREN)] = leaf
    elif level == 2:
        made = _fill_level_1(memory, machine, root, first_page(machine, page, 2), leaf)
    else:
        made = _fill_level_2(memory, machine, root, first_page(machine, page, 3), leaf)
        own(memory, machine, page >> 9)
        index = entry_index(memory, machine, root, page, level)
    link_entry(memory, index, TABLE)
    counters.splits[level] += 1
    counters.leaves[level] -= 1
    counters.leaves[level - 1] += made
    return made


@kernel
def _fill_level_1(memory, machine, root, first, leaf):
    """Set those of the 512 level-1 entries from `first` on that are not present; return how many."""
    made = 0
    start = entry_index(memory, machine, root, first, 1)
    for index in range(start, start + np.uintp(CHILDREN)):
        if memory.sptes[index] == 0:
            memory.sptes[index] = leaf
            made += 1
    return made


@kernel
def _fill_level_2(memory, machine, root, first, leaf):
    """Set those of the 512 level-2 entries from `first` on that are not present; what was alike stays so.

    Return how many.
    """
    made = filled = 0
    before = after = -1
    for chunk in range(first >> 9, (first >> 9) + CHILDREN):
        if block_of(memory, chunk) == before:
            share(memory, chunk, after)
        else:
            before = after = block_of(memory, chunk)
            filled = 0
            if memory.sptes[entry_index(memory, machine, root, chunk << 9, 2)] == 0:
                after = own(memory, machine, chunk)
                memory.sptes[entry_index(memory, machine, root, chunk << 9, 2)] = leaf
                filled = 1
        made += filled
    return made


@kernel
def split_down_to(memory, machine, counters, root, page, level, target):
    """Split the leaf of `level` that maps `page` until a leaf of level `target` does; return the leaves that made."""
    made = 0
    while level > target:
        made += split_leaf(memory, machine, counters, root, page, level)
        level -= 1
    return made


@inlined
def splits_so_far(counters):
    """Leaves of all levels that were split in this phase."""
    return counters.splits[2] + counters.splits[3]
