"""`splitsweep table`: one number per config, laid out as rows against columns, beside published values if asked.

A table never mixes machines silently. Configs that differ in anything but the row field, the column field and `repeat`
go to tables of their own, each with a heading that names what differs, and so do rows of two labels, hosts, kernels,
contents of a profile or engine versions (sweep.showing.points). A cell without a result stays in the table and is
counted; sweep.showing.table_text tells how it is shown.

`published_tables` follows the publications instead: every published table for which the dataset has configs, in their
order. For the cover letter's sweep those are the six tables of the thread.
"""

from __future__ import annotations

import itertools
import math
import operator
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from core.config import CHOICES, FIELDS, LIVE_FIELDS, MEM_TOTAL, RENAMED
from sweep.errors import QueryError
from sweep.published.timings import Measurement, machine_key, published_measurements
from sweep.showing.points import ORIGIN_FIELDS, Facts, Metric, Point, wanted_points

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

TABLE_FIELDS: Final = ("mmu", "split", *(name for name in FIELDS if name not in ("mmu", "split", "repeat")))
"""The fields of a config that can be rows or columns, or set tables apart, in the order in which headings name them."""

LAID_OUT_FIELDS: Final = (*TABLE_FIELDS, MEM_TOTAL, *ORIGIN_FIELDS)
"""All that can be rows or columns."""

TELLING_FIELDS: Final = ("engine", "profile", "label", *ORIGIN_FIELDS)
"""What says whose numbers they are. Where some of them are laid out or named already, the others follow."""

FOLLOWING_FIELDS: Final = (
    "pml",
    "split_cache",
    "guest_page",
    "guest_roots",
    "write_pattern",
    "populate_writes",
    "skew",
    "seed",
    "iterations",
    *LIVE_FIELDS,
)
"""Fields that core.config sets by itself where they have no effect, and `iterations`, which has none on a phase that
came before. Where the others determine one, it sets nothing apart: or a table with a column per mmu would fall to
pieces, because pml is false for shadow and nested."""

HEADING_FIELDS: Final = ("mmu", "write_percent", "initially_all_set")
"""What stands above every published table."""

SPLIT_ORDER: Final = ("lazy", "fault", "eager")
"""The order of the published tables: from the least splitting to the most."""


@dataclass(frozen=True, slots=True)
class Cell:
    """The number of one config: predicted (or measured here), and published, each None where there is none."""

    value: float | None
    published: float | None = None
    failed: bool = False
    high: float | None = None  # upper end of the 90% interval of a predicted time
    lowest: float | None = None  # of the repeats whose median the value is
    highest: float | None = None
    repeats: int = 0
    facts: Mapping[str, Any] = field(default_factory=dict)  # the config and where the number comes from

    @property
    def low(self) -> float | None:
        """Lower end of the interval, which reaches as far below the value as above it, by the same factor."""
        return None if self.value is None or self.high is None else self.value**2 / self.high

    @property
    def margin_percent(self) -> float | None:
        """How far the 90% interval reaches above the value."""
        return None if self.value is None or self.high is None else (self.high / self.value - 1) * 100

    @property
    def error_percent(self) -> float | None:
        """How far the value is above (or, negative, below) the published one."""
        if self.value is None or self.published is None:
            return None
        return (self.value / self.published - 1) * 100


@dataclass(frozen=True, slots=True)
class Table:
    """One printed table. `heading` names what all its configs have in common and other tables have not."""

    metric: Metric
    heading: Mapping[str, object]
    rows: str
    columns: str
    cells: Mapping[tuple[object, object], Cell]
    varying: tuple[str, ...] = ()
    with_published: bool = False
    source: str = ""
    beside: str = "published"  # what the values beside the predicted ones are
    row_values: tuple[object, ...] = field(init=False)
    column_values: tuple[object, ...] = field(init=False)

    @property
    def with_interval(self) -> bool:
        """Whether any number comes with its interval."""
        return any(cell.high is not None for cell in self.cells.values())

    def __post_init__(self) -> None:
        rows, columns = (set(values) for values in zip(*self.cells, strict=True))
        object.__setattr__(self, "row_values", tuple(sorted(rows, key=value_order(self.rows))))
        object.__setattr__(self, "column_values", tuple(sorted(columns, key=value_order(self.columns))))


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Absolute errors in percent over the published values that have a prediction."""

    values: int
    median: float
    p90: float
    worst: float


def metric_tables(
    connection: DuckDBPyConnection, metric: Metric, rows: str, columns: str, where: str | None, with_published: bool
) -> list[Table]:
    """The tables of `metric`: one for each combination of the fields that are neither rows nor columns nor repeat."""
    for option, name in (("--rows", rows), ("--columns", columns)):
        if name in RENAMED:
            raise QueryError(f"{option}: {name} is called {RENAMED[name]} now")
        if name not in LAID_OUT_FIELDS:
            raise QueryError(f"{option}: there is no field {name!r} to lay out; allowed: {', '.join(LAID_OUT_FIELDS)}")
    if rows == columns:
        raise QueryError(f"--columns: {columns} is the field of --rows already; name another one")
    if with_published and metric.column != "seconds":
        raise QueryError(f"--published: only times were published, not {metric.column}; leave --published out")
    points = wanted_points(connection, metric, where)
    if not points:
        raise QueryError(f"--where: no config of this dataset matches {where}")
    return _separate_tables(metric, points, rows, columns, published_measurements() if with_published else None)


def published_tables(connection: DuckDBPyConnection, where: str | None) -> list[Table]:
    """Every published table for which the dataset has configs, in the order of the publications."""
    points: dict[Metric, list[Point]] = {}
    tables = []
    for measurements in _publications():
        first = measurements[0]
        metric = Metric(first.phase, "seconds", first.iteration)
        if metric not in points:
            points[metric] = wanted_points(connection, metric, where, needed=False)
        machines = {measured.machine for measured in measurements}
        matching = [point for point in points[metric] if machine_key(point.facts) in machines]
        heading = {name: getattr(first, name) for name in HEADING_FIELDS}
        tables += _separate_tables(metric, matching, "vcpus", "split", measurements, heading, first.source)
    if not tables:
        raise QueryError("--published: no config of this dataset is one that was published; see the view `published`")
    return tables


def accuracy(tables: Iterable[Table]) -> Accuracy | None:
    """The errors over all published values in the tables; None if no table has one."""
    errors = sorted(
        abs(cell.error_percent) for table in tables for cell in table.cells.values() if cell.error_percent is not None
    )
    if not errors:
        return None
    return Accuracy(len(errors), statistics.median(errors), errors[math.ceil(0.9 * len(errors)) - 1], errors[-1])


def value_order(name: str) -> Callable[[object], tuple[float, str]]:
    """A sort key for the values of a field: numbers by size, words in the order in which the project lists them."""
    words = SPLIT_ORDER if name == "split" else CHOICES.get(name, ())

    def key(value: object) -> tuple[float, str]:
        if isinstance(value, int | float):
            return float(value), ""
        return float(words.index(str(value)) if value in words else len(words)), str(value)

    return key


def _publications() -> list[list[Measurement]]:
    """The measurements of each published table."""
    grouped = itertools.groupby(
        (measured for measured in published_measurements() if not measured.not_modelled),
        key=operator.attrgetter("source", "host", *HEADING_FIELDS, "backing", "phase", "iteration"),
    )
    return [list(measurements) for _, measurements in grouped]


def _separate_tables(
    metric: Metric,
    points: Sequence[Point],
    rows: str,
    columns: str,
    measured: Sequence[Measurement] | None,
    heading: Mapping[str, object] | None = None,
    source: str = "",
) -> list[Table]:
    """One table for each combination of the fields that set the points apart; `heading` is said in any case."""
    names = separating_fields([point.facts for point in points], (rows, columns))
    groups: dict[tuple[object, ...], list[Point]] = {}
    for point in points:
        groups.setdefault(tuple(point.facts[name] for name in names), []).append(point)
    order = [value_order(name) for name in names]
    published = _published_seconds(metric, measured or ())
    return [
        Table(
            metric=metric,
            heading=dict(heading or {}) | dict(zip(names, values, strict=True)),
            rows=rows,
            columns=columns,
            cells={
                (point.facts[rows], point.facts[columns]): _cell(point, published.get(machine_key(point.facts)))
                for point in groups[values]
            },
            varying=_varying_fields([point.facts for point in groups[values]], (rows, columns)),
            with_published=measured is not None,
            source=source,
        )
        for values in sorted(groups, key=lambda values: [key(value) for key, value in zip(order, values, strict=True)])
    ]


def _cell(point: Point, published: float | None) -> Cell:
    spread = (point.lowest, point.highest, point.repeats)
    return Cell(point.value, published, point.failed, point.high, *spread, point.facts)


def separating_fields(facts: Sequence[Facts], laid_out: Sequence[str]) -> list[str]:
    """What tells these numbers apart besides the fields laid out, without the following ones that the others determine.

    Numbers that have the values of all of these and of the fields laid out in common are those of one config.
    """
    free = [name for name in TABLE_FIELDS if name not in (*laid_out, *FOLLOWING_FIELDS, "label")]
    names = [_size_field(facts, laid_out) if name == "mem_per_vcpu" else name for name in free]
    names = [name for name in names if name not in laid_out and _combinations(facts, [name]) > 1]
    for name in FOLLOWING_FIELDS:
        if name not in laid_out and not _determined(facts, name, [*laid_out, *names]):
            names.append(name)
    for name in ("label", *ORIGIN_FIELDS):
        telling = [known for known in (*laid_out, *names) if known in TELLING_FIELDS]
        if name not in laid_out and not _determined(facts, name, telling):
            names.append(name)
    return names


def _size_field(facts: Sequence[Facts], laid_out: Sequence[str]) -> str:
    """mem_total instead of mem_per_vcpu where the memory was chosen for all vCPUs together."""
    fewer_totals = _combinations(facts, [MEM_TOTAL]) < _combinations(facts, ["mem_per_vcpu"])
    return MEM_TOTAL if MEM_TOTAL in laid_out or fewer_totals else "mem_per_vcpu"


def _varying_fields(facts: Sequence[Facts], laid_out: Sequence[str]) -> tuple[str, ...]:
    """The following fields that, without being asked for, are not the same in all cells of one table."""
    names = [name for name in FOLLOWING_FIELDS if name not in laid_out]
    return tuple(name for name in names if _combinations(facts, [name]) > 1)


def _determined(facts: Sequence[Facts], name: str, known: Sequence[str]) -> bool:
    """Whether the known fields leave `name` one value each."""
    return _combinations(facts, [*known, name]) == _combinations(facts, known)


def _combinations(facts: Sequence[Facts], names: Sequence[str]) -> int:
    return len({tuple(fact[name] for name in names) for fact in facts})


def _published_seconds(metric: Metric, measurements: Sequence[Measurement]) -> dict[tuple[object, ...], float]:
    """The published times of a phase and iteration by machine; where several were, the first."""
    seconds: dict[tuple[object, ...], float] = {}
    for measured in measurements:
        if (measured.phase, measured.iteration) == (metric.phase, metric.iteration) and not measured.not_modelled:
            seconds.setdefault(measured.machine, measured.seconds)
    return seconds
