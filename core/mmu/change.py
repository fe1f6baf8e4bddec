"""How entries and bitmaps change: by one atomic operation where processes share them, plainly where one simulates all.

The type of the memory decides when a kernel is compiled: tables.SharedMemory is that of the live engine. An atomic
operation takes some 5 ns even where nobody else looks, which the simulator would feel with every fault.
"""

from __future__ import annotations

from typing import Any

from core.compiled.alternatives import compiled_as
from core.compiled.atomics import compare_and_swap, fetch_and_not, fetch_or, load_acquire, store_release
from core.compiled.instructions import pause
from core.compiled.kernel import inlined
from core.spte import FROZEN
from core.tables import SharedMemory


def swap_entry(memory: Any, index: int, expected: int, new: int) -> bool:
    """Set an SPTE to `new` if it still is `expected`; say whether it was."""
    return compare_and_swap(memory.sptes, index, expected, new)


def entry_at(memory: Any, index: int) -> int:
    """An SPTE; where somebody is splitting the leaf, the table that takes its place."""
    return int(memory.sptes[index])


def link_entry(memory: Any, index: int, new: int) -> None:
    """Put `new` where the caller froze the entry; whoever sees it sees what was written below it before."""
    memory.sptes[index] = new


def set_bits(memory: Any, words: Any, index: int, bits: int) -> int:
    """Set `bits` in words[index], a bitmap of `memory`; return the value before."""
    return fetch_or(words, index, bits)


def clear_bits(memory: Any, words: Any, index: int, bits: int) -> int:
    """Clear `bits` in words[index], a bitmap of `memory`; return the value before."""
    return fetch_and_not(words, index, bits)


def _is_shared(memory: Any) -> bool:
    return memory.instance_class is SharedMemory


@compiled_as(swap_entry)
def _swap_entry(memory: Any, index: Any, expected: Any, new: Any) -> Any:
    if _is_shared(memory):
        return lambda memory, index, expected, new: compare_and_swap(memory.sptes, index, expected, new)

    def plainly(memory, index, expected, new):
        if memory.sptes[index] != expected:
            return False
        memory.sptes[index] = new
        return True

    return plainly


@compiled_as(entry_at)
def _entry_at(memory: Any, index: Any) -> Any:
    if not _is_shared(memory):
        return lambda memory, index: memory.sptes[index]

    return lambda memory, index: _thawed_entry(memory.sptes, index)


@inlined
def _thawed_entry(sptes, index):
    entry = load_acquire(sptes, index)
    while entry == FROZEN:
        pause()
        entry = load_acquire(sptes, index)
    return entry


@compiled_as(link_entry)
def _link_entry(memory: Any, index: Any, new: Any) -> Any:
    if _is_shared(memory):
        return lambda memory, index, new: store_release(memory.sptes, index, new)

    def plainly(memory, index, new):
        memory.sptes[index] = new

    return plainly


@compiled_as(set_bits)
def _set_bits(memory: Any, words: Any, index: Any, bits: Any) -> Any:
    if _is_shared(memory):
        return lambda memory, words, index, bits: fetch_or(words, index, bits)

    def plainly(memory, words, index, bits):
        before = words[index]
        words[index] = before | bits
        return before

    return plainly


@compiled_as(clear_bits)
def _clear_bits(memory: Any, words: Any, index: Any, bits: Any) -> Any:
    if _is_shared(memory):
        return lambda memory, words, index, bits: fetch_and_not(words, index, bits)

    def plainly(memory, words, index, bits):
        before = words[index]
        words[index] = before & ~bits
        return before

    return plainly
