"""`splitsweep plot --timeline`: the guest's throughput over the time of an ioctl that it ran beside, a line per config.

Nothing is averaged: configs that differ in anything but the field told by colour stand in panels of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from core.config import field_text
from sweep.dataset.query import select
from sweep.errors import QueryError
from sweep.showing.chart_axes import looks
from sweep.showing.origin import facts_captions
from sweep.showing.points import Facts, Metric, facts_of, facts_sql, wanted
from sweep.showing.table_text import metric_title
from sweep.showing.tables import LAID_OUT_FIELDS, separating_fields

if TYPE_CHECKING:
    import altair
    from duckdb import DuckDBPyConnection

PHASES: Final = ("enable", "get", "clear", "disable")
WIDTH, HEIGHT = 460, 180
MAX_PANELS: Final = 24


class Course(NamedTuple):
    """What the guest of one config did over the time of a phase."""

    facts: Facts
    bins: Sequence[dict[str, Any]]
    undisturbed_per_ms: float


def timeline_chart(
    connection: DuckDBPyConnection, metric: Metric, color: str, where: str | None
) -> tuple[altair.VConcatChart, int]:
    """The chart and how many panels it has; QueryError where the dataset has nothing to draw."""
    import altair

    if metric.phase not in PHASES:
        raise QueryError(f"--metric: a timeline is of an ioctl; allowed with --timeline: {', '.join(PHASES)}")
    if color not in LAID_OUT_FIELDS:
        raise QueryError(f"--color: there is no field {color!r} to draw; allowed: {', '.join(LAID_OUT_FIELDS)}")
    courses = _courses(connection, metric, where)
    styles = looks(color, [course.facts[color] for course in courses])
    scale = altair.Scale(domain=list(styles), range=[look.colour for look in styles.values()])
    panels = [
        altair.Chart(altair.InlineData(values=[point for course in members for point in _points(course, color)]))
        .mark_line(interpolate="step-after", strokeWidth=1.5)
        .encode(
            x=altair.X("ms:Q", title="time since the ioctl began (ms)"),
            y=altair.Y("percent:Q", title="throughput (% of undisturbed)", scale=altair.Scale(domainMin=0)),
            color=altair.Color("series:N", title=color, scale=scale),
        )
        .properties(width=WIDTH, height=HEIGHT, title=heading)
        for heading, members in _panels(courses, color).items()
    ]
    title = altair.TitleParams(
        f"Guest throughput: {metric_title(metric)}",
        subtitle=facts_captions([course.facts for course in courses]),
        anchor="start",
        offset=14,
    )
    return altair.vconcat(*panels, title=title, background="white"), len(panels)


def _courses(connection: DuckDBPyConnection, metric: Metric, where: str | None) -> list[Course]:
    iteration = "IS NULL" if metric.iteration is None else f"= {metric.iteration}"
    result = select(
        connection,
        f"""
        SELECT {facts_sql("runs")}, any_value(found.timeline), any_value(found.undisturbed_per_ms)
        FROM runs JOIN (
            SELECT config_id, timeline, undisturbed_per_ms FROM phases
            WHERE phase = '{metric.phase}' AND iteration {iteration} AND timeline IS NOT NULL
        ) found USING (config_id)
        GROUP BY ALL
        """,
    )
    rows = list(zip(*(column.to_pylist() for column in result.columns), strict=True))
    found = [Course(facts_of(row), *row[-2:]) for row in rows]
    if not found:
        raise QueryError("--timeline: no config of this dataset ran with concurrent = true")
    chosen = [course for course, keep in zip(found, wanted([one.facts for one in found], where), strict=True) if keep]
    if not chosen:
        raise QueryError(f"--where: no config of this dataset matches {where}")
    return chosen


def _panels(courses: Sequence[Course], color: str) -> dict[str, list[Course]]:
    """The courses by the panel they belong to, under its heading."""
    names = separating_fields([course.facts for course in courses], [color])
    panels: dict[str, list[Course]] = {}
    for course in sorted(courses, key=lambda one: [str(one.facts[name]) for name in names]):
        heading = "  ".join(f"{name}={field_text(name, course.facts[name])}" for name in names)
        panels.setdefault(heading, []).append(course)
    if len(panels) > MAX_PANELS:
        raise QueryError(f"--timeline: {len(panels)} panels are more than {MAX_PANELS}; choose some with --where")
    return panels


def _points(course: Course, color: str) -> list[dict[str, Any]]:
    """A point at the beginning of each bin, and one at the end of the last."""
    series = field_text(color, course.facts[color])
    points = [
        {
            "ms": one["start_seconds"] * 1000,
            "percent": one["accesses"]
            / ((one["end_seconds"] - one["start_seconds"]) * 1000)
            / course.undisturbed_per_ms
            * 100,
            "series": series,
        }
        for one in course.bins
        if one["end_seconds"] > one["start_seconds"]
    ]
    return [*points, points[-1] | {"ms": course.bins[-1]["end_seconds"] * 1000}] if points else []
