"""Page faults: the lock-free fix, and the slow path that maps, splits or drops under mmu_lock.

Follows docs/model.md section 3. While a slot is logged, nothing is mapped above the tracking level, for reads too; a
read fault maps the page writable and so reports it dirty.
"""

from __future__ import annotations

import numpy as np

from core.compiled.kernel import inlined, kernel
from core.mmu.block import block_of, chunk_of, own
from core.mmu.change import entry_at, link_entry, swap_entry
from core.mmu.dirty_log import mark_leaf_dirty
from core.mmu.split import split_down_to, splits_so_far
from core.mmu.walk import entry_index, leaf_level, link_tables, small_entry_index
from core.mmu.zap import zap_leaf, zap_table
from core.spte import DIRTY, FROZEN, LEAF, MMU_WRITABLE, READ_ONLY_LEAF, TABLE, WRITABLE, WRITABLE_LEAF


@inlined
def count_fault(counters, present, write):
    """Count a fault by what caused it: an unmapped page, or a write to a read-only leaf."""
    counters.faults += 1
    if present:
        counters.faults_write_protect += 1
    else:
        counters.faults_not_present += 1
        if not write:
            counters.faults_not_present_read += 1


@inlined
def is_fast(machine, entry, level, logging):
    """Whether fast_page_fault may make a read-only leaf writable: a huge one only while nothing is logged."""
    return machine.has_fast_fault == 1 and (entry & MMU_WRITABLE) != 0 and (not logging or level <= machine.track_level)


@kernel
def fix_fast(memory, machine, counters, root, page, level, entry, logging):
    """fast_page_fault: make the leaf of `level`, seen as `entry`, writable, without the lock.

    It leaves the D-bit as it is: where PML is on and has it clear, the write that now goes through is logged, too.
    """
    block = own(memory, machine, chunk_of(machine, page))
    index = entry_index(memory, machine, root, page, level)
    if not swap_entry(memory, index, entry, entry | WRITABLE):
        counters.faults_spurious += 1  # another vCPU was first
        return
    counters.faults_fast += 1
    if logging:
        mark_leaf_dirty(memory, machine, block, page, level)


@inlined
def handle_fault(memory, machine, costs, counters, root, page, level, write, logging):
    """Handle a fault on `page`, which a leaf of `level` maps (0: none), inside mmu_lock; return how long that takes."""
    block = own(memory, machine, chunk_of(machine, page))
    if write and _replace_zero_page(memory, machine, counters, block, page):
        return costs.drop_hold + _map(memory, machine, costs, counters, block, root, page, True, logging)
    writable = _is_writable(memory, machine, block, page, write)
    if level == 0:
        return _map(memory, machine, costs, counters, block, root, page, writable, logging)
    if not write or memory.sptes[entry_index(memory, machine, root, page, level)] & WRITABLE:
        counters.faults_spurious += 1
        return costs.fix_hold
    target = machine.track_level if logging else level
    if level > target and not machine.fault_splits:
        counters.tlb_flushes += zap_leaf(memory, machine, counters, root, page, level)
        return costs.drop_hold + _map(memory, machine, costs, counters, block, root, page, True, logging)
    splits = splits_so_far(counters)
    made = split_down_to(memory, machine, counters, root, page, level, target)
    index = entry_index(memory, machine, root, page, target)
    entry = entry_at(memory, index)
    is_fixed = entry & LEAF != 0 and swap_entry(memory, index, entry, entry | WRITABLE | MMU_WRITABLE | DIRTY)
    if is_fixed and logging:
        mark_leaf_dirty(memory, machine, block_of(memory, chunk_of(machine, page)), page, target)
    return made * costs.split_child + (splits_so_far(counters) - splits) * costs.table_hold + costs.fix_hold


@inlined
def _map(memory, machine, costs, counters, block, root, page, writable, logging):
    """Map `page` at the largest level allowed now; return how long that takes inside the lock."""
    level = machine.track_level if logging else machine.leaf_level
    hold = costs.map_hold + costs.table_hold * link_tables(memory, machine, counters, root, page, level)
    level_1 = small_entry_index(machine, block, root, page)
    index = level_1 if level == 1 else entry_index(memory, machine, root, page, level)
    entry = entry_at(memory, index)
    if entry & LEAF and (entry & WRITABLE or not writable):  # another reader of the lock, or another root, was first
        counters.faults_spurious += 1
        return hold
    if entry == TABLE:
        # An emptied table stands where the huge leaf goes (rmap MMUs, after logging was disabled). It is unlinked and
        # stays with KVM, which frees it when it needs memory.
        counters.tlb_flushes += 1
        hold += costs.drop_hold
        if (
            machine.concurrent and machine.roots == 1
        ):  # the ioctl thread has not been here yet: the table may hold leaves
            if not swap_entry(memory, index, TABLE, FROZEN):
                return hold
            zap_table(memory, machine, counters, root, page, level)
            link_entry(memory, index, 0)
            entry = 0
    if swap_entry(memory, index, entry, WRITABLE_LEAF if writable else READ_ONLY_LEAF):
        counters.leaves[level] += 0 if entry & LEAF else 1
        if logging and writable:
            mark_leaf_dirty(memory, machine, block, page, level)
    return hold


@inlined
def _is_writable(memory, machine, block, page, write):
    """Whether a leaf for the page may be writable: the host's page is, and the guest's D-bit is set (shadow).

    Both come with the first write; only a populate with reads sees them missing.
    """
    host = _state_index(machine, block, page, machine.backing_shift)
    if write:
        memory.host_writable[host] = 1
    if machine.guest_shift >= 0:
        guest = _state_index(machine, block, page, machine.guest_shift)
        if write:
            memory.guest_dirty[guest] = 1
        if not memory.guest_dirty[guest]:
            return False
    return memory.host_writable[host] != 0


@inlined
def _state_index(machine, block, page, shift):
    """Index into host_writable or guest_dirty, whose pages are of 2**shift pages, of the one that holds `page`."""
    number = page - machine.first
    if shift > 9:
        return np.uintp(number >> shift)
    return np.uintp((block << 9 | number & 511) >> shift)


@inlined
def _replace_zero_page(memory, machine, counters, block, page):
    """The first write of a 4K page that was only read so far; say whether any root mapped the host's zero page.

    The host replaces the zero page by one of its own. Its notifier drops the SPTEs that map the old one, KVM finds its
    work outdated and lets the guest fault again: a not-present fault that maps the new page. (Huge pages of hugetlbfs
    are never shared so, and are made writable in place.)
    """
    if machine.backing_shift or memory.host_writable[_state_index(machine, block, page, 0)]:
        return False
    _is_writable(memory, machine, block, page, True)
    dropped = 0
    for root in range(machine.roots):
        if leaf_level(memory, machine, root, page) == 1:
            dropped += zap_leaf(memory, machine, counters, root, page, 1)
    if dropped:
        counters.tlb_flushes += 1
        counters.lock_acquisitions += 1
        count_fault(counters, False, True)
    return dropped > 0
