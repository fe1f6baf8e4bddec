"""The points that the tables of a spec name, by number: a million of them are not held, but made when asked for.

Points that differ only in fields that no rule asks for (core.config.UNJUDGED) are alike: they are judged together.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sweep.spec.file import SpecFile
from sweep.spec.grid import Grid, Point, grid_point, grid_size, grid_strides
from sweep.spec.sample import sample_point, sample_rows


@dataclass(frozen=True, slots=True)
class Table:
    """One table of a spec: so many points in an order."""

    place: str  # in the file
    size: int
    point: Callable[[int], Point]  # by its number, from 0
    grid: Grid  # whose product they are; of a sample nothing


def point_tables(tables: SpecFile) -> list[Table]:
    """The tables that name points. Without grids and without sample, [fixed] alone is one point."""
    sample = tables.sample
    if sample is not None:
        rows = sample_rows(sample)
        return [Table("[sample]", sample.n, lambda number: sample_point(sample, rows[number]), {})]
    if not tables.grids:
        return [Table("[fixed]", 1, lambda number: {}, {})]
    return [
        Table(f"[[grid]] {number}", grid_size(grid), partial(grid_point, grid, grid_strides(grid)), grid)
        for number, grid in enumerate(tables.grids, start=1)
    ]


def count_points(tables: SpecFile) -> int:
    """How many points the tables name, counted without making any."""
    return tables.sample.n if tables.sample else sum(grid_size(grid) for grid in tables.grids or ({},))


def alike(table: Table, fields: Collection[str]) -> tuple[Grid, Any, Iterator[tuple[int, Point]]]:
    """The points as groups that differ only in some of these fields.

    These axes; how much further than the first of its group each point is, as an array in the order of their product;
    and of each group the number of its first point, with that point.
    """
    import numpy as np

    if not table.grid:
        return {}, np.zeros(1, np.uint32), ((number, table.point(number)) for number in range(table.size))
    strides = grid_strides(table.grid)
    free = {name: values for name, values in table.grid.items() if name in fields}
    others = {name: values for name, values in table.grid.items() if name not in fields}
    first = {name: values[0] for name, values in free.items()}
    groups = (
        (number, {**point, **first}) for number, point in zip(_numbers(others, strides), _products(others), strict=True)
    )
    return free, np.fromiter(_numbers(free, strides), np.uint32), groups


def _numbers(grid: Grid, strides: Mapping[str, int]) -> Iterator[int]:
    steps = [range(0, strides[name] * len(values), strides[name]) for name, values in grid.items()]
    return map(sum, itertools.product(*steps))


def _products(grid: Grid) -> Iterator[Point]:
    for values in itertools.product(*grid.values()):
        yield dict(zip(grid, values, strict=True))


def number_in(tables: Sequence[Table], number: int) -> tuple[Table, int]:
    """The table of a point that is counted through all of them, and its number there."""
    for table in tables:
        if number < table.size:
            return table, number
        number -= table.size
    raise IndexError(number)
