"""Arguments of a kernel that Python calls, as one block of 64-bit words, in the order that compiled code takes them in.

An integer is a word, a record its address, an array seven and more: two for owners, which there are none of, its size,
the size of an element, its address, its shape and its strides. A tuple is its elements. That is numba's own order.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class Words:
    """Arguments as words, and of which kind they are: code compiled for some fits others of the same kinds only."""

    values: list[int]
    kinds: tuple[Any, ...]

    def __add__(self, other: Words) -> Words:
        return Words(self.values + other.values, self.kinds + other.kinds)


def words_of(arguments: tuple[Any, ...]) -> Words:
    """All arguments; TypeError for what no kernel takes."""
    values: list[int] = []
    kinds: list[Any] = []
    for argument in arguments:
        _add(argument, values, kinds)
    return Words(values, tuple(kinds))


def _add(argument: Any, values: list[int], kinds: list[Any]) -> None:
    if isinstance(argument, np.ndarray):
        values += (0, 0, argument.size, argument.itemsize, argument.ctypes.data, *argument.shape, *argument.strides)
        kinds += (argument.dtype, argument.ndim, _order(argument), argument.flags.aligned, argument.flags.writeable)
    elif isinstance(argument, tuple):
        kinds += (type(argument).__qualname__, len(argument))
        for element in argument:
            _add(element, values, kinds)
    elif isinstance(argument, np.void):
        values.append(np.frombuffer(argument, np.uint8).ctypes.data)
        kinds += ("record", argument.dtype)
    elif isinstance(argument, bool | np.bool_):
        values.append(int(argument))
        kinds.append("bool")
    elif isinstance(argument, int | np.integer):
        values.append(int(argument))
        kinds.append("int" if isinstance(argument, int) else argument.dtype.str)
    elif isinstance(argument, float):
        values.append(struct.unpack("q", struct.pack("d", argument))[0])
        kinds.append("float")
    else:
        raise TypeError(f"a kernel takes no {type(argument).__name__}")


def _order(array: Any) -> str:
    """How numba sees its layout; one row of a table is in both C and Fortran order."""
    return "C" if array.flags.c_contiguous else "F" if array.flags.f_contiguous else "A"
