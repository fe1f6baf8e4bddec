"""Datasets for tests: real shards, written by sweep.dataset.store, with numbers that a test can state."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

import sweep.dataset.store
from core.config import Config, config_record
from core.costs.profile import load_profile
from core.identity import ENGINE_VERSION, config_id
from core.rows import FORMER_NAMES, Row
from sweep.dataset.store import make_folders, open_store

Numbers = Callable[[Config, str, int | None], dict[str, object]]
"""The numbers of a phase row: called with the config, the phase and the iteration."""


def one_second(config: Config, phase: str, iteration: int | None) -> dict[str, object]:
    return {"seconds": 1.0}


def write_shard(
    folder: Path,
    configs: Iterable[Config],
    numbers: Numbers = one_second,
    *,
    batch: int = 0,
    failed: bool = False,
    started_at: str = "2026-01-01T00:00:00Z",
    **provenance: object,
) -> None:
    """Add one shard of finished (or failed) configs to the dataset in `folder`.

    With `provenance` the rows are those of another host, engine version or profile content, and named accordingly.
    """
    listed = list(configs)
    store = open_store(str(folder))
    make_folders(store)
    runs = [run_row(config, failed, started_at) | _own(config, provenance) for config in listed]
    phases = [row | _own(config, provenance) for config in listed for row in phase_rows(config, numbers)]
    sweep.dataset.store.write_shard(store, runs, [] if failed else phases)


def run_row(config: Config, failed: bool, started_at: str) -> Row:
    error = {"status": "failed", "error_type": "MemoryError", "error": "no memory for the page tables", "attempts": 3}
    done = {"status": "ok", "attempts": 1, "wall_seconds": 0.5, "cpu_seconds": 0.4, "peak_rss_bytes": 2**27}
    about = {
        "config_id": config_id(config),
        "engine_version": ENGINE_VERSION,
        "profile_digest": load_profile(config.profile).digest,
        "host": "node-a",
        "kernel_release": "6.12.0",
        "source": "run",
        "started_at": datetime.fromisoformat(started_at),
    }
    return config_record(config) | about | (error if failed else done)


def phase_rows(config: Config, numbers: Numbers) -> list[Row]:
    phases: list[tuple[str, int | None]] = [("populate", None), ("enable", None)]
    for iteration in range(1, config.iterations + 1):
        phases += [("dirty", iteration), ("get", iteration), ("clear", iteration)]
    phases += [("disable", None), ("after_disable", None)]
    named = {"config_id": config_id(config)} | config_record(config)
    return [named | {"phase": phase, "iteration": k} | numbers(config, phase, k) for phase, k in phases]


def _own(config: Config, provenance: Row) -> Row:
    if not provenance:
        return {}
    digest = hashlib.sha256(f"{config_id(config)} {provenance}".encode()).hexdigest()[:16]
    return provenance | {"config_id": digest}


def as_of_former_version(folder: Path, missing: Collection[str], table: str = "*") -> None:
    """Leave the dataset as a version wrote it that lacked these columns, had times as texts, and named files anyhow."""
    for file in folder.glob(f"{table}/*.parquet"):
        rows = pyarrow.parquet.read_table(file)
        names = [name for name in rows.column_names if name not in missing]
        kept = pyarrow.table({FORMER_NAMES.get(name, name): _as_text(rows[name]) for name in names})
        digest = hashlib.sha256(file.stem.encode()).hexdigest()[:16]
        file.unlink()
        pyarrow.parquet.write_table(kept, file.with_name(f"{digest if '-' in file.stem else file.stem}.parquet"))


def _as_text(column: Any) -> Any:
    is_text = pyarrow.types.is_timestamp(column.type) or pyarrow.types.is_dictionary(column.type)
    return column.cast(pyarrow.string()) if is_text else column
