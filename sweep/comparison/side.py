"""One side of a comparison: the numbers of a dataset, or of a selection from it, each with where it comes from.

Two sides are matched by the fields of their configs. Left out are those in which sides differ by purpose: the label,
the profile, and `repeat`, which tells repeats apart. Where a row was made (host, kernel, content of the profile,
engine) is no field at all; it stands beside the numbers and explains them.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from core.config import FIELDS, MEM_TOTAL
from core.rows import PROVENANCE_COLUMNS
from sweep.dataset.query import select
from sweep.dataset.views import open_dataset
from sweep.errors import QueryError, SpecError, spec_place
from sweep.spec.where import SPEC_FIELDS, rows_matching, where_fields

if TYPE_CHECKING:
    import pandas

MATCHED: Final = tuple(name for name in FIELDS if name not in ("label", "profile", "repeat"))
"""The fields by which configs of two sides are matched."""

ORIGIN: Final = ("label", "profile", "profile_digest", "engine_version", "host", "kernel_release", "git_revision")
"""What is known of where a number comes from."""

SELECTABLE: Final[Mapping[str, Any]] = {
    **SPEC_FIELDS,
    **{column.name: str for column in PROVENANCE_COLUMNS if column.kind is str},
}
"""What a selection may name: every field, and every word about the origin of a row."""

OF_SIMULATIONS: Final = ("label", "profile_digest", "engine_version")
OF_MEASUREMENTS: Final = ("label", "host", "kernel_release")
"""Numbers that differ in one of these are no repeats of each other."""

PROFILE_KEY: Final = b"splitsweep.profile."
"""Of the metadata of a dataset's files: what follows is the digest of a profile, whose text is the value."""


@dataclass(frozen=True, slots=True)
class Side:
    """`runs` has a row for each config and repeat, `phases` one for each phase of those that succeeded."""

    name: str
    runs: pandas.DataFrame
    phases: pandas.DataFrame
    profiles: Mapping[str, Mapping[str, float]]  # parameters by digest, as far as the dataset keeps them

    def origins(self, name: str) -> tuple[str, ...]:
        """The different values of a column of ORIGIN, sorted."""
        return tuple(sorted(str(value) for value in self.runs[name].dropna().unique() if value != ""))


def read_side(location: str, selections: Mapping[str, str | None], name: str = "") -> Side:
    """The side that the dataset at `location` holds, as far as all selections (SQL by option) let through.

    Raises QueryError where there is no such dataset or nothing is left of it, SpecError where a condition is none.
    """
    with open_dataset(location) as dataset:
        runs = select(dataset, "SELECT * FROM runs").to_pandas()
        phases = select(dataset, "SELECT * FROM phases").to_pandas()
    runs[MEM_TOTAL] = runs["vcpus"] * runs["mem_per_vcpu"]
    given = {option: where for option, where in selections.items() if where is not None}
    for option, where in given.items():
        runs = runs[_matching(option, where, runs)]
    if runs.empty:
        told = " and ".join(f"{option} {where}" for option, where in given.items())
        raise QueryError(f"{location}: no config matches {told}" if told else f"{location}: no config there")
    phases = phases[phases["config_id"].isin(runs.loc[runs["status"] == "ok", "config_id"])]
    phases["iteration"] = phases["iteration"].fillna(0).astype(int)
    return Side(
        name or location, runs.reset_index(drop=True), phases.reset_index(drop=True), profiles=kept_profiles(location)
    )


def selected_fields(where: str | None) -> tuple[str, ...]:
    """The fields that a selection names; SpecError where it is no condition."""
    return () if where is None else where_fields(where, SELECTABLE)


def values_of(rows: pandas.DataFrame, names: Sequence[str]) -> list[tuple[object, ...]]:
    """These columns of each row as plain values, nulls as None."""
    columns = [rows[name].astype(object).where(rows[name].notna(), None).tolist() for name in names]
    return list(zip(*columns, strict=True))


def _matching(option: str, where: str, runs: pandas.DataFrame) -> list[bool]:
    with spec_place(option):
        try:
            names = where_fields(where, SELECTABLE)
            columns = dict(zip(names, zip(*values_of(runs, names), strict=True), strict=True))
            return rows_matching(where, columns, SELECTABLE)
        except SpecError as error:
            raise SpecError(str(error).removeprefix("where: ")) from error


def kept_profiles(location: str) -> dict[str, dict[str, float]]:
    """The parameters of the profiles whose text the dataset's files keep, by digest of their content."""
    import pyarrow.parquet

    from sweep.dataset.listing import list_shards
    from sweep.dataset.schema import RUNS
    from sweep.dataset.store import open_store

    store = open_store(location)
    found: dict[str, dict[str, float]] = {}
    for shard in list_shards(store).counting:
        with store.filesystem.open_input_file(store.file(RUNS, shard)) as file:
            metadata = pyarrow.parquet.read_schema(file).metadata or {}
        for key, text in metadata.items():
            if key.startswith(PROFILE_KEY):
                tables = tomllib.loads(text.decode())
                found[key.removeprefix(PROFILE_KEY).decode()] = {
                    f"{section}.{name}": value
                    for section, values in tables.items()
                    if section != "fit"
                    for name, value in values.items()
                }
    return found
