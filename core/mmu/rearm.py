"""Making leaves report the next write again: write-protection, or clearing the D-bit where PML logs it."""

from __future__ import annotations

from core.compiled.atomics import highest_one, lowest_one
from core.compiled.kernel import inlined, kernel
from core.mmu.change import clear_bits, swap_entry
from core.mmu.dirty_log import ALL_ONES, ONE, word_index
from core.mmu.split import split_down_to
from core.mmu.walk import entry_index, leaf_level
from core.spte import ALL_BITS, DIRTY, LEAF, MMU_WRITABLE, TABLE, WRITABLE


@inlined
def _drop(memory, index, seen, bits):
    """Take `bits` from the leaf at `index` if it has the bit `seen`; return 1 if it had."""
    while True:  # a lock-free fix, or a guest that sets the D-bit, may come in between
        entry = memory.sptes[index]
        if not entry & seen:
            return 0
        if swap_entry(memory, index, entry, entry & (ALL_BITS ^ bits)):
            return 1


@kernel
def clear_dirty_bit(memory, counters, index):
    """Clear the D-bit of the leaf at `index`, so that PML logs its next write; return 1 if it was set."""
    cleared = _drop(memory, index, DIRTY, DIRTY)
    counters.dirty_cleared += cleared
    return cleared


@kernel
def write_protect(memory, counters, index):
    """Make the leaf at `index` read-only, so that its next write faults; return 1 if it was writable."""
    protected = _drop(memory, index, WRITABLE, WRITABLE)
    counters.write_protected += protected
    return protected


@inlined
def rearm_tracked_leaf(memory, machine, counters, index):
    """Let the tracked leaf at `index` report its next write, by PML or by a fault; return 1 if that changed it."""
    return clear_dirty_bit(memory, counters, index) if machine.pml else write_protect(memory, counters, index)


@kernel
def protect_huge_for_clear(memory, machine, counters, root, page, level):
    """The clear of initially_all_set write-protects a huge leaf by gfn, which also forbids a lock-free fix later."""
    index = entry_index(memory, machine, root, page, level)
    counters.write_protected += _drop(memory, index, WRITABLE, WRITABLE | MMU_WRITABLE)


@kernel
def split_for_word(memory, machine, counters, first, last):
    """Eager splitting in a clear: split huge leaves over pages `first` to `last` in all roots; return leaves made."""
    made = 0
    for root in range(machine.roots):
        for page in (first, last):
            level = leaf_level(memory, machine, root, page)
            if level > machine.track_level:
                made += split_down_to(memory, machine, counters, root, page, level, machine.track_level)
    return made


@kernel
def take_dirty_word(memory, machine, word):
    """get: move a word of the bitmap to user space; with manual protection the kernel keeps its bits until clear."""
    index = word_index(memory, machine, word)
    mask = memory.dirty[index]
    if not machine.manual and mask:
        mask = clear_bits(memory, memory.dirty, index, ALL_ONES)
    memory.reported[index] = mask
    return mask


@kernel
def take_reported_word(memory, machine, word):
    """clear: take the bits of a word that user space hands back out of the kernel's bitmap; return those it had."""
    index = word_index(memory, machine, word)
    mask = memory.reported[index]
    return mask & clear_bits(memory, memory.dirty, index, mask) if mask else mask


@kernel
def rearm_word(memory, machine, counters, word, mask):
    """Re-arm the pages of `mask` in a word of the bitmap, in all roots; return the leaves (made, visited, changed).

    With initially_all_set the huge leaves that remain over the word are split (eager) or write-protected first.
    """
    base = machine.first + (word << 6)
    first, last = base + lowest_one(mask), base + highest_one(mask)
    made = 0
    if machine.all_set:
        if machine.eager:
            made = split_for_word(memory, machine, counters, first, last)
        for root in range(machine.roots):
            for page in (first, last):
                level = leaf_level(memory, machine, root, page)
                if level > machine.track_level:
                    protect_huge_for_clear(memory, machine, counters, root, page, level)
    visited = 0
    changed = 0
    if machine.track_level == 2:
        for root in range(machine.roots_2):
            index = entry_index(memory, machine, root, first, 2)
            if memory.sptes[index] & LEAF:
                changed += rearm_tracked_leaf(memory, machine, counters, index)
                visited += 1
        return made, visited, changed
    for root in range(machine.roots_1):
        region = -1
        left = mask
        while left:
            page = base + lowest_one(left)
            left &= left - ONE
            if page >> 9 != region:  # a word straddles two tables where the region starts off a 2M boundary
                region = page >> 9
                has_table = has_small_table(memory, machine, root, page)
            if not has_table:
                continue
            index = entry_index(memory, machine, root, page, 1)
            if memory.sptes[index]:
                changed += rearm_tracked_leaf(memory, machine, counters, index)
                visited += 1
    return made, visited, changed


@kernel
def has_small_table(memory, machine, root, page):
    """Whether there may be entries of level 1 around `page`: a table that roots share may be any root's."""
    if machine.shared_level:
        return True
    return memory.sptes[entry_index(memory, machine, root, page, 2)] == TABLE
