"""Blocks: what is kept about the 512 pages of a chunk, shared by chunks in the same state, copied before a change.

A chunk is read through `block_of`; whoever changes something about its pages calls `own` first. In the live engine
every chunk has a block of its own from the start, so nothing is ever copied there.
"""

from __future__ import annotations

import numpy as np

from core.compiled.kernel import inlined, kernel
from core.tables import WORDS_PER_BLOCK


@inlined
def chunk_of(machine, page):
    """The chunk of a page's level-1 entries and bits; that of its level-2 entry is page >> 9."""
    return (page - machine.chunk_start) >> 9


@inlined
def block_of(memory, chunk):
    """The block that holds the chunk's state."""
    return memory.block_of[np.uintp(chunk)]  # unsigned, see walk.entry_index


@inlined
def own(memory, machine, chunk):
    """Give the chunk a block that nobody shares, so that it may change; return it."""
    block = block_of(memory, chunk)
    if memory.references[np.uintp(block)] > 1:
        block = _copy_block(memory, machine, chunk, block)
    return block


@inlined
def hold(memory, chunk):
    """Keep the chunk's block as it is, until `release`; return it."""
    block = block_of(memory, chunk)
    memory.references[block] += 1
    return block


@kernel
def release(memory, block):
    """One reference less; a block without any is free."""
    memory.references[block] -= 1
    if memory.references[block] == 0:
        memory.free_blocks[memory.block_counts[0]] = block
        memory.block_counts[0] += 1


@inlined
def share(memory, chunk, block):
    """Let the chunk have the state that `block` holds."""
    before = block_of(memory, chunk)
    memory.references[block] += 1
    memory.block_of[chunk] = block
    release(memory, before)


@inlined
def is_like(memory, machine, chunk, block):
    """Whether the chunk is in the state that `block` holds; if so they share that block from now on."""
    own_block = block_of(memory, chunk)
    if own_block == block:
        return True
    if not _same_content(memory, machine, own_block, block):
        return False
    share(memory, chunk, block)
    return True


@kernel
def _copy_block(memory, machine, chunk, shared):
    """Give the chunk a copy of the block it shares."""
    if memory.block_counts[0]:
        memory.block_counts[0] -= 1
        block = memory.free_blocks[memory.block_counts[0]]
    else:
        block = memory.block_counts[1]
        memory.block_counts[1] += 1
    entries = machine.roots_1 << 9
    _copy(memory.sptes, block * entries, shared * entries, entries)
    _copy(
        memory.sptes,
        machine.level2 + block * machine.roots_2,
        machine.level2 + shared * machine.roots_2,
        machine.roots_2,
    )
    states = _states_per_block(machine.backing_shift)
    _copy(memory.host_writable, block * states, shared * states, states)
    states = _states_per_block(machine.guest_shift)
    _copy(memory.guest_dirty, block * states, shared * states, states)
    for bitmap in (memory.dirty, memory.reported):
        _copy(bitmap, block * WORDS_PER_BLOCK, shared * WORDS_PER_BLOCK, WORDS_PER_BLOCK)
    memory.references[shared] -= 1
    memory.references[block] = 1
    memory.block_of[chunk] = block
    return block


@kernel
def _same_content(memory, machine, one, other):
    entries = machine.roots_1 << 9
    second = machine.level2 + one * machine.roots_2
    if not _equal(memory.sptes, second, machine.level2 + other * machine.roots_2, machine.roots_2):
        return False
    for bitmap in (memory.dirty, memory.reported):
        if not _equal(bitmap, one * WORDS_PER_BLOCK, other * WORDS_PER_BLOCK, WORDS_PER_BLOCK):
            return False
    states = _states_per_block(machine.backing_shift)
    if not _equal(memory.host_writable, one * states, other * states, states):
        return False
    states = _states_per_block(machine.guest_shift)
    if not _equal(memory.guest_dirty, one * states, other * states, states):
        return False
    return _equal(memory.sptes, one * entries, other * entries, entries)


@inlined
def _states_per_block(shift):
    """Pages of 2**shift pages in a block; none if they are larger, or not kept (-1)."""
    return 512 >> shift if 0 <= shift <= 9 else 0


@inlined
def _copy(array, to, start, count):
    # slices, because the compiler turns a loop over their own indices into one over many at once
    target, source = array[to : to + count], array[start : start + count]
    for index in range(count):
        target[index] = source[index]


@inlined
def _equal(array, one, other, count):
    first, second = array[one : one + count], array[other : other + count]
    same = True
    for index in range(count):  # looks at all of them, see `_copy`
        same &= first[index] == second[index]
    return same
