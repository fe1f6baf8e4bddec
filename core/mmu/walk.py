"""Finding the entry that maps a page, and linking the tables on the way down to one."""

from __future__ import annotations

import numpy as np

from core.compiled.kernel import inlined
from core.mmu.block import block_of, chunk_of, own
from core.mmu.change import entry_at, swap_entry
from core.spte import LEAF, PRESENT, TABLE


@inlined
def entry_index(memory, machine, space, page, level):
    """Index into sptes of the entry of `level` (1 to 4) for `page` in `space`; it moves when the chunk's block does.

    Unsigned: compiled code asks of every signed index whether it counts from the end, an eighth of a fault's time.
    """
    if level == 1:
        return small_entry_index(machine, block_of(memory, chunk_of(machine, page)), space, page)
    region = page >> 9
    if level == 2:
        return np.uintp(machine.level2 + block_of(memory, region) * machine.spaces + space)
    gig = (region + machine.region_shift) >> 9
    if level == 3:
        return np.uintp(machine.level3 + space * machine.gigs + gig)
    return np.uintp(machine.level4 + space * (machine.gigs // 512 + 1) + (gig >> 9))


@inlined
def small_entry_index(machine, block, space, page):
    """Index into sptes of the level-1 entry for `page` in `space`, given the block of the page's chunk."""
    return np.uintp((block * machine.spaces + space << 9) + ((page - machine.chunk_start) & 511))


@inlined
def leaf_level(memory, machine, space, page):
    """Level of the leaf that maps `page` in `space`; 0 if none does."""
    entry = entry_at(memory, entry_index(memory, machine, space, page, 3))
    if entry & LEAF:
        return 3
    if entry == 0:
        return 0
    entry = entry_at(memory, entry_index(memory, machine, space, page, 2))
    if entry & LEAF:
        return 2
    if entry == 0:
        return 0
    return 1 if entry_at(memory, entry_index(memory, machine, space, page, 1)) & PRESENT else 0


@inlined
def link_tables(memory, machine, counters, space, page, level):
    """Link the tables that lead to an entry of `level` for `page`; return how many of levels 1 and 2 were new."""
    if level == 1 and entry_at(memory, entry_index(memory, machine, space, page, 2)):
        return 0
    if _link(memory, entry_index(memory, machine, space, page, 4)):
        counters.tables_upper += 1
    linked = 0
    if level <= 2 and _link(memory, entry_index(memory, machine, space, page, 3)):
        linked += 1
    if level == 1:
        own(memory, machine, page >> 9)
        if _link(memory, entry_index(memory, machine, space, page, 2)):
            linked += 1
    counters.tables_allocated += linked
    return linked


@inlined
def _link(memory, index):
    """Put a table below the entry if it has none; say whether this caller did."""
    return memory.sptes[index] == 0 and swap_entry(memory, index, 0, TABLE)


@inlined
def first_page(machine, page, level):
    """The first page that the entry of `level` (1 to 3) for `page` covers; before the region's start it is negative."""
    if level == 1:
        return page
    if level == 2:
        return page >> 9 << 9
    gig = ((page >> 9) + machine.region_shift) >> 9
    return ((gig << 9) - machine.region_shift) << 9
