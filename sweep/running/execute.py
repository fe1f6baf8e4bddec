"""Run a plan: batches go to workers, each worker writes its own shard, and progress comes back.

What stands in the dataset afterwards: a row with status `ok` and all its phases for every config that ran, a row with
status `failed` and the error for every config that did not, and nothing for what an interruption left undone.

* A config that raises is a failed row; its batch-mates go on.
* A config that kills its worker takes the whole batch with it, attempt after attempt. Such a batch is run once more in
  batches of one config, so that only the guilty one ends as a failed row, written by the driver.
* A config that takes too long ends its worker process, which first stores what the batch has: sweep/running/limit.py.
* A shard is written at the end of its batch: a worker that dies before that leaves nothing, and the batch runs again.
"""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import core
from cluster.attempt import Prepare
from cluster.errors import BrokenClusterError, ClusterError
from cluster.fan_out import Done, Failed, Interrupted, fan_out
from cluster.interrupts import noticed_signals
from cluster.pool import Pool
from cluster.session import Session, check_address, open_session
from core.compiled.cache import is_warm
from core.config import Config
from core.rows import Row
from core.run import run_config
from core.sim.memory_need import needed_bytes
from sweep.dataset.listing import finished
from sweep.dataset.store import Store, write_shard
from sweep.dataset.upkeep import finish, only_writer, repair
from sweep.errors import StoreError, SweepError
from sweep.running.fits import check_memory
from sweep.running.loading import load_concurrent_engine, load_engine, load_live_engine
from sweep.running.plan import Batch, Plan, split_batch
from sweep.running.tally import COMPILING, Report, Tally
from sweep.running.versions import on_same_versions, own_versions
from sweep.running.worker import Engine, Summary, new_row, run_batch

ATTEMPTS: Final = 3
"""Times a batch is started whose workers die: a node may be lost, or memory short because of somebody else."""

_FATAL: Final = (SweepError.__name__, StoreError.__name__)
"""Errors of a worker that the next batch would meet as well: the run stops, and says why."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a plan's configs; those neither done nor failed were not reached."""

    done: int
    failed: int
    interrupted_by: int | None = None  # the signal
    lost: int = 0  # came back as done, and are not in the dataset


def execute(
    plan: Plan,
    store: Store,
    address: str,
    report: Report,
    engine: Engine = run_config,
    timeout: float | None = None,
    pool: Pool | None = None,
    before_work: Callable[[], None] = lambda: None,
) -> Outcome:
    """Run the plan's batches at `address` and write their rows to `store`; `report` is called as batches finish.

    A config that takes longer than `timeout` seconds is a failed row; without it, one that takes far longer than
    estimated. In this process (`inline`) nobody could end it. `pool` are worker processes that were started before, for
    the address `pool`. `before_work` is called when there are workers, and none of them has written anything yet.
    Raises SweepError when the store cannot be written or the cluster cannot be used, and BrokenClusterError when the
    cluster goes away: what is done until then is kept.
    """
    try:
        check_address(address)
        if address == "inline" and timeout is not None:
            raise SweepError("--timeout needs worker processes that can be ended: leave out --address inline")
        with noticed_signals() as interrupts, only_writer(store):
            repair(store)
            tally = Tally(plan, report)
            if plan.batches and interrupts.number is None:
                prepare = _preparation(plan.examples)
                tally.start(_beginning(address, prepare))
                with open_session(address, prepare, pool) as session:
                    _check_nodes_hold(plan, session)
                    before_work()
                    if interrupts.number is None:
                        _run(plan, store, session, tally, engine, timeout)
            finish(store)
            done = plan.count(finished(store)) if plan.batches else 0
            return Outcome(done, tally.failed, interrupts.number, lost=max(0, tally.done - done))
    except BrokenClusterError:
        raise
    except ClusterError as error:
        raise SweepError(str(error)) from error


def _check_nodes_hold(plan: Plan, session: Session) -> None:
    """What fits no node would wait for one for ever."""
    memory = session.largest_memory()
    if plan.largest is not None and memory is not None:
        check_memory(plan.largest, memory, "the largest node")


def _needed_memory(batch: Batch) -> int:
    """Bytes that a worker needs for any config of the batch."""
    return max(needed_bytes(task.config) if task.config.engine == "sim" else 0 for task in batch.tasks)


def _preparation(configs: Sequence[Config]) -> Prepare:
    """What workers load beforehand for such configs: nothing where real KVM does the work."""
    if any(config.concurrent for config in configs):
        return load_concurrent_engine
    if any(config.engine == "live" for config in configs):
        return load_live_engine
    return load_engine if any(config.engine != "kvm" for config in configs) else None


def _beginning(address: str, prepare: Prepare) -> str:
    """What has to be done before the first config can run."""
    if prepare is None:
        return "starting the test"
    kinds: dict[Prepare, str] = {load_concurrent_engine: "concurrent", load_live_engine: "live"}
    if not (is_warm() and is_warm(kinds.get(prepare, "sim"))) and address in ("inline", "pool", "local"):
        return COMPILING
    return "loading the simulator" if address in ("inline", "pool") else "starting Ray's workers"


def _run(plan: Plan, store: Store, session: Session, tally: Tally, engine: Engine, timeout: float | None) -> None:
    """All batches, and the configs of those that failed as a whole once more, one by one."""
    revision = git_revision()
    since = None if session.address == "inline" else datetime.now(UTC)
    run = partial(run_batch, store=store, git_revision=revision, engine=engine, timeout=timeout, since=since)
    guilty: list[tuple[Failed[Batch], int]] = []
    suspects: list[Batch] = []
    attempts_before: dict[str, int] = {}
    prepare = _preparation(plan.examples)
    for failure in _run_round(session, run, prepare, plan.batches, store, tally):
        if len(failure.batch.tasks) == 1:
            guilty.append((failure, failure.attempts))
        else:
            attempts_before |= {single.name: failure.attempts for single in split_batch(failure.batch)}
            suspects += split_batch(failure.batch)
    run = partial(run, attempts_before=attempts_before)
    for failure in _run_round(session, run, prepare, suspects, store, tally):
        guilty.append((failure, attempts_before[failure.batch.name] + failure.attempts))
    for failure, attempts in guilty:
        _write_failure(store, failure, attempts, revision)
        tally.end_batch(failure.batch, done=0, failed=1)


def _run_round(
    session: Session,
    run: Callable[[Batch, int], Summary],
    prepare: Prepare,
    batches: Sequence[Batch],
    store: Store,
    tally: Tally,
) -> list[Failed[Batch]]:
    """Fan out, and count what comes back. Returns the batches that failed as a whole: nothing of them is stored."""
    failures: list[Failed[Batch]] = []
    if tally.interrupted_by is not None or not batches:
        return failures
    here = socket.gethostname()
    events = fan_out(
        session,
        partial(on_same_versions, own_versions(), run) if session.is_elsewhere else run,
        batches,
        ATTEMPTS,
        prepare=prepare,
        cpus=lambda batch: batch.cpus,
        memory=_needed_memory,
        started=tally.start_batch,
        preparing=tally.compiled,
    )
    with closing(events):  # nothing runs on when an error ends this
        for event in events:
            match event:
                case Done(batch=batch, result=summary):
                    if summary.host != here:
                        _check_arrived(store, summary)
                    tally.end_batch(batch, summary.done, summary.failed)
                case Failed(error_type=error_type, error=error) if error_type in _FATAL:
                    raise SweepError(error)
                case Failed(batch=batch):
                    tally.end_batch(batch, done=0, failed=0)
                    failures.append(event)
                case Interrupted(number=number):
                    tally.interrupted_by = number
    return failures


def _write_failure(store: Store, failure: Failed[Batch], attempts: int, revision: str | None) -> None:
    """The shard of a batch that failed as a whole: a failed row for each config."""
    error = failure.error
    if failure.crashed:
        error = f"killed its worker process each time it was started, {attempts} times: {error}"
    outcome: Row = {"status": "failed", "error_type": failure.error_type, "error": error, "attempts": attempts}
    outcome |= {"started_at": datetime.now(UTC), "git_revision": revision}
    runs = [new_row(task) | outcome for task in failure.batch.tasks]
    write_shard(store, runs, [])


def _check_arrived(store: Store, summary: Summary) -> None:
    """A worker elsewhere that writes to its own disk loses everything, silently: look for its shard from here."""
    if summary.shard and store.is_local and not Path(store.file("runs", summary.shard)).exists():
        raise StoreError(
            f"results {store.location}: host {summary.host} wrote to its own disk; "
            "allowed with several hosts: a folder that all of them share, or a URI such as s3://bucket/folder"
        )


def git_revision() -> str | None:
    """The commit of the checkout splitsweep runs from, `-dirty` if files differ; None if it is no checkout."""
    root = Path(core.__file__).parent.parent
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
