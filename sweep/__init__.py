"""From a spec to answers: spec -> plan -> execute -> store -> query, tables and the command line.

Imports `core` (the engine) and `cluster` (the fan-out); neither of them imports this package. For notebooks there are
`run` and `load`, which give pandas frames; what they need is imported when they are called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["load", "run"]


def load(location: str, table: str = "phases", *, where: str = "true", current: bool = False) -> DataFrame:
    """The rows of a dataset's table (phases, runs, failures, origins or published) as a pandas frame.

    `where` is a condition in SQL; with `current` only the newest content and engine version of each profile counts.
    Whole numbers that may be null are Int64, texts out of few are categories. Raises SweepError with one line.
    """
    from sweep.dataset.frame import frame
    from sweep.dataset.query import select
    from sweep.dataset.views import VIEWS, open_dataset
    from sweep.errors import QueryError
    from sweep.secrets import hide_secrets

    if table not in VIEWS:
        raise QueryError(f"table: {table!r} is not allowed; allowed: {', '.join(VIEWS)}")
    with open_dataset(hide_secrets(location), current=current) as dataset:
        return frame(select(dataset, f"SELECT * FROM {table} WHERE {where}"), table)


def run(spec: str, *overrides: str, results: str | None = None, address: str | None = None) -> DataFrame:
    """Run what a spec's dataset does not hold yet, as `splitsweep run` does, and return its phases as `load` does.

    Words `FIELD=V1,V2` override the spec. Configs that failed stand in `load(results, "failures")`.
    """
    from pathlib import Path

    from sweep.running.sweep import run_spec
    from sweep.secrets import hide_secrets
    from sweep.spec.configs import load_spec

    sweep = load_spec(Path(spec), overrides)
    location = f"results/{sweep.name}" if results is None else hide_secrets(results)
    run_spec(sweep, location, address)
    return load(location)
