"""Time of questions to a dataset of a million phase rows, beside bare DuckDB and pandas on the same files.

The dataset has the store's own schema and file layout: 100,000 configs (1,000 machines, 100 repeats each) of 10 phases,
in files as large as a finished run leaves them. The rows are those of one simulated config; each number of a phase is
varied by a factor of its own, so that the files hold as many digits as real ones.

Bare DuckDB reads the same files with the same SQL, in a connection of its own, without what `splitsweep` does before
the first row: list the shards, look for configs that stand in two of them, read the published values, lock the door.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.measure import Options, in_turn, note, ratio, seconds_of, spread
from benchmarks.report import Cell, Table
from core.config import FIELDS, make_config
from core.rows import PHASE_COLUMNS, RUN_COLUMNS, Row
from core.run import run_config

ROUNDS: Final = 7
REPEATS: Final = 100
FILES: Final = 2

VARIED: Final[dict[str, tuple[object, ...]]] = {
    "mmu": ("tdp", "legacy_tdp"),
    "split": ("lazy", "eager"),
    "vcpus": (1, 2, 4, 8, 16, 32, 64, 128, 256, 416),
    "write_percent": (5, 10, 20, 50, 90),
    "mem_per_vcpu": (2**28, 2**29, 2**30, 2**31, 2**32),
}
"""The fields in which the machines differ; every combination is one."""

QUESTIONS: Final = {
    "count all rows": "SELECT count(*) FROM phases",
    "mean of one phase by vcpus and split": (
        "SELECT vcpus, split, avg(seconds) FROM phases "
        "WHERE phase = 'dirty' AND iteration = 1 AND mmu = 'legacy_tdp' GROUP BY ALL ORDER BY ALL"
    ),
    "all phases of one config": "SELECT * FROM phases WHERE config_id = (SELECT max(config_id) FROM runs)",
    "the ten longest stalls": "SELECT * FROM phases ORDER BY stall_max_ns DESC LIMIT 10",
    "join of runs and phases": (
        "SELECT mmu, sum(wall_seconds), sum(seconds) FROM runs JOIN phases USING (config_id, mmu) GROUP BY ALL"
    ),
}

TABLE: Final = "mem_per_vcpu = 1073741824 AND write_percent = 50"
"""The condition of `splitsweep table`: leaves two tables of ten rows and two columns, medians of 100 repeats."""


def run(options: Options) -> list[Table]:
    """Write the dataset, then ask."""
    with tempfile.TemporaryDirectory() as folder:
        written = seconds_of(lambda: _write_dataset(folder))
        size = sum(file.stat().st_size for file in Path(folder).rglob("*.parquet"))
        note(f"1 million phase rows, {size / 2**20:.0f} MiB, written in {written:.0f} s")
        title = f"Questions to 1,000,000 phase rows ({size / 2**20:.0f} MiB in {2 * FILES} files), {ROUNDS} rounds"
        return [_questions(title, folder), _layouts(folder)]


def _questions(title: str, folder: str) -> Table:
    from sweep.dataset.query import query

    rows: list[tuple[Cell, ...]] = []
    for name, sql in QUESTIONS.items():
        assert query(folder, sql).num_rows == _bare(folder, sql).num_rows
        note(name)
        ask = {"splitsweep": partial(query, folder, sql), "DuckDB": partial(_bare, folder, sql)}
        taken = in_turn({who: partial(seconds_of, call) for who, call in ask.items()}, ROUNDS)
        ours, bare = taken["splitsweep"], taken["DuckDB"]
        rows.append((name, _milliseconds(ours), _milliseconds(bare), ratio(ours, bare)))
    columns = ("question", "splitsweep, ms", "bare DuckDB, ms", "splitsweep / DuckDB")
    return Table(title, columns, rows)


def _layouts(folder: str) -> Table:
    """Opening alone, the same table by splitsweep and by pandas, and the commands as typed."""
    calls: dict[str, Callable[[], object]] = {
        "open the dataset, ask nothing": partial(_opened, folder),
        "table: vcpus by split, medians": partial(_table, folder),
        "the same with pandas": partial(_pandas_table, folder),
        "`splitsweep query` as typed, start of Python included": partial(_command, "query", folder, _counting_sql()),
        "`splitsweep table` as typed": partial(_command, "table", folder, "--metric", "dirty", "--where", TABLE),
    }
    assert _table(folder) == _pandas_table(folder)
    note("tables and commands")
    taken = in_turn({name: partial(seconds_of, call) for name, call in calls.items()}, ROUNDS)
    rows: list[tuple[Cell, ...]] = [(name, _milliseconds(seconds)) for name, seconds in taken.items()]
    return Table("Tables and commands on the same dataset", ("what", "ms"), rows)


def _milliseconds(seconds: list[float]) -> Cell:
    return spread([1e3 * value for value in seconds])


def _counting_sql() -> str:
    return next(iter(QUESTIONS.values()))


def _bare(folder: str, sql: str) -> Any:
    import duckdb

    with duckdb.connect() as connection:
        for table in ("runs", "phases"):
            connection.execute(f"CREATE VIEW {table} AS SELECT * FROM read_parquet('{folder}/{table}/*.parquet')")
        return connection.sql(sql).to_arrow_table()


def _opened(folder: str) -> None:
    from sweep.dataset.views import open_dataset

    with open_dataset(folder):
        pass


def _table(folder: str) -> dict[object, float | None]:
    """The numbers of `splitsweep table`, by machine."""
    from sweep.dataset.views import open_dataset
    from sweep.showing.points import parse_metric
    from sweep.showing.tables import metric_tables

    with open_dataset(folder) as connection:
        tables = metric_tables(connection, parse_metric("dirty", 1), "vcpus", "split", TABLE, with_published=False)
    return {(table.heading["mmu"], *place): cell.value for table in tables for place, cell in table.cells.items()}


def _pandas_table(folder: str) -> dict[object, float]:
    """The same, as somebody with the files and pandas would do it: only the columns needed, one expression."""
    import pandas

    columns = ["phase", "iteration", "mem_per_vcpu", "write_percent", "mmu", "vcpus", "split", "seconds"]
    frame = pandas.read_parquet(f"{folder}/phases", columns=columns)
    wanted = frame[
        (frame.phase == "dirty")
        & (frame.iteration == 1)
        & (frame.mem_per_vcpu == VARIED["mem_per_vcpu"][2])
        & (frame.write_percent == 50)
    ]
    medians: dict[object, float] = wanted.groupby(["mmu", "vcpus", "split"]).seconds.median().to_dict()
    return medians


def _command(*words: str) -> None:
    program = "import sys; from sweep.cli import main; sys.exit(main())"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    subprocess.run([sys.executable, "-c", program, *words], check=True, stdout=subprocess.DEVNULL, env=environment)


def _write_dataset(folder: str) -> None:
    """All configs, FILES files of runs and of phases."""
    from sweep.dataset.shard import shard_of_tables
    from sweep.dataset.store import make_folders, open_store, put_shard

    store = open_store(folder)
    make_folders(store)
    random = np.random.default_rng(1)
    template = run_config(make_config({"mem_per_vcpu": "2MiB", "backing": "2M"}))
    machines = [dict(zip(VARIED, values, strict=True)) for values in itertools.product(*VARIED.values())]
    for repeats in np.array_split(np.arange(REPEATS), FILES):
        configs = [machine | {"repeat": int(repeat)} for repeat in repeats for machine in machines]
        runs = _runs(template[0], configs, random)
        put_shard(store, shard_of_tables(runs, [_phases(template, configs, random)]))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _phases(template: list[Row], configs: list[dict[str, object]], random: np.random.Generator) -> Any:
    """The template's phases once for each config, their numbers varied."""
    import pyarrow as pa

    from sweep.dataset.schema import PHASES, SCHEMAS

    own = dict(_config_columns(template[0], configs, len(template)))
    arrays = []
    for column in PHASE_COLUMNS:
        values = own.get(column.name)
        if values is None:
            values = [row.get(column.name) for row in template] * len(configs)  # the run says where it comes from
            if column.kind in (int, float) and column.name != "iteration" and values[0] is not None:
                factors = random.uniform(0.5, 2, len(values))
                values = [
                    None if value is None else column.kind(value * factor)
                    for value, factor in zip(values, factors, strict=True)
                ]
        arrays.append(pa.array(values, SCHEMAS[PHASES].field(column.name).type))
    return pa.Table.from_arrays(arrays, schema=SCHEMAS[PHASES])


def _runs(template: Row, configs: list[dict[str, object]], random: np.random.Generator) -> Any:
    """A run row for each config, as a worker writes it."""
    import pyarrow as pa

    from sweep.dataset.schema import RUNS, SCHEMAS

    own = dict(_config_columns(template, configs, 1))
    wall = random.uniform(0.002, 2, len(configs))
    own |= {"wall_seconds": list(wall), "cpu_seconds": list(wall * 0.99)}
    same = {"engine_version": "1", "status": "ok", "attempts": 1, "peak_rss_bytes": 2**27, "host": "node-a"}
    same |= {"node_cpus": 2, "started_at": datetime(2026, 1, 1, tzinfo=UTC)}
    arrays = [
        pa.array(own.get(column.name, [same.get(column.name)] * len(configs)), SCHEMAS[RUNS].field(column.name).type)
        for column in RUN_COLUMNS
    ]
    return pa.Table.from_arrays(arrays, schema=SCHEMAS[RUNS])


def _config_columns(template: Row, configs: list[dict[str, object]], times: int) -> Iterator[tuple[str, list[object]]]:
    """config_id and the fields, each value so many times."""
    yield "config_id", [name for config in configs for name in [_digest(str(config))] * times]
    for field in FIELDS:
        yield field, [value for config in configs for value in [config.get(field, template[field])] * times]
