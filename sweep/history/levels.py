"""The level of every config in a night: what of a night's repeats is kept at hand for looking back over many nights.

A level is the mean of the middle repeats (a fifth left out at each end) of the logarithms: nearly as steady as a mean,
and not moved by one repeat that went wrong.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from sweep.comparison.families import Config
from sweep.comparison.metrics import SECONDS, metric_order
from sweep.comparison.side import MATCHED, Side, values_of
from sweep.history.nights import LEVELS_FILE, Night, read_file, write_file
from sweep.showing.points import Metric
from sweep.spec.where import SPEC_FIELDS, rows_matching, where_fields

if TYPE_CHECKING:
    import pandas

CUT: Final = 0.2

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Levels:
    """Levels in seconds by metric: a row for each night, a column for each config, NaN where not measured."""

    nights: tuple[Night, ...]
    configs: tuple[Config, ...]
    by_metric: Mapping[Metric, Numbers]


def level(values: Sequence[float]) -> float:
    """The level of a config's repeats, all of them above 0."""
    logs = sorted(math.log(value) for value in values)
    cut = int(CUT * len(logs))
    return math.exp(fmean(logs[cut : len(logs) - cut]))


def write_levels(history: str, night: str, side: Side) -> None:
    """Keep the levels of a night's times beside its dataset; phases that took no time have none."""
    there = side.phases[side.phases[SECONDS].gt(0)]
    groups = there.groupby([*MATCHED, "phase", "iteration"], dropna=False, sort=False)[SECONDS]
    table = groups.agg(level=level, repeats="count").reset_index()
    content = io.BytesIO()
    table.to_parquet(content, index=False)
    write_file(history, night, LEVELS_FILE, content.getvalue())


def read_levels(history: str, nights: Sequence[Night]) -> Levels:
    """The levels of these nights; nights that measured nothing are left out."""
    tables = [(night, _read_table(history, night)) for night in nights]
    kept = [(night, table) for night, table in tables if table is not None and len(table)]
    places: dict[tuple[object, ...], int] = {}
    cells: dict[Metric, list[tuple[int, int, float]]] = {}
    for row, (_, table) in enumerate(kept):
        keys = values_of(table, MATCHED)
        columns = (table[name].tolist() for name in ("phase", "iteration", "level"))
        for key, phase, iteration, value in zip(keys, *columns, strict=True):
            column = places.setdefault(key, len(places))
            cells.setdefault(Metric(phase, SECONDS, iteration or None), []).append((row, column, value))
    by_metric = {metric: _filled(cells[metric], len(kept), len(places)) for metric in sorted(cells, key=metric_order)}
    configs = tuple(dict(zip(MATCHED, key, strict=True)) for key in places)
    return Levels(tuple(night for night, _ in kept), configs, by_metric)


def wanted_configs(levels: Levels, where: str | None) -> list[bool]:
    """For each config whether a condition over its fields holds; SpecError where it is none."""
    if where is None:
        return [True] * len(levels.configs)
    fields = {name: kind for name, kind in SPEC_FIELDS.items() if name in MATCHED}
    columns = {name: [config[name] for config in levels.configs] for name in where_fields(where, fields)}
    return rows_matching(where, columns, fields)


def _filled(cells: Sequence[tuple[int, int, float]], rows: int, columns: int) -> Numbers:
    table = np.full((rows, columns), np.nan)
    for row, column, value in cells:
        table[row, column] = value
    return table


def _read_table(history: str, night: Night) -> pandas.DataFrame | None:
    import pandas

    content = read_file(history, night.name, LEVELS_FILE)
    return None if content is None else _plain(pandas.read_parquet(io.BytesIO(content)))


def _plain(table: Any) -> Any:
    """A table of an older version with the fields that came since, at their defaults."""
    from core.config import Config as FullConfig
    from core.config import config_record

    defaults = config_record(FullConfig())
    return table.assign(**{name: defaults[name] for name in MATCHED if name not in table})
