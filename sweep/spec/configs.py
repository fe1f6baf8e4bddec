"""From a spec file to the configs it means, all of them validated before anything starts.

`where` is asked before a point is judged: it may leave out combinations that cannot exist, and it sees the fields as
the results will show them. Points that differ only in fields without effect become the same config and are merged.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from core.config import MEM_TOTAL, MEMORY_NAMES, Config, config_record, field_text, make_config
from core.errors import ConfigError, ProfileError
from sweep.errors import SpecError, spec_place
from sweep.spec.file import SpecFile, read_spec_file, spec_file_text, with_override
from sweep.spec.grid import Point, grid_points, grid_size
from sweep.spec.sample import sample_points
from sweep.spec.values import parse_override
from sweep.spec.where import rows_matching, where_fields

MAX_POINTS: Final = 1_000_000
"""A sweep beyond it is a mistake: at 10 ms each it would take three hours of engine time, and its plan gigabytes."""

_CHUNK: Final = 10_000  # points judged at a time: keeps memory flat, and one call of DuckDB serves them all


@dataclass(frozen=True, slots=True)
class Spec:
    """A validated sweep: its configs in the order of the file, each once."""

    name: str
    configs: tuple[Config, ...]
    merged: int  # points that turned out to be the config of an earlier point
    excluded: int  # points that `where` left out
    source: Path
    tables: SpecFile  # with the overrides


@dataclass(frozen=True, slots=True)
class _Judged:
    """A point with the config it means, or why it can mean none."""

    point: Point
    outcome: Config | ConfigError


def load_spec(path: Path, overrides: Sequence[str] = ()) -> Spec:
    """The sweep described by the file, with words `FIELD=V1,V2` replacing that field's values everywhere in it.

    Raises SpecError, with one line that names file, table, key, value and what is allowed.
    """
    with spec_place(str(path)):
        tables = read_spec_file(path)
    for name, values in _parsed(overrides).items():
        tables = with_override(tables, name, values)
    with spec_place(str(path)):
        configs, merged, excluded = _configs(tables)
        _check_profiles(configs)
    return Spec(tables.name, configs, merged, excluded, source=path, tables=tables)


def resolved_text(spec: Spec) -> str:
    """The spec with its overrides as TOML; run again, it gives the same configs."""
    return f"# The sweep as it was run: {len(spec.configs)} configs.\n{spec_file_text(spec.tables)}"


def _parsed(overrides: Sequence[str]) -> dict[str, tuple[object, ...]]:
    parsed: dict[str, tuple[object, ...]] = {}
    for word in overrides:
        name, values = parse_override(word)
        if name in parsed:
            raise SpecError(f"override {word}: {name} is overridden twice; write its values as {name}=V1,V2")
        parsed[name] = values
    if set(MEMORY_NAMES) <= set(parsed):
        raise SpecError(f"overrides: {' and '.join(MEMORY_NAMES)} say the same in two ways; keep one of them")
    return parsed


def _configs(tables: SpecFile) -> tuple[tuple[Config, ...], int, int]:
    """The configs, each once, the number of points merged and the number left out by `where`."""
    points = sum(_table_sizes(tables))
    if points > MAX_POINTS:
        raise SpecError(f"{points:,} points are too many; allowed: {MAX_POINTS:,}; shorten the lists or use [sample]")
    configs: dict[Config, None] = {}
    wanted = 0
    for place, table_points in _tables(tables):
        for config in _wanted_configs(place, table_points, tables):
            configs[config] = None
            wanted += 1
    if not configs:
        raise SpecError(f"where: none of the {points:,} points is left; widen the condition")
    return tuple(configs), wanted - len(configs), points - wanted


def _table_sizes(tables: SpecFile) -> Iterator[int]:
    if tables.sample is not None:
        yield tables.sample.n
    else:
        yield from (grid_size(grid) for grid in tables.grids or ({},))


def _tables(tables: SpecFile) -> Iterator[tuple[str, Iterable[Point]]]:
    """The points that each table names, with the table's place in the file."""
    if tables.sample is not None:
        yield "[sample]", sample_points(tables.sample)
    elif not tables.grids:
        yield "[fixed]", [{}]
    for number, grid in enumerate(tables.grids, start=1):
        yield f"[[grid]] {number}", grid_points(grid)


def _wanted_configs(place: str, points: Iterable[Point], tables: SpecFile) -> Iterator[Config]:
    """The configs of the points that `where` keeps; SpecError at the first of them that cannot exist."""
    remaining = iter(points)
    while chunk := [_judged({**tables.fixed, **point}) for point in itertools.islice(remaining, _CHUNK)]:
        for judged in chunk if tables.where is None else _kept(tables.where, chunk):
            if isinstance(judged.outcome, ConfigError):
                words = " ".join(f"{name}={field_text(name, value)}" for name, value in judged.point.items())
                raise SpecError(f"{place}: {judged.outcome} (in the point {words})") from judged.outcome
            yield judged.outcome


def _judged(point: Point) -> _Judged:
    try:
        return _Judged(point, make_config(point))
    except ConfigError as error:
        return _Judged(point, error)


def _kept(where: str, chunk: Sequence[_Judged]) -> list[_Judged]:
    columns = {name: [_shown_value(judged, name) for judged in chunk] for name in where_fields(where)}
    return [judged for judged, kept in zip(chunk, rows_matching(where, columns), strict=True) if kept]


def _shown_value(judged: _Judged, name: str) -> object:
    """The field's value for `where`: as in the results, or as named if the point has none."""
    if isinstance(judged.outcome, Config):
        return getattr(judged.outcome, name)
    named: dict[str, Any] = {**_DEFAULTS, **judged.point}
    if name == MEM_TOTAL and name not in named:
        return named["vcpus"] * named["mem_per_vcpu"]
    if name == "mem_per_vcpu" and MEM_TOTAL in named:
        return named[MEM_TOTAL] // named["vcpus"]
    return named[name]


def _check_profiles(configs: Iterable[Config]) -> None:
    from core.costs.profile import load_profile

    for name in dict.fromkeys(config.profile for config in configs):
        try:
            load_profile(name)
        except ProfileError as error:
            raise SpecError(str(error)) from error


_DEFAULTS: Mapping[str, object] = config_record(Config())
