"""The numbers that tables and charts lay out: one of every config, read from a dataset.

Only repeats are summed up, by their median, and only what truly is one: rows of two contents of a profile, two engine
versions, two labels, or measurements of two hosts or kernels are points of their own. How far the repeats of a point
lie apart is kept, so that a median that hides a disagreement can be told.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from core.config import FIELDS, MEM_TOTAL
from core.rows import PHASE_COLUMNS
from sweep.dataset.query import select
from sweep.errors import QueryError
from sweep.spec.where import SPEC_FIELDS, rows_matching, where_fields

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

ITERATED_PHASES: Final = ("dirty", "get", "clear")
PHASES: Final = ("populate", "enable", *ITERATED_PHASES, "disable", "after_disable")

NUMBER_KINDS: Final = {column.name: column.kind for column in PHASE_COLUMNS if column.kind in (int, float)}
METRIC_COLUMNS: Final = tuple(name for name in NUMBER_KINDS if name not in FIELDS and name != "iteration")

ORIGIN_FIELDS: Final = ("host", "kernel_release", "origin")
"""What tells rows apart besides the fields of their config: see the dataset's view `origins`."""

SELECTABLE: Final[Mapping[str, Any]] = {**SPEC_FIELDS, **dict.fromkeys(ORIGIN_FIELDS, str)}
"""What a condition on results may name, with the type."""

ANY: Final = "any"
"""The host and the kernel of a simulation: it gives the same numbers everywhere."""

_DECIDING: Final = {
    "origin": "origin",
    "engine_version": "engine_version",
    "profile_digest": "CASE WHEN engine <> 'kvm' THEN profile_digest END",
    "host": f"CASE WHEN engine = 'sim' THEN '{ANY}' ELSE coalesce(host, 'unknown') END",
    "kernel_release": f"CASE WHEN engine = 'sim' THEN '{ANY}' ELSE coalesce(kernel_release, 'unknown') END",
}


FACT_COLUMNS: Final = (*(name for name in FIELDS if name != "repeat"), *_DECIDING, "revision")


@dataclass(frozen=True, slots=True)
class Metric:
    """A number of one phase: `column` of the phases table, in `phase` and (for dirty, get, clear) `iteration`."""

    phase: str
    column: str
    iteration: int | None


Facts = Mapping[str, Any]
"""The fields of a config, its mem_total and where its numbers come from."""


@dataclass(frozen=True, slots=True)
class Point:
    """One config without its `repeat`, and the median of the metric over the repeats; None where there is none."""

    facts: Facts
    value: float | None
    failed: bool
    high: float | None = None
    lowest: float | None = None  # of the repeats
    highest: float | None = None
    repeats: int = 0


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


def wanted_points(
    connection: DuckDBPyConnection, metric: Metric, where: str | None, needed: bool = True
) -> list[Point]:
    """The points that `where` lets through; QueryError if the dataset has no such phase at all and it is needed."""
    points = _points(connection, metric)
    if needed and all(point.value is None and not point.failed for point in points):
        raise QueryError(f"--metric: {_metric_text(metric)} is nowhere in this dataset; {_phases_there(connection)}")
    return list(itertools.compress(points, wanted([point.facts for point in points], where)))


def wanted(found: Sequence[Facts], where: str | None) -> list[bool]:
    """For each whether `where` is true of it."""
    if where is None:
        return [True] * len(found)
    columns = {name: [facts[name] for facts in found] for name in where_fields(where, SELECTABLE)}
    return rows_matching(where, columns, SELECTABLE)


def facts_sql(table: str) -> str:
    """SQL for the columns FACT_COLUMNS of a row of `table`, aggregated over what are repeats of each other."""
    fields = [f"{table}.{name}" for name in FACT_COLUMNS if name in FIELDS]
    deciding = [f"{value} AS {name}" for name, value in _DECIDING.items()]
    revision = "string_agg(DISTINCT git_revision[:10], '/' ORDER BY git_revision[:10]) AS revision"
    return ", ".join([*fields, *deciding, revision])


def facts_of(row: Sequence[Any]) -> dict[str, Any]:
    """The facts in a row that begins with FACT_COLUMNS."""
    facts = dict(zip(FACT_COLUMNS, row, strict=False))
    return facts | {MEM_TOTAL: facts["vcpus"] * facts["mem_per_vcpu"]}


def _points(connection: DuckDBPyConnection, metric: Metric) -> list[Point]:
    """Every config of the dataset with its number: the runs decide what there is, so that failures show as gaps."""
    iteration = "IS NULL" if metric.iteration is None else f"= {metric.iteration}"
    high = "seconds_hi" if metric.column == "seconds" else "NULL::DOUBLE"
    result = select(
        connection,
        f"""
        SELECT {facts_sql("runs")},
            median(found.value), bool_or(status = 'failed'), median(found.high),
            min(found.value), max(found.value), count(found.value)
        FROM runs LEFT JOIN (
            SELECT config_id, {metric.column} AS value, {high} AS high FROM phases
            WHERE phase = '{metric.phase}' AND iteration {iteration}
        ) found USING (config_id)
        GROUP BY ALL
        """,
    )
    return [_point(row) for row in zip(*(column.to_pylist() for column in result.columns), strict=True)]


def _point(row: Sequence[Any]) -> Point:
    value, failed, high, lowest, highest, repeats = row[len(FACT_COLUMNS) :]
    return Point(facts_of(row), value, bool(failed), high, lowest, highest, repeats)


def _phases_there(connection: DuckDBPyConnection) -> str:
    found = select(connection, "SELECT phase, max(iteration) AS last FROM phases GROUP BY phase").to_pylist()
    last = {row["phase"]: row["last"] for row in found}
    texts = [f"{phase} 1 to {last[phase]}" if last[phase] else phase for phase in PHASES if phase in last]
    return f"there are: {', '.join(texts)}" if texts else "it has no finished config"


def _metric_text(metric: Metric) -> str:
    phase = metric.phase if metric.iteration is None else f"{metric.phase} of iteration {metric.iteration}"
    return phase if metric.column == "seconds" else f"{metric.column} of {phase}"
