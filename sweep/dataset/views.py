"""A dataset opened for questions: its shards as DuckDB views `runs`, `phases`, `failures`, `origins` and `published`.

The views read the Parquet shards where they lie, so a query touches only the columns it names: a million phase rows
answer in some hundred milliseconds, while copying them into tables first would take seconds. After a kill the store may
hold a config in two shards for a while; the views show its newest rows only.

Everything runs under a locked door: once the views exist, SQL reaches the dataset's own folder and no other file, no
network and no setting. A dataset on a remote filesystem is copied to a temporary folder first, because DuckDB would
need extensions from the network to read it in place.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Final

from core.config import LIVE_FIELDS
from core.rows import CONFIG_COLUMNS, PHASE_COLUMNS, PROVENANCE_COLUMNS, RUN_COLUMNS, Column
from sweep.dataset.origin import create_origins, outdated_sql
from sweep.errors import QueryError
from sweep.published.timings import PUBLISHED_COLUMNS, published_measurements

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from sweep.dataset.store import Store

VIEWS: Final = ("runs", "phases", "failures", "origins", "published")

COLUMNS: Final = {"runs": RUN_COLUMNS, "phases": PHASE_COLUMNS}

SQL_TYPES: Final = {
    int: "BIGINT",
    float: "DOUBLE",
    str: "VARCHAR",
    bool: "BOOLEAN",
    datetime: "TIMESTAMP WITH TIME ZONE",
}

_FAILURES: Final = f"""
CREATE VIEW failures AS
SELECT {", ".join(column.name for column in CONFIG_COLUMNS)}, error_type, error, attempts
FROM runs WHERE status = 'failed'
"""

_PUBLISHED: Final = """
CREATE TABLE published (
    source VARCHAR, mmu VARCHAR, split VARCHAR, vcpus BIGINT, mem_per_vcpu BIGINT, backing VARCHAR,
    write_percent BIGINT, initially_all_set BOOLEAN, phase VARCHAR, iteration BIGINT, seconds DOUBLE
)
"""

# A shard's phases are those of its runs, so this answers for both tables; asking the phases themselves, ten times as
# many rows, would take longer than most questions.
_TWICE: Final = "SELECT config_id FROM {runs} GROUP BY config_id HAVING count(*) > 1 LIMIT 1"

_STALE_RUNS: Final = """
CREATE TABLE shards.stale_runs AS
SELECT config_id, filename AS file FROM {runs}
QUALIFY row_number() OVER (PARTITION BY config_id ORDER BY started_at DESC NULLS LAST, filename DESC) > 1
"""

# Shards of one batch share their name, so a config's newest phases lie in the shard named as that of its newest run.
_STALE_PHASES: Final = """
CREATE TABLE shards.stale_phases AS
WITH newest AS (
    SELECT config_id, parse_filename(filename) AS name FROM {runs}
    ANTI JOIN shards.stale_runs ON stale_runs.config_id = runs.config_id AND stale_runs.file = filename
)
SELECT found.config_id, found.file
FROM (SELECT DISTINCT config_id, filename AS file FROM {phases}) found LEFT JOIN newest USING (config_id)
QUALIFY row_number() OVER (
    PARTITION BY found.config_id
    ORDER BY parse_filename(found.file) IS NOT DISTINCT FROM newest.name DESC, found.file DESC
) > 1
"""


@contextmanager
def open_dataset(location: str, *, current: bool = False) -> Iterator[DuckDBPyConnection]:
    """A connection that sees the views of the dataset at `location`, a folder or a pyarrow filesystem URI.

    With `current` they show of each profile only the rows of its newest content and engine version.
    """
    with local_store(location) as store:
        if not has_results(store):
            raise QueryError(f"{location}: no results there yet; `splitsweep run SPEC --results {location}` makes some")
        with open_views(store, current=current) as connection:
            yield connection


@contextmanager
def open_views(store: Store, *, current: bool = False) -> Iterator[DuckDBPyConnection]:
    """The same for a store on this machine, which may still be without results."""
    import duckdb

    from sweep.dataset.store import PHASES, RUNS, shard_names

    names = shard_names(store)
    files = {table: [store.file(table, name) for name in names] for table in (RUNS, PHASES)}
    connection = duckdb.connect(config={"autoload_known_extensions": False, "autoinstall_known_extensions": False})
    try:
        _create_views(connection, files, current)
        _lock(connection, store.path)
        yield connection
    except (duckdb.IOException, duckdb.InvalidInputException) as error:
        raise QueryError(f"unreadable dataset: {str(error).splitlines()[0]}") from None
    finally:
        connection.close()


def has_results(store: Store) -> bool:
    """Whether any shard has been finished there."""
    from sweep.dataset.store import shard_names

    return bool(shard_names(store))


@contextmanager
def local_store(location: str) -> Iterator[Store]:
    """The dataset on this machine: itself, or a temporary copy of a remote one."""
    from pyarrow import fs

    from sweep.dataset.store import open_store

    store = open_store(location)
    if store.filesystem.get_file_info(store.path).type == fs.FileType.NotFound:
        raise QueryError(f"{location}: no such dataset; allowed: a folder that `splitsweep run` wrote, or its URI")
    if store.is_local:
        yield store
        return
    with tempfile.TemporaryDirectory(prefix="splitsweep-") as copy:
        try:
            fs.copy_files(store.path, copy, source_filesystem=store.filesystem)
        except OSError as error:
            raise QueryError(f"{location}: cannot read it: {str(error).splitlines()[0]}") from None
        yield open_store(copy)


def _create_views(connection: DuckDBPyConnection, shards: dict[str, list[str]], current: bool) -> None:
    scans = {table: _scan(shards[table], columns, table) for table, columns in COLUMNS.items()}
    twice = bool(connection.execute(_TWICE.format_map(scans)).fetchall())
    connection.execute("CREATE SCHEMA shards")
    if twice:
        connection.execute(_STALE_RUNS.format_map(scans))
        connection.execute(_STALE_PHASES.format_map(scans))
    for table, scan in scans.items():
        anti = f"ANTI JOIN shards.stale_{table} stale ON stale.config_id = {table}.config_id AND stale.file = filename"
        rows = f"SELECT * FROM {scan} {anti if twice else ''}"
        connection.execute(f"CREATE VIEW shards.{table} AS {_with_all_columns(rows, COLUMNS[table])}")
    origin = create_origins(connection, "shards.runs")
    outdated = outdated_sql(connection) if current else ""
    for table, rows in (("runs", "shards.runs"), ("phases", _all_phases(connection))):
        kept = f"WHERE NOT ({outdated})" if outdated else ""
        connection.execute(f"CREATE VIEW {table} AS SELECT *, {origin} AS origin FROM {rows} {kept}")
    connection.execute(_FAILURES)
    connection.execute(_PUBLISHED)
    columns = [[getattr(measured, name) for measured in published_measurements()] for name in PUBLISHED_COLUMNS]
    # as whole columns: DuckDB takes 100 ms for the same row by row
    connection.execute(f"INSERT INTO published SELECT {', '.join(['unnest(?)'] * len(columns))}", columns)


def _all_phases(connection: DuckDBPyConnection) -> str:
    """The phases as SQL; those of shards from before they said where they come from take it from their run."""
    if not connection.execute("SELECT 1 FROM shards.runs WHERE source IS NULL LIMIT 1").fetchall():
        return "shards.phases"
    names = [column.name for column in PROVENANCE_COLUMNS]
    filled = ", ".join(f"coalesce(phases.{name}, runs.{name}) AS {name}" for name in names)
    runs = f"SELECT config_id, {', '.join(names)} FROM shards.runs"
    return f"(SELECT phases.* REPLACE ({filled}) FROM shards.phases LEFT JOIN ({runs}) runs USING (config_id))"


def _scan(files: list[str], columns: tuple[Column, ...], name: str) -> str:
    """SQL that reads the files, or an empty table of the same columns where nothing has been written yet."""
    if not files:
        return f"(SELECT *, NULL::VARCHAR AS filename FROM ({_no_rows(columns)})) {name}"
    listed = ", ".join("'" + file.replace("'", "''") + "'" for file in files)
    return f"read_parquet([{listed}], union_by_name = true) {name}"


def _with_all_columns(rows: str, columns: tuple[Column, ...]) -> str:
    """The rows with every column, in order: older shards lack the later ones, and have times of day as texts."""
    defaults = [f"coalesce({name}, {str(value).lower()}) AS {name}" for name, value in LIVE_FIELDS.items()]
    defaults += ["coalesce(label, '') AS label", f"started_at::{SQL_TYPES[datetime]} AS started_at"]
    return f"SELECT * REPLACE ({', '.join(defaults)}) FROM ({_no_rows(columns)} UNION ALL BY NAME {rows})"


def _no_rows(columns: tuple[Column, ...]) -> str:
    typed = ", ".join(f"NULL::{SQL_TYPES[column.kind]} AS {column.name}" for column in columns)
    return f"SELECT {typed} WHERE false"


def _lock(connection: DuckDBPyConnection, folder: str) -> None:
    """From here on SQL sees the dataset's folder and nothing else of the machine, and cannot change that."""
    connection.execute("SET TimeZone = 'UTC'")  # whatever the machine's: a dataset reads the same everywhere
    connection.execute("SET allowed_directories = [?]", [f"{folder}/"])
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
