"""The operations of core/compiled/atomics.py in compiled code.

numba has no CPU atomics of its own; LLVM's cmpxchg, atomicrmw, atomic load and store, ctlz, cttz and ctpop are reached
through intrinsics.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload
from numba.np.arrayobj import make_array

from core.compiled.atomics import (
    address_of,
    compare_and_swap,
    count_ones,
    exchange,
    fetch_add,
    fetch_and_not,
    fetch_or,
    highest_one,
    load_acquire,
    lowest_one,
    store_release,
)


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


@intrinsic
def _load(typing_context: Any, array: Any, index: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _element(context, builder, signature, arguments)
        return builder.load_atomic(pointer, "acquire", array.dtype.bitwidth // 8)

    return array.dtype(array, index), generate


@intrinsic
def _store(typing_context: Any, array: Any, index: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _element(context, builder, signature, arguments)
        stored = context.cast(builder, arguments[2], signature.args[2], array.dtype)
        builder.store_atomic(stored, pointer, "release", array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.none(array, index, value), generate


@intrinsic
def _address(typing_context: Any, array: Any, index: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ptrtoint(_element(context, builder, signature, arguments), ir.IntType(64))

    return types.int64(array, index), generate


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
_pointer_value: Any = _address
_atomic_load: Any = _load
_atomic_store: Any = _store
_atomic_exchange = _read_modify_write("xchg", invert=False)
_atomic_add = _read_modify_write("add", invert=False)
_atomic_or = _read_modify_write("or", invert=False)
_atomic_and_not = _read_modify_write("and", invert=True)
_ctpop, _cttz, _ctlz = _bit_count("ctpop"), _bit_count("cttz"), _bit_count("ctlz")


@overload(compare_and_swap, inline="always", strict=False)
def _compare_and_swap(array: Any, index: Any, expected: Any, new: Any) -> Any:
    return lambda array, index, expected, new: _swap(array, index, expected, new)


@overload(load_acquire, inline="always", strict=False)
def _load_acquire(array: Any, index: Any) -> Any:
    return lambda array, index: _atomic_load(array, index)


@overload(store_release, inline="always", strict=False)
def _store_release(array: Any, index: Any, value: Any) -> Any:
    return lambda array, index, value: _atomic_store(array, index, value)


@overload(exchange, inline="always", strict=False)
def _exchange(array: Any, index: Any, value: Any) -> Any:
    return lambda array, index, value: _atomic_exchange(array, index, value)


@overload(fetch_add, inline="always", strict=False)
def _fetch_add(array: Any, index: Any, value: Any) -> Any:
    return lambda array, index, value: _atomic_add(array, index, value)


@overload(fetch_or, inline="always", strict=False)
def _fetch_or(array: Any, index: Any, bits: Any) -> Any:
    return lambda array, index, bits: _atomic_or(array, index, bits)


@overload(fetch_and_not, inline="always", strict=False)
def _fetch_and_not(array: Any, index: Any, bits: Any) -> Any:
    return lambda array, index, bits: _atomic_and_not(array, index, bits)


@overload(address_of, inline="always", strict=False)
def _address_of(array: Any, index: Any) -> Any:
    return lambda array, index: _pointer_value(array, index)


@overload(count_ones, inline="always", strict=False)
def _count_ones(value: Any) -> Any:
    return lambda value: _ctpop(value)


@overload(lowest_one, inline="always", strict=False)
def _lowest_one(value: Any) -> Any:
    return lambda value: _cttz(value)


@overload(highest_one, inline="always", strict=False)
def _highest_one(value: Any) -> Any:
    return lambda value: _ctlz(value)
