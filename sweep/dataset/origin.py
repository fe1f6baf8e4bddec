"""Whose numbers a dataset holds: its rows told apart by what decides them and is no field of a config.

Two contents of one profile, two versions of the engine, or two hosts that measured are not repeats of each other. The
views name them in a column `origin`: the profile alone where that says it, and what else differs where it does not.
The view `origins` lists them. A simulation gives the same rows on every host, so hosts and kernels tell measurements
apart only; a measurement of real KVM has no profile.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# The deciding columns of a row, null where they decide nothing.
_DECIDING: Final = {
    "engine": "engine",
    "profile": "CASE WHEN engine <> 'kvm' THEN profile END",
    "profile_digest": "profile_digest",
    "engine_version": "engine_version",
    "host": "CASE WHEN engine <> 'sim' THEN host END",
    "kernel_release": "CASE WHEN engine <> 'sim' THEN kernel_release END",
}

# Current is what the newest run of an engine and profile used.
_ORIGINS: Final = f"""
CREATE TABLE origins AS
SELECT NULL::VARCHAR AS origin, *, (engine_version, profile_digest) IS NOT DISTINCT FROM first((
    engine_version, profile_digest) ORDER BY last_started_at DESC NULLS LAST) OVER (PARTITION BY engine, profile
) AS current
FROM (
    SELECT {", ".join(f"{value} AS {name}" for name, value in _DECIDING.items())},
        count(*) AS configs, min(started_at) AS first_started_at, max(started_at) AS last_started_at
    FROM {{runs}} GROUP BY ALL
)
"""


@dataclass(frozen=True, slots=True)
class Origin:
    """Rows that may be compared and averaged."""

    origin: str
    engine: str
    profile: str | None
    profile_digest: str | None
    engine_version: str | None
    host: str | None
    kernel_release: str | None
    configs: int
    current: bool  # of the engine version and profile content that the newest run of this engine and profile used


def create_origins(connection: DuckDBPyConnection, runs: str) -> str:
    """Create the table `origins` of the rows in `runs`; returns SQL that names the origin of a row of any table."""
    connection.execute(_ORIGINS.format(runs=runs))
    named = _name_sql(connection)
    connection.execute(f"UPDATE origins SET origin = {named}")
    return named


def origins(connection: DuckDBPyConnection) -> list[Origin]:
    """The origins of an open dataset, by engine and profile the current ones first."""
    names = list(Origin.__dataclass_fields__)
    rows = connection.execute(
        f"SELECT {', '.join(names)} FROM origins "
        "ORDER BY engine, profile NULLS FIRST, current DESC, last_started_at DESC NULLS LAST, origin"
    )
    return [Origin(*row) for row in rows.fetchall()]


def outdated_sql(connection: DuckDBPyConnection) -> str:
    """SQL that is true for a row of an origin that is not current; empty where all are."""
    rows = connection.execute(
        "SELECT DISTINCT engine, profile, profile_digest, engine_version FROM origins WHERE NOT current"
    ).fetchall()
    return " OR ".join(
        " AND ".join(
            f"{name} IS NOT DISTINCT FROM {_literal(value)}"
            for name, value in zip(("engine", "profile", "profile_digest", "engine_version"), row, strict=True)
        )
        for row in rows
    )


def origins_note(found: Sequence[Origin]) -> str | None:
    """One line that says that rows are of several origins which nothing else tells apart, or of unknown ones."""
    by_name: dict[tuple[str, str | None], list[Origin]] = {}
    for origin in found:
        by_name.setdefault((origin.engine, origin.profile), []).append(origin)
    several = [origin for group in by_name.values() if len(group) > 1 for origin in group]
    unknown = sum(origin.configs for origin in found if origin.engine != "kvm" and origin.profile_digest is None)
    if unknown and not several:
        return (
            f"{unknown:,} {_configs(unknown)} from a version that did not keep which content of its profile the "
            "numbers are of; `splitsweep run` with --fresh makes new ones that say so"
        )
    if not several:
        return None
    listed = ", ".join(f"{origin.origin} ({origin.configs:,} {_configs(origin.configs)})" for origin in several)
    outdated = not all(origin.current for origin in several)
    cure = "; --current leaves out all but the newest profile and engine" if outdated else ""
    return f"rows of several origins, kept apart: {listed}{cure}"


def _configs(count: int) -> str:
    return "config" if count == 1 else "configs"


def _name_sql(connection: DuckDBPyConnection) -> str:
    """The name as short as the dataset allows: what does not differ within an engine or a profile is not said."""
    digests = _several(connection, "profile", "profile_digest")
    parts = ["CASE engine WHEN 'kvm' THEN 'measured' ELSE profile END"]
    if digests:
        digest = "coalesce(profile_digest[:8], 'without digest')"
        parts.append(
            f"CASE WHEN engine <> 'kvm' AND profile IN ({_literals(digests)}) THEN ' ' || {digest} ELSE '' END"
        )
    for column, said in (("engine_version", ", engine "), ("host", " on "), ("kernel_release", ", kernel ")):
        if engines := _several(connection, "engine", column):
            told = f"'{said}' || coalesce({column}, 'unknown')"
            parts.append(f"CASE WHEN engine IN ({_literals(engines)}) THEN {told} ELSE '' END")
    return " || ".join(parts)


def _several(connection: DuckDBPyConnection, by: str, column: str) -> list[str]:
    """The values of `by` whose origins differ in `column`."""
    differing = f"SELECT {by} FROM origins WHERE {by} IS NOT NULL GROUP BY 1"
    rows = connection.execute(f"{differing} HAVING count(DISTINCT coalesce({column}, '')) > 1 ORDER BY 1").fetchall()
    return [value for (value,) in rows]


def _literals(texts: Iterable[str]) -> str:
    return ", ".join(map(_literal, texts))


def _literal(text: str | None) -> str:
    return "NULL" if text is None else "'" + text.replace("'", "''") + "'"
