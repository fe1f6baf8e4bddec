"""Disabling dirty logging: small leaves of huge backing go, so that huge ones come back.

The TDP MMU up to 6.12 drops every table that could be a huge leaf; 7.3 puts a huge leaf in the table's place, with
the bits of the first leaf below it. The rmap MMUs drop the small leaves and leave the empty tables to later faults.
"""

from __future__ import annotations

from core.compiled.kernel import kernel
from core.mmu.block import own
from core.mmu.change import link_entry, swap_entry
from core.mmu.walk import entry_index, first_page, leaf_level
from core.mmu.zap import zap_leaf, zap_table
from core.spte import FROZEN, LEAF, TABLE, WRITABLE


@kernel
def collapse_table(memory, machine, counters, root, page):
    """TDP MMU: free the table where the largest leaf for `page` could be; return the leaves dropped.

    Dropping it up to 6.12 flushes each time, before the entry may be used again: until then it is frozen.
    """
    level = machine.leaf_level
    own(memory, machine, page >> 9)
    index = entry_index(memory, machine, root, page, level)
    if memory.sptes[index] != TABLE:
        return 0
    leaf = 0
    if machine.collapse_in_place:
        leaf = _first_leaf_below(memory, machine, root, page, level)
        if leaf == 0:
            return 0
    if not swap_entry(memory, index, TABLE, FROZEN):
        return 0
    dropped = zap_table(memory, machine, counters, root, page, level)
    link_entry(memory, index, leaf)
    if leaf:
        counters.leaves[level] += 1
        if not leaf & WRITABLE:
            counters.write_protected += 1
    if not machine.collapse_in_place:
        counters.tlb_flushes += 1
    return dropped


@kernel
def zap_small_leaves(memory, machine, counters, root, first, last):
    """rmap MMUs: drop the leaves of pages `first` to `last` that could be larger; return how many."""
    dropped = 0
    page = first
    while page <= last:
        level = leaf_level(memory, machine, root, page)
        if 0 < level < machine.leaf_level:
            dropped += zap_leaf(memory, machine, counters, root, page, level)
        page += 512 if level > 1 else 1
    return dropped


@kernel
def _first_leaf_below(memory, machine, root, page, level):
    """The first present leaf in the table below the entry of `level` for `page`; 0 if there is none."""
    child = first_page(machine, page, level)
    last = min(child + 512 ** (level - 1), machine.entries)
    child = max(child, 0)
    while child < last:
        found = leaf_level(memory, machine, root, child)
        if found > 0:
            return memory.sptes[entry_index(memory, machine, root, child, found)] | LEAF
        below_table = memory.sptes[entry_index(memory, machine, root, child, 2)] == TABLE
        child += 1 if below_table else 512
    return 0
