"""The shared-memory segment of a live run: one nameless memory file, laid out as a list of arrays.

The file (memfd) has no name anywhere, so the kernel frees it with the last process that maps it: nothing can be left
behind, whoever is killed. Other processes get it by file descriptor (core.live.processes.server) and lay the same
arrays over it. Its first line is the abort line of core.live.sync.waiting; the fields follow in their order, each on a
cache line of its own or on a page of its own. It starts as zeros, and a page takes memory only once it is written.
"""

from __future__ import annotations

import mmap
import os
import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from core.compiled.records import Integers
from core.live.processes.errors import LiveError
from core.live.sync.waiting import ABORT_WORDS, prepare_abort

CACHE_LINE: Final = 64
PAGE: Final = mmap.PAGESIZE


@dataclass(frozen=True, slots=True)
class Field:
    """An array of the segment: its name, the type and number of its elements, and where it may begin."""

    name: str
    dtype: npt.DTypeLike
    count: int
    alignment: int = CACHE_LINE


@dataclass(frozen=True, slots=True)
class Segment:
    """A mapped segment: `arrays` by name are views of it."""

    descriptor: int
    fields: tuple[Field, ...]
    mapping: mmap.mmap
    abort: Integers
    arrays: dict[str, npt.NDArray[Any]]

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        return self.arrays[name]


def check_host() -> None:
    """Raise LiveError where live runs are impossible."""
    if not hasattr(os, "memfd_create"):
        raise LiveError(f"the live engine needs Linux, which has memfd_create; this is {platform.system()}")


@contextmanager
def new_segment(fields: Sequence[Field]) -> Iterator[Segment]:
    """A segment of zeros with these fields, whose descriptor is open inside the `with`.

    Views taken from it stay valid afterwards; the memory is freed with the last of them, in whichever process.
    """
    check_host()
    descriptor = os.memfd_create("splitsweep")
    try:
        os.ftruncate(descriptor, _places(fields)[-1])
        segment = map_segment(descriptor, fields)
        prepare_abort(segment.abort)
        yield segment
    finally:
        os.close(descriptor)


def map_segment(descriptor: int, fields: Sequence[Field]) -> Segment:
    """The segment in the memory file `descriptor`, which somebody made with the same fields."""
    *places, size = _places(fields)
    # its views keep the mapping alive, and the mapping goes with the last of them
    mapping = mmap.mmap(descriptor, size)
    abort = np.frombuffer(mapping, np.int64, ABORT_WORDS)
    arrays = {
        field.name: np.frombuffer(mapping, field.dtype, field.count, place)
        for field, place in zip(fields, places, strict=True)
    }
    return Segment(descriptor, tuple(fields), mapping, abort, arrays)


def _places(fields: Sequence[Field]) -> list[int]:
    """Where each field begins, and the size of all."""
    places = []
    end = ABORT_WORDS * np.dtype(np.int64).itemsize
    for field in fields:
        start = _round_up(end, max(CACHE_LINE, field.alignment))
        places.append(start)
        end = start + np.dtype(field.dtype).itemsize * field.count
    return [*places, _round_up(end, PAGE)]


def _round_up(number: int, step: int) -> int:
    return -(-number // step) * step
