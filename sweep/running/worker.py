"""What a worker does with a batch: run each config, catch what it raises, and write the shard."""

from __future__ import annotations

import functools
import os
import resource
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType

from core.config import Config, config_record
from core.costs.profile import load_profile
from core.identity import ENGINE_VERSION, config_id
from core.kvm import ENGINE_VERSION as KVM_ENGINE_VERSION
from core.rows import Row
from core.run import run_config
from sweep.dataset.listing import list_shards, scan_runs
from sweep.dataset.store import Store, write_shard
from sweep.errors import SweepError
from sweep.running.limit import Watch, limited_memory, seconds_allowed
from sweep.running.plan import Batch, Task

Engine = Callable[[Config], list[Row]]


@dataclass(frozen=True, slots=True)
class Summary:
    """What a worker tells the driver about a batch; the rows are on disk."""

    done: int
    failed: int
    host: str
    shard: str | None  # None if all of it was stored before


def run_batch(
    batch: Batch,
    attempt: int,
    *,
    store: Store,
    git_revision: str | None,
    engine: Engine = run_config,
    attempts_before: Mapping[str, int] = MappingProxyType({}),
    timeout: float | None = None,
    since: datetime | None = None,
) -> Summary:
    """Run every config of the batch in this process and write the shard. What a worker does.

    A config that takes longer than `timeout` seconds, or far longer or far more memory than estimated, ends this
    process. With `since`,
    when the run began, configs of this batch that were stored after it by an earlier attempt are left out; without it
    nothing is ended, as this is the driver's process.
    """
    attempts = attempts_before.get(batch.name, 0) + attempt
    origin: Row = {"attempts": attempts, "git_revision": git_revision}
    stored = {} if since is None or attempts == 1 else _stored(store, batch, since)
    runs: list[Row] = []
    phases: list[Row] = []
    begun = datetime.now(UTC)

    def store_what_there_is(task: Task, error_type: str, error: str) -> None:
        outcome: Row = {"status": "failed", "error_type": error_type, "error": error}
        outcome |= {"started_at": begun, "wall_seconds": (datetime.now(UTC) - begun).total_seconds()}
        write_shard(store, [*runs, new_row(task) | _machine() | origin | outcome], phases)

    with nullcontext() if since is None else Watch(store_what_there_is) as watch:
        for task in batch.tasks:
            if task.config_id in stored:
                continue
            begun = datetime.now(UTC)
            if watch is not None:
                watch.begin(task, seconds_allowed(task, timeout))
            run, its_phases = run_task(task, engine)
            runs.append(run | origin)
            phases += its_phases
    shard = write_shard(store, runs, phases) if runs else None
    failed = sum(status == "failed" for status in [*stored.values(), *(run["status"] for run in runs)])
    return Summary(len(batch.tasks) - failed, failed, socket.gethostname(), shard)


def _stored(store: Store, batch: Batch, since: datetime) -> dict[str, str]:
    """The configs of this batch that the dataset has since the run began, each with its status."""
    names = {task.config_id for task in batch.tasks}
    found: dict[str, str] = {}
    for _, rows in scan_runs(store, list_shards(store).counting, ["config_id", "status", "started_at"]):
        columns = (rows[column].to_pylist() for column in ("config_id", "status", "started_at"))
        for name, status, started_at in zip(*columns, strict=True):
            if name in names and started_at is not None and started_at >= since:
                found[name] = status
    return found


def run_task(task: Task, engine: Engine) -> tuple[Row, list[Row]]:
    """The run row of one config and its phase rows; if the engine raises, the row says so and there are no phases."""
    if config_id(task.config) != task.config_id:
        raise SweepError("this node runs another splitsweep or profile than the driver; install the same on every node")
    measures = task.config.engine != "sim"
    facts = _host_facts(task.config) if measures else {}
    row = new_row(task) | _machine() | facts | {"started_at": datetime.now(UTC)}
    wall, cpu = time.perf_counter(), time.process_time()
    phases: list[Row] = []
    try:
        with limited_memory(task.config):
            phases = engine(task.config)
        row["status"] = "ok"
    except Exception as error:
        row |= {"status": "failed", "error_type": type(error).__name__, "error": str(error)}
    row["wall_seconds"] = time.perf_counter() - wall
    row["cpu_seconds"] = None if measures else time.process_time() - cpu  # other processes do the work of a measurement
    row["peak_rss_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB
    return row, phases


@functools.cache  # asking the kernel for its CPUs takes 1% of a small config's time
def _machine() -> Row:
    return {"host": socket.gethostname(), "kernel_release": os.uname().release, "node_cpus": os.cpu_count()}


def _host_facts(config: Config) -> Row:
    from core.live.host import host_facts  # only where something runs live

    return host_facts(config)


def new_row(task: Task) -> Row:
    """What the row of a run says before it is started."""
    origin: Row = {"engine_version": ENGINE_VERSION, "profile_digest": load_profile(task.config.profile).digest}
    if task.config.engine == "kvm":  # which has no profile, and is versioned by the kernel
        origin = {"engine_version": KVM_ENGINE_VERSION, "profile_digest": None}
    return {"config_id": task.config_id, **config_record(task.config), **origin, "source": "run"}
