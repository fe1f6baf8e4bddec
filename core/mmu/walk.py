"""Finding the entry that maps a page, and linking the tables on the way down to one."""

from __future__ import annotations

import numpy as np

from core.compiled.kernel import inlined
from core.mmu.block import block_of, chunk_of, own
from core.mmu.change import entry_at, swap_entry
from core.spte import LEAF, PRESENT, TABLE


@inlined
def entry_index(memory, machine, root, page, level):
    """Index into sptes of the entry of `level` (1 to 4) for `page` under `root`; it moves when the chunk's block does.

    Unsigned: compiled code asks of every signed index whether it counts from the end, an eighth of a fault's time.
    """
    if level == 1:
        return small_entry_index(machine, block_of(memory, chunk_of(machine, page)), root, page)
    region = page >> 9
    if level == 2:
        return np.uintp(machine.level2 + block_of(memory, region) * machine.roots_2 + min(root, machine.roots_2 - 1))
    gig = (region + machine.region_shift) >> 9
    if level == 3:
        return np.uintp(machine.level3 + root * machine.gigs + gig)
    return np.uintp(machine.level4 + root * (machine.gigs // 512 + 1) + (gig >> 9))


@inlined
def small_entry_index(machine, block, root, page):
    """Index into sptes of the level-1 entry for `page` under `root`, given the block of the page's chunk."""
    table = block * machine.roots_1 + min(root, machine.roots_1 - 1)
    return np.uintp((table << 9) + ((page - machine.chunk_start) & 511))


@inlined
def leaf_level(memory, machine, root, page):
    """Level of the leaf that maps `page` under `root`; 0 if none does."""
    entry = entry_at(memory, entry_index(memory, machine, root, page, 3))
    if entry & LEAF:
        return 3
    if entry == 0:
        return 0
    entry = entry_at(memory, entry_index(memory, machine, root, page, 2))
    if entry & LEAF:
        return 2
    if entry == 0:
        return 0
    return 1 if entry_at(memory, entry_index(memory, machine, root, page, 1)) & PRESENT else 0


@inlined
def link_tables(memory, machine, counters, root, page, level):
    """Link the tables that lead to an entry of `level` for `page`; return how many of levels 1 and 2 were new."""
    is_linked = level == 1 and entry_at(memory, entry_index(memory, machine, root, page, 2)) != 0
    if is_linked and (machine.shared_level != 3 or entry_at(memory, entry_index(memory, machine, root, page, 3))):
        return 0
    if _link(memory, entry_index(memory, machine, root, page, 4)):
        counters.tables_upper += 1
    allocated = 0
    if level <= 2 and _link(memory, entry_index(memory, machine, root, page, 3)):
        allocated += 0 if is_linked_elsewhere(memory, machine, root, page, 3) else 1
    if level == 1:
        own(memory, machine, page >> 9)
        if _link(memory, entry_index(memory, machine, root, page, 2)):
            allocated += 0 if is_linked_elsewhere(memory, machine, root, page, 2) else 1
    counters.tables_allocated += allocated
    return allocated


@inlined
def is_linked_elsewhere(memory, machine, root, page, level):
    """Whether another root links the table below the entry of `level` for `page` already.

    Below a guest's huge page KVM's table is direct: found by gfn and role, it is the same one for all roots.
    """
    if level != machine.shared_level:
        return False
    for other in range(machine.roots):
        if other != root and memory.sptes[entry_index(memory, machine, other, page, level)] == TABLE:
            return True
    return False


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
