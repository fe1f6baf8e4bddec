"""A dataset opened for questions: its shards as DuckDB views `runs`, `phases`, `failures` and so on.

The views read the Parquet shards where they lie, here or on an object store, so a query touches only the columns it
names: a million phase rows answer in some hundred milliseconds. They come through pyarrow (sweep/dataset/files.py),
because DuckDB would need extensions from the network to read remote files, and does not hold pages against their
checksums. The store may hold a config in two shards for a while; the views show its best row, as a merge would.

Everything runs under a locked door: SQL reaches the views and no file, no network and no setting.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from core.rows import CONFIG_COLUMNS, FORMER_NAMES, LATER_FIELDS, PHASE_COLUMNS, PROVENANCE_COLUMNS, RUN_COLUMNS, Column
from sweep.dataset.origin import create_origins, outdated_sql
from sweep.errors import QueryError
from sweep.published.timings import PUBLISHED_COLUMNS, published_measurements

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from sweep.dataset.files import OpenShards
    from sweep.dataset.store import Store

VIEWS: Final = ("runs", "phases", "timeline", "failures", "origins", "published")

COLUMNS: Final = {"runs": RUN_COLUMNS, "phases": PHASE_COLUMNS}

_TIMELINE: Final = f"""
CREATE VIEW timeline AS
SELECT {", ".join(column.name for column in CONFIG_COLUMNS)}, origin, phase, iteration,
    unnest(timeline, recursive := true) FROM phases WHERE timeline IS NOT NULL
"""

_FAILURES: Final = f"""
CREATE VIEW failures AS
SELECT {", ".join(column.name for column in CONFIG_COLUMNS)}, error_type, error, attempts
FROM runs WHERE status = 'failed'
"""

_PUBLISHED: Final = """
CREATE TABLE published (
    source VARCHAR, host VARCHAR, release VARCHAR, options VARCHAR, mmu VARCHAR, split VARCHAR, split_cache VARCHAR,
    vcpus BIGINT, mem_per_vcpu BIGINT, slots BIGINT, backing VARCHAR, pml BOOLEAN, write_percent BIGINT,
    initially_all_set BOOLEAN, kernel VARCHAR, phase VARCHAR, iteration BIGINT, seconds DOUBLE, not_modelled VARCHAR
)
"""

# A shard's phases are those of its runs, so this answers for both tables; asking the phases themselves, ten times as
# many rows, would take longer than most questions.
_TWICE: Final = "SELECT config_id FROM runs_of_shards GROUP BY config_id HAVING count(*) > 1 LIMIT 1"

# The same order as in a merge (sweep/dataset/upkeep.py).
_STALE: Final = """
CREATE TABLE shards.stale AS
SELECT config_id, shard FROM runs_of_shards
QUALIFY row_number() OVER (
    PARTITION BY config_id
    ORDER BY status = 'ok' DESC, started_at DESC NULLS LAST, host DESC NULLS LAST,
        wall_seconds DESC NULLS LAST, shard DESC
) > 1
"""

# Nothing outside of the dataset is in reach of SQL: no file, no network, no variable of this program.
_LOCKED: Final[dict[str, str | bool | int | float | list[str]]] = {
    "autoload_known_extensions": False,
    "autoinstall_known_extensions": False,
    "enable_external_access": False,
    "python_enable_replacements": False,
}


@contextmanager
def open_dataset(location: str, *, current: bool = False) -> Iterator[DuckDBPyConnection]:
    """A connection that sees the views of the dataset at `location`, a folder or a pyarrow filesystem URI.

    With `current` they show of each profile only the rows of its newest content and engine version.
    """
    store = existing_store(location)
    if not has_results(store):
        raise QueryError(f"{location}: no results there yet; `splitsweep run SPEC --results {location}` makes some")
    with open_views(store, current=current) as connection:
        yield connection


@contextmanager
def open_views(store: Store, *, current: bool = False) -> Iterator[DuckDBPyConnection]:
    """The same for a store that may still be without results."""
    import duckdb

    from sweep.dataset.files import open_shards

    shards = open_shards(store)
    connection = duckdb.connect(config=_LOCKED)
    try:
        _create_views(connection, shards, current)
        connection.execute("SET TimeZone = 'UTC'")  # whatever the machine's: a dataset reads the same everywhere
        connection.execute("SET lock_configuration = true")
        yield connection
    except (duckdb.IOException, duckdb.InvalidInputException) as error:
        raise QueryError(f"{store.location}: cannot be read: {explained(error)}") from None
    finally:
        connection.close()


def existing_store(location: str) -> Store:
    """The store at a folder or URI that is there; QueryError if it is not."""
    from pyarrow import fs

    from sweep.dataset.store import open_store

    store = open_store(location)
    if store.filesystem.get_file_info(store.path).type == fs.FileType.NotFound:
        raise QueryError(f"{location}: no such dataset; allowed: a folder that `splitsweep run` wrote, or its URI")
    return store


def has_results(store: Store) -> bool:
    """Whether any shard has been finished there, be it damaged since."""
    from sweep.dataset.listing import list_shards

    listing = list_shards(store)
    return bool(listing.counting or listing.cut_off)


def explained(error: Exception) -> str:
    """DuckDB's message on one line: of a damaged file what to do, else what is wrong, without the excerpt."""
    from sweep.dataset.listing import CURE

    message = " ".join(str(error).split("\n\nLINE ")[0].split())
    return f"a shard is damaged; {CURE}" if "reading the stream registered as" in message else message


def _create_views(connection: DuckDBPyConnection, shards: OpenShards, current: bool) -> None:
    connection.execute("CREATE SCHEMA shards")
    for table, columns in COLUMNS.items():
        _register(connection, shards, table, columns)
    twice = bool(connection.execute(_TWICE).fetchall())
    if twice:
        connection.execute(_STALE)
    for table, columns in COLUMNS.items():
        anti = "ANTI JOIN shards.stale USING (config_id, shard)" if twice else ""
        names = ", ".join(column.name for column in columns)
        connection.execute(f"CREATE VIEW shards.{table} AS SELECT {names} FROM {table}_of_shards {anti}")
    origin = create_origins(connection, "shards.runs")
    outdated = outdated_sql(connection) if current else ""
    for table, rows in (("runs", "shards.runs"), ("phases", _all_phases(connection))):
        kept = f"WHERE NOT ({outdated})" if outdated else ""
        connection.execute(f"CREATE VIEW {table} AS SELECT *, {origin} AS origin FROM {rows} {kept}")
    connection.execute(_FAILURES)
    connection.execute(_TIMELINE)
    connection.execute(_PUBLISHED)
    published = [[getattr(measured, name) for measured in published_measurements()] for name in PUBLISHED_COLUMNS]
    # as whole columns: DuckDB takes 100 ms for the same row by row
    connection.execute(f"INSERT INTO published SELECT {', '.join(['unnest(?)'] * len(published))}", published)


def _register(connection: DuckDBPyConnection, shards: OpenShards, table: str, columns: tuple[Column, ...]) -> None:
    """A view of all rows, with today's columns and that of their shard; pyarrow reads what SQL asks for."""
    from sweep.dataset.shard import is_former_version

    connection.register(f"{table}_files", shards.dataset(table, former_version=False))
    rows = f"SELECT {_selected(columns, {})} FROM {table}_files"
    if any(map(is_former_version, shards.names)):
        connection.register(f"{table}_files_before", shards.dataset(table, former_version=True))
        rows += f" UNION ALL SELECT {_selected(columns, FORMER_NAMES)} FROM {table}_files_before"
    connection.execute(f"CREATE VIEW {table}_of_shards AS {rows}")


def _selected(columns: tuple[Column, ...], names: Mapping[str, str]) -> str:
    """The columns and their shard, as SQL for files that may call them otherwise and may lack later fields."""
    selected = []
    for column in columns:
        found = names.get(column.name, column.name)
        if column.name in LATER_FIELDS:
            before = LATER_FIELDS[column.name]
            found = f"coalesce({found}, {json.dumps(before) if column.kind is not str else repr(before)})"
        selected.append(f"{found} AS {column.name}")
    return ", ".join([*selected, "shard"])


def _all_phases(connection: DuckDBPyConnection) -> str:
    """The phases as SQL; those of shards from before they said where they come from take it from their run."""
    if not connection.execute("SELECT 1 FROM shards.runs WHERE source IS NULL LIMIT 1").fetchall():
        return "shards.phases"
    names = [column.name for column in PROVENANCE_COLUMNS]
    filled = ", ".join(f"coalesce(phases.{name}, runs.{name}) AS {name}" for name in names)
    runs = f"SELECT config_id, {', '.join(names)} FROM shards.runs"
    return f"(SELECT phases.* REPLACE ({filled}) FROM shards.phases LEFT JOIN ({runs}) runs USING (config_id))"
