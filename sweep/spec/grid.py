"""Grids: lists of values whose full product is taken.

Two grids of a spec must not share a point, or it would be unclear which of them meant it. Whether they do is decided
on the lists, without writing out a product that may be huge.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from core.config import MEM_TOTAL, Config, config_record

Grid = Mapping[str, tuple[object, ...]]
"""Field to its values, in the order of the file; the last field changes fastest."""

Point = dict[str, object]
"""The fields that a spec names for one config, with their values."""


def grid_size(grid: Grid) -> int:
    """Points of the product, counted without making them."""
    return math.prod(len(values) for values in grid.values())


def grid_strides(grid: Grid) -> dict[str, int]:
    """For each field, how much further in the order of points its next value is."""
    strides = {}
    stride = 1
    for name, values in reversed(list(grid.items())):
        strides[name] = stride
        stride *= len(values)
    return strides


def grid_point(grid: Grid, strides: Mapping[str, int], number: int) -> Point:
    """The point of this number in the order of points."""
    return {name: values[number // strides[name] % len(values)] for name, values in grid.items()}


def grid_points(grid: Grid) -> Iterator[Point]:
    """Every point of the product, in order."""
    for values in itertools.product(*grid.values()):
        yield dict(zip(grid, values, strict=True))


def shared_point(grid: Grid, other: Grid) -> Point | None:
    """The first point that both grids have, if any; a field that one does not name has its default there."""
    point: Point = {}
    for name in {**grid, **other}:
        theirs = set(_values(other, name))
        common = next((value for value in _values(grid, name) if value in theirs), _NOTHING)
        if common is _NOTHING:
            return None
        point[name] = common
    return point


def without_shared_points(grids: Sequence[Grid]) -> tuple[Grid, ...]:
    """Grids with the same points of which no two share one: a later grid gives way to the earlier ones."""
    kept: list[Grid] = []
    for grid in grids:
        parts = [grid]
        for earlier in tuple(kept):
            parts = [piece for part in parts for piece in _outside(part, earlier)]
        kept.extend(parts)
    return tuple(kept)


def _outside(grid: Grid, earlier: Grid) -> list[Grid]:
    """The points of `grid` that are not in `earlier`, as grids: per field, the slice beyond the shared values."""
    if shared_point(grid, earlier) is None:
        return [grid]
    pieces: list[Grid] = []
    rest = dict(grid)
    for name in {**grid, **earlier}:
        theirs = set(_values(earlier, name))
        beyond = tuple(value for value in _values(rest, name) if value not in theirs)
        if beyond:
            pieces.append({**rest, name: beyond})
            rest[name] = tuple(value for value in rest[name] if value in theirs)
    return pieces


def _values(grid: Grid, name: str) -> tuple[object, ...]:
    return grid[name] if name in grid else (_DEFAULTS[name],)


_NOTHING: Final = object()  # None is a value: of guest_page

# The default of initially_all_set depends on manual_protect, and mem_total has none: equal to no value of a grid.
_DEFAULTS: Mapping[str, object] = {**config_record(Config()), "initially_all_set": None, MEM_TOTAL: None}
