"""Splitting a huge leaf: a table of 512 children that inherit the leaf's bits takes its place."""

from __future__ import annotations

from core.atomics import compare_and_swap
from core.kernel import kernel
from core.mmu.walk import entry_index, first_page
from core.spte import TABLE

CHILDREN = 512


@kernel
def split_leaf(memory, machine, counters, space, page, level):
    """Split the leaf of `level` (2 or 3) that maps `page` one level down; say whether this caller did it.

    The new table is filled before it is linked, so its entries need no compare-and-swap.
    """
    index = entry_index(machine, space, page, level)
    leaf = memory.sptes[index]
    child = entry_index(machine, space, first_page(machine, page, level), level - 1)
    memory.sptes[child : child + CHILDREN] = leaf
    if not compare_and_swap(memory.sptes, index, leaf, TABLE):
        return False
    counters.splits[level] += 1
    counters.tables_allocated += 1
    counters.leaves[level] -= 1
    counters.leaves[level - 1] += CHILDREN
    return True


@kernel
def split_down_to(memory, machine, counters, space, page, level, target):
    """Split the leaf of `level` that maps `page` until a leaf of level `target` does; return the number of splits."""
    splits = 0
    while level > target:
        if split_leaf(memory, machine, counters, space, page, level):
            splits += 1
        level -= 1
    return splits
