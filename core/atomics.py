"""Atomic operations on array elements, and the bit counts the bitmap walks need.

numba has no CPU atomics of its own; LLVM's cmpxchg, atomicrmw, ctlz, cttz and ctpop are reached through intrinsics.
They work on any contiguous integer array, one in shared memory too. Each has a plain-Python twin of the same name,
used when compilation is disabled (single-threaded, so it need not be atomic).
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload
from numba.np.arrayobj import make_array


def compare_and_swap(array: Any, index: int, expected: int, new: int) -> bool:
    """Set array[index] to `new` if it still is `expected`; say whether it was."""
    if array[index] != expected:
        return False
    array[index] = new
    return True


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


def count_ones(value: int) -> int:
    """Number of bits set in a 64-bit value."""
    return int(value).bit_count()


def lowest_one(value: int) -> int:
    """Index of the lowest bit set in a 64-bit value, which must not be 0."""
    return (int(value) & -int(value)).bit_length() - 1


def highest_one(value: int) -> int:
    """Index of the highest bit set in a 64-bit value, which must not be 0."""
    return int(value).bit_length() - 1


def _element(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    array_type, index_type = signature.args[:2]
    array = make_array(array_type)(context, builder, arguments[0])
    index = context.cast(builder, arguments[1], index_type, types.intp)
    return cgutils.get_item_pointer(context, builder, array_type, array, [index], wraparound=False)


@intrinsic
def _cmpxchg(typing_context: Any, array: Any, index: Any, expected: Any, new: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _element(context, builder, signature, arguments)
        before = context.cast(builder, arguments[2], signature.args[2], array.dtype)
        after = context.cast(builder, arguments[3], signature.args[3], array.dtype)
        return builder.extract_value(builder.cmpxchg(pointer, before, after, "acq_rel", "acquire"), 1)

    return types.boolean(array, index, expected, new), generate


def _read_modify_write(operation: str, invert: bool) -> Any:
    def typed(typing_context: Any, array: Any, index: Any, bits: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            pointer = _element(context, builder, signature, arguments)
            value = context.cast(builder, arguments[2], signature.args[2], array.dtype)
            return builder.atomic_rmw(operation, pointer, builder.not_(value) if invert else value, "acq_rel")

        return array.dtype(array, index, bits), generate

    return intrinsic(typed)


def _bit_count(name: str) -> Any:
    def typed(typing_context: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            word = context.cast(builder, arguments[0], signature.args[0], types.uint64)
            if name == "ctpop":
                return builder.ctpop(word)
            zeros = getattr(builder, name)(word, ir.Constant(ir.IntType(1), 0))
            return zeros if name == "cttz" else builder.sub(ir.Constant(ir.IntType(64), 63), zeros)

        return types.int64(value), generate

    return intrinsic(typed)


_swap: Any = _cmpxchg  # called from compiled code, which supplies the typing context
_atomic_or = _read_modify_write("or", invert=False)
_atomic_and_not = _read_modify_write("and", invert=True)
_ctpop, _cttz, _ctlz = _bit_count("ctpop"), _bit_count("cttz"), _bit_count("ctlz")


@overload(compare_and_swap, inline="always", strict=False)
def _compare_and_swap(array: Any, index: Any, expected: Any, new: Any) -> Any:
    return lambda array, index, expected, new: _swap(array, index, expected, new)


@overload(fetch_or, inline="always", strict=False)
def _fetch_or(array: Any, index: Any, bits: Any) -> Any:
    return lambda array, index, bits: _atomic_or(array, index, bits)


@overload(fetch_and_not, inline="always", strict=False)
def _fetch_and_not(array: Any, index: Any, bits: Any) -> Any:
    return lambda array, index, bits: _atomic_and_not(array, index, bits)


@overload(count_ones, inline="always", strict=False)
def _count_ones(value: Any) -> Any:
    return lambda value: _ctpop(value)


@overload(lowest_one, inline="always", strict=False)
def _lowest_one(value: Any) -> Any:
    return lambda value: _cttz(value)


@overload(highest_one, inline="always", strict=False)
def _highest_one(value: Any) -> Any:
    return lambda value: _ctlz(value)
