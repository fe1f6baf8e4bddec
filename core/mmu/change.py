"""How entries and bitmaps change: by one atomic operation where processes share them, plainly where one simulates all.

The type of the memory decides when a kernel is compiled: tables.SharedMemory is that of the live engine. An atomic
operation takes some 5 ns even where nobody else looks, which the simulator would feel with every fault.
"""

from __future__ import annotations

from typing import Any

from numba.extending import overload

from core.atomics import compare_and_swap, fetch_and_not, fetch_or
from core.tables import SharedMemory


def swap_entry(memory: Any, index: int, expected: int, new: int) -> bool:
    """Set an SPTE to `new` if it still is `expected`; say whether it was."""
    return compare_and_swap(memory.sptes, index, expected, new)


def set_bits(memory: Any, words: Any, index: int, bits: int) -> int:
    """Set `bits` in words[index], a bitmap of `memory`; return the value before."""
    return fetch_or(words, index, bits)


def clear_bits(memory: Any, words: Any, index: int, bits: int) -> int:
    """Clear `bits` in words[index], a bitmap of `memory`; return the value before."""
    return fetch_and_not(words, index, bits)


def _is_shared(memory: Any) -> bool:
    return memory.instance_class is SharedMemory


@overload(swap_entry, inline="always", strict=False)
def _swap_entry(memory: Any, index: Any, expected: Any, new: Any) -> Any:
    if _is_shared(memory):
        return lambda memory, index, expected, new: compare_and_swap(memory.sptes, index, expected, new)

    def plainly(memory, index, expected, new):
        if memory.sptes[index] != expected:
            return False
        memory.sptes[index] = new
        return True

    return plainly


@overload(set_bits, inline="always", strict=False)
def _set_bits(memory: Any, words: Any, index: Any, bits: Any) -> Any:
    if _is_shared(memory):
        return lambda memory, words, index, bits: fetch_or(words, index, bits)

    def plainly(memory, words, index, bits):
        before = words[index]
        words[index] = before | bits
        return before

    return plainly


@overload(clear_bits, inline="always", strict=False)
def _clear_bits(memory: Any, words: Any, index: Any, bits: Any) -> Any:
    if _is_shared(memory):
        return lambda memory, words, index, bits: fetch_and_not(words, index, bits)

    def plainly(memory, words, index, bits):
        before = words[index]
        words[index] = before & ~bits
        return before

    return plainly
