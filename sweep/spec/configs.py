"""From a spec file to the configs it means, all of them validated before anything starts.

`where` is asked before a point is judged: it may leave out combinations that cannot exist, and it sees the fields as
the results will show them. Points that differ only in fields without effect become the same config and are merged.

A spec may mean a million configs, which would fill half a gigabyte. What is kept of each is the number of its point and
its name, 16 bytes; the config itself is made when somebody asks for it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, overload

from core.config import (
    MEM_TOTAL,
    MEMORY_NAMES,
    UNJUDGED,
    Config,
    config_notes,
    config_record,
    field_text,
    make_config,
)
from core.errors import ConfigError, ProfileError
from core.identity import config_ids
from sweep.errors import SpecError, spec_place
from sweep.spec.file import SpecFile, read_spec_file, spec_file_text, with_override
from sweep.spec.grid import Grid, Point
from sweep.spec.points import Table, alike, count_points, number_in, point_tables
from sweep.spec.values import parse_override
from sweep.spec.where import rows_matching, where_fields

MAX_POINTS: Final = 1_000_000
"""A sweep beyond it is a mistake: at 10 ms each it would take three hours of engine time."""

_CHUNK: Final = 10_000  # points judged at a time: keeps memory flat, and one call of DuckDB serves them all


@dataclass(frozen=True, slots=True, eq=False)
class Configs(Sequence[Config]):
    """The configs of a spec, in the order of the file, each once, made when they are asked for."""

    tables: Sequence[Table]
    fixed: Mapping[str, object]
    numbers: Any  # of their points, as an array, counted through all tables
    names: Any  # their config_ids as an array of 64-bit numbers
    kinds: Any  # an array of numbers, equal where configs differ only in fields that no rule asks for

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, place: int) -> Config: ...

    @overload
    def __getitem__(self, place: slice) -> tuple[Config, ...]: ...

    def __getitem__(self, place: int | slice) -> Config | tuple[Config, ...]:
        if isinstance(place, slice):
            return tuple(self[single] for single in range(*place.indices(len(self))))
        table, number = number_in(self.tables, int(self.numbers[place]))
        return make_config({**self.fixed, **table.point(number)})

    def alike(self) -> Iterator[tuple[Config, Any]]:
        """A config of each kind, with the places of all that are of it, as an array."""
        import numpy as np

        by_kind = np.argsort(self.kinds, kind="stable")
        ends = [*(np.flatnonzero(np.diff(self.kinds[by_kind])) + 1).tolist(), len(self)]
        for start, end in itertools.pairwise([0, *ends]):
            yield self[by_kind[start]], by_kind[start:end]


@dataclass(frozen=True, slots=True)
class Spec:
    """A validated sweep."""

    name: str
    configs: Configs
    merged: int  # points that turned out to be the config of an earlier point
    excluded: int  # points that `where` left out
    notes: tuple[str, ...]  # what they ask for that no kernel does, or that does nothing
    source: Path
    tables: SpecFile  # with the overrides


@dataclass(frozen=True, slots=True)
class _Judged:
    """The first of some points that are alike, its number in its table, and the config it means or why it has none."""

    number: int
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
        return _judged_spec(tables, path)


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


def _judged_spec(tables: SpecFile, source: Path) -> Spec:
    count = count_points(tables)
    if count > MAX_POINTS:
        raise SpecError(f"{count:,} points are too many; allowed: {MAX_POINTS:,}; shorten the lists or use [sample]")
    import numpy as np

    wanted = _Wanted()
    points = point_tables(tables)
    start = 0
    for table in points:
        try:
            _judge(table, tables, start, wanted)
        except ProfileError as error:
            raise SpecError(str(error)) from error
        start += table.size
    if not wanted.numbers:
        raise SpecError(f"where: none of the {count:,} points is left; widen the condition")
    numbers, names, kinds = (np.concatenate(parts) for parts in (wanted.numbers, wanted.names, wanted.kinds))
    in_order = np.argsort(numbers)
    _, first = np.unique(names[in_order], return_index=True)
    kept = in_order[np.sort(first)]
    return Spec(
        name=tables.name,
        configs=Configs(points, tables.fixed, numbers[kept], names[kept], kinds[kept]),
        merged=len(numbers) - len(kept),
        excluded=count - len(numbers),
        notes=tuple(wanted.notes),
        source=source,
        tables=tables,
    )


class _Wanted:
    """What is kept of the points that `where` keeps: see Configs. Arrays, in pieces."""

    def __init__(self) -> None:
        self.numbers: list[Any] = []
        self.names: list[Any] = []
        self.kinds: list[Any] = []
        self.kind = 0  # how many there are
        self.notes: dict[str, None] = {}


def _judge(table: Table, tables: SpecFile, start: int, wanted: _Wanted) -> None:
    """Judge the points of a table, which are counted from `start`; SpecError at the first one that cannot exist."""
    import numpy as np

    named = () if tables.where is None else where_fields(tables.where)
    axes, further, groups = alike(table, [name for name in UNJUDGED if name not in named])
    while chunk := [_judged(number, {**tables.fixed, **point}) for number, point in itertools.islice(groups, _CHUNK)]:
        kept = chunk if tables.where is None else _kept(tables.where, chunk)
        first: list[int] = []
        names = bytearray()
        for judged in kept:
            if isinstance(judged.outcome, ConfigError):
                words = " ".join(f"{name}={field_text(name, value)}" for name, value in judged.point.items())
                raise SpecError(f"{table.place}: {judged.outcome} (in the point {words})") from judged.outcome
            first.append(judged.number)
            names += _names_of_all(judged.outcome, axes)
            wanted.notes |= dict.fromkeys(config_notes(judged.outcome))
        if first:
            numbers = np.array(first, np.uint32)[:, None] + further + np.uint32(start)
            wanted.numbers.append(numbers.ravel())
            wanted.names.append(np.frombuffer(names, ">u8").astype(np.uint64))
            kinds = np.arange(wanted.kind, wanted.kind + len(first), dtype=np.uint32)
            wanted.kinds.append(np.repeat(kinds, len(further)))
            wanted.kind += len(first)


def _names_of_all(config: Config, axes: Grid) -> bytes:
    """The names of the configs that have each of the values of these axes and are as `config` else."""
    import numpy as np

    if not axes:
        return config_ids(config, (), [()])
    asked = dict(axes)
    if "seed" in axes and not config.is_seeded:
        asked["seed"] = (config.seed,)
    names = np.frombuffer(config_ids(config, tuple(axes), itertools.product(*asked.values())), np.uint64)
    shape = [len(values) for values in asked.values()]
    return np.broadcast_to(names.reshape(shape), [len(values) for values in axes.values()]).tobytes()


def _judged(number: int, point: Point) -> _Judged:
    try:
        return _Judged(number, point, make_config(point))
    except ConfigError as error:
        return _Judged(number, point, error)


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


_DEFAULTS: Mapping[str, object] = config_record(Config())
