"""The dirty bitmap: one bit per 4K page, set when a page becomes writable or is logged, taken by get and clear."""

from __future__ import annotations

import numpy as np

from core.compiled.atomics import count_ones
from core.compiled.kernel import inlined, kernel
from core.mmu.block import block_of, chunk_of, own, share
from core.mmu.change import set_bits
from core.tables import WORDS_PER_BLOCK

ALL_ONES = np.uint64(2**64 - 1)
ONE = np.uint64(1)


@inlined
def word_index(memory, machine, word):
    """Index into a bitmap of the word that holds pages 64 * word to 64 * word + 63 of the guest."""
    return block_of(memory, chunk_of(machine, machine.first + (word << 6))) * WORDS_PER_BLOCK + (word & 7)


@inlined
def mark_leaf_dirty(memory, machine, block, page, level):
    """Set the bits of every page the tracked leaf of `level` maps, in the chunk's block, which the caller owns."""
    first = block * WORDS_PER_BLOCK
    if level == 1:
        number = page - machine.first
        set_bits(memory, memory.dirty, first + (number >> 6 & 7), ONE << np.uint64(number & 63))
        return
    for word in range(first, first + WORDS_PER_BLOCK):
        set_bits(memory, memory.dirty, word, ALL_ONES)


@kernel
def set_all_dirty(memory, machine, first, end):
    """initially_all_set: the bitmap of pages `first` to `end` - 1 of the guest starts full."""
    before = after = -1
    while first < end:
        last = min(end, (first >> 9) + 1 << 9)
        chunk = chunk_of(machine, machine.first + first)
        if last - first == 512 and block_of(memory, chunk) == before:
            share(memory, chunk, after)  # chunks that were alike stay so
        else:
            before = block_of(memory, chunk)
            after = own(memory, machine, chunk)
            for word in range(first >> 6, last >> 6):
                memory.dirty[word_index(memory, machine, word)] = ALL_ONES
            if last - first < 512:
                before = -1
        first = last


@kernel
def count_reported(memory, machine, counters, first, end):
    """Count the pages that get reported dirty among `first` to `end` - 1 of the guest, which are a group of 512."""
    pages = 0
    for word in range(first >> 6, end >> 6):
        pages += count_ones(memory.reported[word_index(memory, machine, word)])
    counters.dirty_pages += pages
    counters.dirty_2m_regions += 1 if pages else 0
