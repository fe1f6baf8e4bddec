"""Atomic operations on array elements, and the bit counts the bitmap walks need.

Here they are in plain Python, as they run when compilation is disabled (single-threaded, so they need not be atomic);
core/compiled/lowering/atomics.py has what they are in compiled code. They work on any contiguous integer array, one in
shared memory too.
"""

from __future__ import annotations

from typing import Any


def compare_and_swap(array: Any, index: int, expected: int, new: int) -> bool:
    """Set array[index] to `new` if it still is `expected`; say whether it was."""
    if array[index] != expected:
        return False
    array[index] = new
    return True


def load_acquire(array: Any, index: int) -> int:
    """array[index], read anew each time; what its writer stored before it is visible afterwards."""
    value: int = array[index]
    return value


def store_release(array: Any, index: int, value: int) -> None:
    """Set array[index]; what was stored before is visible to whoever reads the new value with `load_acquire`."""
    array[index] = value


def exchange(array: Any, index: int, value: int) -> int:
    """Set array[index]; return the value before."""
    before: int = array[index]
    array[index] = value
    return before


def fetch_add(array: Any, index: int, value: int) -> int:
    """Add `value` to array[index]; return the value before."""
    before: int = array[index]
    array[index] += array.dtype.type(value)
    return before


def fetch_or(array: Any, index: int, bits: int) -> int:
    """Set `bits` in array[index]; return the value before."""
    before: int = array[index]
    array[index] |= array.dtype.type(bits)
    return before


def fetch_and_not(array: Any, index: int, bits: int) -> int:
    """Clear `bits` in array[index]; return the value before."""
    before: int = array[index]
    array[index] &= ~array.dtype.type(bits)
    return before


def address_of(array: Any, index: int) -> int:
    """Where array[index] lies in memory, for a system call."""
    address: int = array.ctypes.data + index * array.itemsize
    return address


def count_ones(value: int) -> int:
    """Number of bits set in a 64-bit value."""
    return int(value).bit_count()


def lowest_one(value: int) -> int:
    """Index of the lowest bit set in a 64-bit value, which must not be 0."""
    return (int(value) & -int(value)).bit_length() - 1


def highest_one(value: int) -> int:
    """Index of the highest bit set in a 64-bit value, which must not be 0."""
    return int(value).bit_length() - 1
