"""`splitsweep table`: one number per config, laid out as rows against columns, beside published values if asked.

A table never mixes machines silently. Configs that differ in anything but the row field, the column field and `repeat`
go to tables of their own, each with a heading that names what differs; `repeat` is the one field that is aggregated, by
its median. A cell without a result stays in the table and is counted (sweep.showing.table_text tells how it is shown).

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
from typing import TYPE_CHECKING, Final

from core.config import CHOICES, FIELDS, LIVE_FIELDS
from core.rows import PHASE_COLUMNS
from sweep.dataset.query import select
from sweep.errors import QueryError
from sweep.published.timings import PUBLISHED_COLUMNS, Measurement, machine_key, published_measurements
from sweep.spec.where import rows_matching, where_fields

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

ITERATED_PHASES: Final = ("dirty", "get", "clear")
PHASES: Final = ("populate", "enable", *ITERATED_PHASES, "disable", "after_disable")

NUMBER_KINDS: Final = {column.name: column.kind for column in PHASE_COLUMNS if column.kind in (int, float)}
METRIC_COLUMNS: Final = tuple(name for name in NUMBER_KINDS if name not in FIELDS and name != "iteration")

TABLE_FIELDS: Final = ("mmu", "split", *(name for name in FIELDS if name not in ("mmu", "split", "repeat")))
"""Fields that can be rows or columns, or set tables apart, in the order in which headings name them."""

FOLLOWING_FIELDS: Final = (
    "pml",
    "guest_page",
    "address_spaces",
    "write_pattern",
    "populate_writes",
    "seed",
    "iterations",
    *LIVE_FIELDS,
)
"""Fields that core.config sets by itself where they have no effect, and `iterations`, which has none on a phase that
came before. Where the others determine one, it sets nothing apart: or a table with a column per mmu would fall to
pieces, because pml is false for shadow and nested."""

SPLIT_ORDER: Final = ("lazy", "fault", "eager")
"""The order of the published tables: from the least splitting to the most."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A number of one phase: `column` of the phases table, in `phase` and (for dirty, get, clear) `iteration`."""

    phase: str
    column: str
    iteration: int | None


@dataclass(frozen=True, slots=True)
class Cell:
    """The number of one config: predicted (or measured here), and published, each None where there is none."""

    value: float | None
    published: float | None = None
    failed: bool = False
    high: float | None = None  # upper end of the 90% interval of a predicted time

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


@dataclass(frozen=True, slots=True)
class _Point:
    """One config without its `repeat`, and the median of the metric over the repeats; None where there is none."""

    config: Mapping[str, object]
    value: float | None
    failed: bool
    high: float | None = None


def parse_metric(text: str, iteration: int | None) -> Metric:
    """The metric meant by PHASE or PHASE.COLUMN, as typed; iteration 1 of the phases that repeat unless told else."""
    phase, _, column = text.partition(".")
    if phase in METRIC_COLUMNS and not column:
        raise QueryError(f"--metric: {text} is a column; name its phase too, like dirty.{text}")
    if phase not in PHASES:
        raise QueryError(f"--metric: there is no phase {phase!r}; allowed: {', '.join(PHASES)}, also with .COLUMN")
    column = column or "seconds"
    if column not in METRIC_COLUMNS:
        raise QueryError(f"--metric: there is no column {column!r}; allowed: {', '.join(METRIC_COLUMNS)}")
    if phase in ITERATED_PHASES:
        return Metric(phase, column, iteration or 1)
    if iteration is not None:
        raise QueryError(f"--iteration: {phase} runs once; allowed: leave --iteration out")
    return Metric(phase, column, None)


def metric_tables(
    connection: DuckDBPyConnection, metric: Metric, rows: str, columns: str, where: str | None, with_published: bool
) -> list[Table]:
    """The tables of `metric`: one for each combination of the fields that are neither rows nor columns nor repeat."""
    for option, name in (("--rows", rows), ("--columns", columns)):
        if name not in TABLE_FIELDS:
            raise QueryError(f"{option}: there is no field {name!r} to lay out; allowed: {', '.join(TABLE_FIELDS)}")
    if rows == columns:
        raise QueryError(f"--columns: {columns} is the field of --rows already; name another one")
    if with_published and metric.column != "seconds":
        raise QueryError(f"--published: only times were published, not {metric.column}; leave --published out")
    points = _wanted_points(connection, metric, where)
    if not points:
        raise QueryError(f"--where: no config of this dataset matches {where}")
    return _separate_tables(metric, points, rows, columns, with_published)


def published_tables(connection: DuckDBPyConnection, where: str | None) -> list[Table]:
    """Every published table for which the dataset has configs, in the order of the publications."""
    points: dict[Metric, list[_Point]] = {}
    tables = []
    for measurements in _publications():
        first = measurements[0]
        metric = Metric(first.phase, "seconds", first.iteration)
        if metric not in points:
            points[metric] = _wanted_points(connection, metric, where, needed=False)
        machines = {measured.machine for measured in measurements}
        matching = [point for point in points[metric] if machine_key(point.config) in machines]
        heading = {name: getattr(first, name) for name in ("mmu", "write_percent", "initially_all_set")}
        tables += _separate_tables(metric, matching, "vcpus", "split", True, heading, first.source)
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
        published_measurements(),
        key=operator.attrgetter(*(name for name in PUBLISHED_COLUMNS if name not in ("split", "vcpus", "seconds"))),
    )
    return [list(measurements) for _, measurements in grouped]


def _wanted_points(
    connection: DuckDBPyConnection, metric: Metric, where: str | None, needed: bool = True
) -> list[_Point]:
    """The points that `where` lets through; QueryError if the dataset has no such phase at all and it is needed."""
    points = _points(connection, metric)
    if needed and all(point.value is None and not point.failed for point in points):
        raise QueryError(f"--metric: {_metric_text(metric)} is nowhere in this dataset; {_phases_there(connection)}")
    if where is None:
        return points
    columns = {name: [point.config[name] for point in points] for name in where_fields(where)}
    return list(itertools.compress(points, rows_matching(where, columns)))


def _points(connection: DuckDBPyConnection, metric: Metric) -> list[_Point]:
    """Every config of the dataset with its number: the runs decide what there is, so that failures show as gaps."""
    names = [name for name in FIELDS if name != "repeat"]
    iteration = "IS NULL" if metric.iteration is None else f"= {metric.iteration}"
    high = "seconds_hi" if metric.column == "seconds" else "NULL::DOUBLE"
    result = select(
        connection,
        f"""
        SELECT {", ".join(f"runs.{name}" for name in names)},
            median(found.value), bool_or(runs.status = 'failed'), median(found.high)
        FROM runs LEFT JOIN (
            SELECT config_id, {metric.column} AS value, {high} AS high FROM phases
            WHERE phase = '{metric.phase}' AND iteration {iteration}
        ) found USING (config_id)
        GROUP BY ALL
        """,
    )
    rows = zip(*(column.to_pylist() for column in result.columns), strict=True)
    return [_Point(dict(zip(names, row, strict=False)), row[-3], bool(row[-2]), row[-1]) for row in rows]


def _phases_there(connection: DuckDBPyConnection) -> str:
    found = select(connection, "SELECT phase, max(iteration) AS last FROM phases GROUP BY phase").to_pylist()
    last = {row["phase"]: row["last"] for row in found}
    texts = [f"{phase} 1 to {last[phase]}" if last[phase] else phase for phase in PHASES if phase in last]
    return f"there are: {', '.join(texts)}" if texts else "it has no finished config"


def _metric_text(metric: Metric) -> str:
    phase = metric.phase if metric.iteration is None else f"{metric.phase} of iteration {metric.iteration}"
    return phase if metric.column == "seconds" else f"{metric.column} of {phase}"


def _separate_tables(
    metric: Metric,
    points: Sequence[_Point],
    rows: str,
    columns: str,
    with_published: bool,
    heading: Mapping[str, object] | None = None,
    source: str = "",
) -> list[Table]:
    """One table for each combination of the fields that set the points apart; `heading` is said in any case."""
    names = _separating_fields(points, rows, columns)
    groups: dict[tuple[object, ...], list[_Point]] = {}
    for point in points:
        groups.setdefault(tuple(point.config[name] for name in names), []).append(point)
    order = [value_order(name) for name in names]
    published = _published_seconds(metric) if with_published else {}
    return [
        Table(
            metric=metric,
            heading=dict(heading or {}) | dict(zip(names, values, strict=True)),
            rows=rows,
            columns=columns,
            cells={
                (point.config[rows], point.config[columns]): Cell(
                    point.value, published.get(machine_key(point.config)), point.failed, point.high
                )
                for point in groups[values]
            },
            varying=_varying_fields(groups[values], rows, columns),
            with_published=with_published,
            source=source,
        )
        for values in sorted(groups, key=lambda values: [key(value) for key, value in zip(order, values, strict=True)])
    ]


def _separating_fields(points: Sequence[_Point], rows: str, columns: str) -> list[str]:
    """The fields besides rows and columns whose values differ, without the following ones that the others determine."""
    free = [name for name in TABLE_FIELDS if name not in (rows, columns, *FOLLOWING_FIELDS)]
    names = [name for name in free if _combinations(points, [name]) > 1]
    for name in FOLLOWING_FIELDS:
        known = [rows, columns, *names]
        if name not in (rows, columns) and _combinations(points, [*known, name]) > _combinations(points, known):
            names.append(name)
    return names


def _varying_fields(points: Sequence[_Point], rows: str, columns: str) -> tuple[str, ...]:
    """The following fields that, without being asked for, are not the same in all cells of one table."""
    names = [name for name in FOLLOWING_FIELDS if name not in (rows, columns)]
    return tuple(name for name in names if _combinations(points, [name]) > 1)


def _combinations(points: Sequence[_Point], names: Sequence[str]) -> int:
    return len({tuple(point.config[name] for name in names) for point in points})


def _published_seconds(metric: Metric) -> dict[tuple[object, ...], float]:
    """The published times of a phase and iteration by machine."""
    return {
        measured.machine: measured.seconds
        for measured in published_measurements()
        if (measured.phase, measured.iteration) == (metric.phase, metric.iteration)
    }
