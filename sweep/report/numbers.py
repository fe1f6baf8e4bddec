"""The numbers that the page's charts draw, as one block of JSON: a list for each column, in the order of the rows.

A row is a phase of a config, its repeats summed up by their median, with the published time beside it. Of the fields
only those that tell rows apart are in it, so that a page of a large sweep stays a few megabytes.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from core.config import SIZES, field_text
from sweep.dataset.query import select
from sweep.errors import QueryError
from sweep.published.timings import machine_key, published_measurements
from sweep.showing.chart_axes import DOUBLING_FIELDS, X_TITLES, is_number, looks, y_title
from sweep.showing.points import FACT_COLUMNS, METRIC_COLUMNS, PHASES, Facts, Metric, facts_of, facts_sql, wanted
from sweep.showing.table_text import SECONDS_TITLES
from sweep.showing.tables import TABLE_FIELDS, separating_fields, value_order

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MOST_ROWS: Final = 40_000
"""A page of more would take seconds to open."""

DIGITS: Final = 7

COLUMNS: Final = tuple(name for name in METRIC_COLUMNS if name not in ("seconds_lo", "tables_upper"))


@dataclass(frozen=True, slots=True)
class PhaseNumbers:
    """A phase of a config with its COLUMNS, and the factor between the longest and the shortest of its repeats."""

    facts: Facts
    phase: str
    iteration: int | None
    spread: float
    numbers: Mapping[str, float | None]


def phase_numbers(connection: DuckDBPyConnection, where: str | None) -> list[PhaseNumbers]:
    """All phases that `where` lets through, in the order of a run; QueryError if there are none, or too many."""
    medians = ", ".join(f"median({name})" for name in COLUMNS)
    spread = "coalesce(max(seconds) / nullif(min(seconds), 0), 1)"
    sql = f"SELECT {facts_sql('phases')}, phase, iteration, {spread}, {medians} FROM phases GROUP BY ALL"
    rows = list(zip(*(column.to_pylist() for column in select(connection, sql).columns), strict=True))
    found = [_phase_numbers(row) for row in rows]
    found = list(itertools.compress(found, wanted([phase.facts for phase in found], where)))
    if not found:
        which = f" that matches {where}" if where else ""
        raise QueryError(f"nothing to report: no config{which} is done; see the view failures")
    if len(found) > MOST_ROWS:
        raise QueryError(
            f"--where: {len(found):,} phases are too many for a page; choose at most {MOST_ROWS:,} with --where"
        )
    orders = {name: value_order(name) for name in TABLE_FIELDS}
    found.sort(key=lambda one: [order(one.facts[name]) for name, order in orders.items()])
    return sorted(found, key=lambda one: (one.iteration or 0, PHASES.index(one.phase)))


def chart_data(found: Sequence[PhaseNumbers]) -> dict[str, Any]:
    """What the page's script is given: fields, phases, columns, and the rows as a list for each of them."""
    facts = [one.facts for one in found]
    names = list(dict.fromkeys((*separating_fields(facts, ()), "vcpus", "split")))  # these two are the first axes
    columns = [name for name in COLUMNS if any(one.numbers[name] for one in found)]
    phases = list(dict.fromkeys((one.phase, one.iteration) for one in found))
    return {
        "fields": [_field(name, [fact[name] for fact in facts]) for name in names],
        "phases": [_phase(*phase) for phase in phases],
        "columns": {name: y_title(Metric("dirty", name, 1)) for name in columns if name != "seconds_hi"},
        "rows": {
            "phase": [phases.index((one.phase, one.iteration)) for one in found],
            "published": _published(found),
            **{name: _places(name, [fact[name] for fact in facts]) for name in names},
            **{name: [_short(one.numbers[name]) for one in found] for name in columns},
        },
    }


def _phase_numbers(row: Sequence[Any]) -> PhaseNumbers:
    phase, iteration, spread, *numbers = row[len(FACT_COLUMNS) :]
    return PhaseNumbers(facts_of(row), phase, iteration, spread, dict(zip(COLUMNS, numbers, strict=True)))


def _phase(name: str, iteration: int | None) -> dict[str, Any]:
    title = SECONDS_TITLES[name].format(iteration)
    return {"name": name, "iteration": iteration, "title": title, "text": f"{name} {iteration or ''}".strip()}


def _field(name: str, values: Sequence[Any]) -> dict[str, Any]:
    """A field that tells rows apart, with its values in order, how they look as colours, and as numbers if they are."""
    found = sorted(set(values), key=value_order(name))
    numbers = [value for value in found if is_number(value)]
    return {
        "name": name,
        "title": X_TITLES.get(name, name),
        "texts": [field_text(name, value) for value in found],
        "numbers": numbers if len(numbers) == len(found) else None,
        "doubling": name in DOUBLING_FIELDS,
        "size": name in SIZES,
        "looks": list(looks(name, found).values()),
    }


def _places(name: str, values: Sequence[Any]) -> list[int]:
    """Each value as its place among the values of the field."""
    places = {value: place for place, value in enumerate(sorted(set(values), key=value_order(name)))}
    return [places[value] for value in values]


def _published(found: Sequence[PhaseNumbers]) -> list[float | None]:
    modelled = [timing for timing in reversed(published_measurements()) if not timing.not_modelled]  # the first wins
    known = {(timing.machine, timing.phase, timing.iteration): timing.seconds for timing in modelled}
    return [known.get((machine_key(one.facts), one.phase, one.iteration)) for one in found]


def _short(value: float | None) -> float | None:
    """A number with as many digits as a chart or its tooltip can show."""
    if value is None:
        return None
    return int(value) if value == int(value) else float(f"{value:.{DIGITS}g}")
