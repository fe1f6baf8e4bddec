"""`splitsweep run`."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from sweep.commands import Address, Binary, Overrides

if TYPE_CHECKING:
    from cluster.pool import Pool
    from sweep.dataset.store import Store
    from sweep.running.execute import Outcome
    from sweep.running.plan import Plan
    from sweep.spec.configs import Spec

CONFIGS_SHOWN: Final = 5

HEAD_START_CONFIGS: Final = 20_000
"""Of more configs even the estimate takes a moment, and the start of workers is a small part."""


def run(
    spec: Annotated[Path, typer.Argument(metavar="SPEC", help="A sweep spec (TOML); examples are in examples/.")],
    overrides: Overrides = None,
    results: Annotated[
        str | None,
        typer.Option(metavar="DIR|URI", help="Where the dataset is or shall be.", show_default="results/ and its name"),
    ] = None,
    address: Address = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would run, and write nothing.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Delete what the dataset holds, and start over.")] = False,
    share_cpus: Annotated[
        bool, typer.Option("--share-cpus", help="Let live runs share CPUs: they then ask for one each.")
    ] = False,
    timeout: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            min=0.1,
            help="A config that takes longer is a failed row, and the others go on.",
            show_default="20 times its estimate, two minutes at least",
        ),
    ] = None,
    binary: Binary = None,
) -> None:
    """Run every config of a sweep that its dataset does not hold yet.

    The dataset is a set of configs: a spec that was changed adds what is new, and an interrupted run goes on when the
    same command is given again. Configs that failed are tried again.

    \b
    Example:
      splitsweep run examples/cover_letter.toml
      splitsweep run examples/cover_letter.toml vcpus=2,4 mmu=tdp --results results/small --dry-run
    """
    from cluster.errors import BrokenClusterError
    from cluster.interrupts import noticed_signals
    from cluster.session import check_address
    from sweep.spec.configs import load_spec

    sweep = load_spec(spec, overrides or [])
    if address is not None:
        check_address(address)
    location = f"results/{sweep.name}" if results is None else results
    again = ["splitsweep", "run", str(spec), *(overrides or []), "--results", location]
    again += ["--address", address] if address else []
    again += ["--share-cpus"] if share_cpus else []
    again += ["--timeout", f"{timeout:g}"] if timeout is not None else []
    again += ["--binary", binary] if binary else []
    kept = f"what is done is kept, go on with: {shlex.join(again)}"
    request = _Request(sweep, location, address, fresh, share_cpus, timeout, binary)
    with (
        noticed_signals(_tell_of_the_second, partial(_end_at_once, kept)),
        nullcontext() if dry_run else _head_start(request) as pool,
    ):
        try:
            _run(request, pool, dry_run, kept)
        except BrokenClusterError as error:
            raise BrokenClusterError(f"{error}; {kept}") from error


@dataclass(frozen=True, slots=True)
class _Request:
    """What a command line asks for."""

    sweep: Spec
    location: str
    address: str | None
    fresh: bool
    share_cpus: bool
    timeout: float | None
    binary: str | None


def _run(request: _Request, pool: Pool | None, dry_run: bool, kept: str) -> None:
    from sweep.dataset.listing import finished
    from sweep.dataset.place import check_place
    from sweep.dataset.store import open_store
    from sweep.running.fits import check_fits, check_memory, usable_memory
    from sweep.running.place import choice_text, chosen_address
    from sweep.running.plan import make_plan

    store = open_store(request.location)
    check_place(store, request.fresh)
    done_before = set() if request.fresh else finished(store)
    plan = make_plan(request.sweep.configs, done_before, share_cpus=request.share_cpus)
    if dry_run:
        for line in _dry_run_lines(request.sweep, plan, request.location):
            print(line)
        return
    address = request.address or chosen_address(plan.estimated_seconds)
    if address in ("inline", "pool", "local"):
        check_fits(plan.examples)
        if plan.largest is not None:
            check_memory(plan.largest, usable_memory(), "this machine")
    said = [f"splitsweep: {choice_text(address, plan.estimated_seconds)}"] if request.address is None else []
    said += [f"note: {note}" for note in request.sweep.notes]
    outcome = _executed(request, plan, store, address, pool, said if plan.batches else [])
    print(f"{request.location}: {outcome.done} done, {outcome.failed} failed, {plan.already_done} done before")
    if outcome.interrupted_by is not None:
        print(f"splitsweep: interrupted; {kept}", file=sys.stderr)
        raise typer.Exit(128 + outcome.interrupted_by)
    if outcome.lost:
        lost = f"{outcome.lost} configs were run and are not in {request.location}"
        print(f"splitsweep: {lost}; run the same again", file=sys.stderr)
        raise typer.Exit(1)
    if outcome.failed:
        query = shlex.join(["splitsweep", "query", request.location, "SELECT * FROM failures"])
        failed = f"{outcome.failed} of {plan.configs_to_run} configs failed"
        print(f"splitsweep: {failed}; see why with: {query}", file=sys.stderr)
        raise typer.Exit(1)


@contextmanager
def _head_start(request: _Request) -> Iterator[Pool | None]:
    """Worker processes that load the simulator while the run is still planned, where it is certain that they get work.

    It is if there is no dataset yet. Loading takes a second, which is most of what a small sweep takes.
    """
    configs = request.sweep.configs
    if len(configs) > HEAD_START_CONFIGS or "://" in request.location:
        yield None
        return
    from core.run import estimated_seconds
    from sweep.running.place import chosen_address

    kinds = [(config, len(places)) for config, places in configs.alike()]
    address = request.address or chosen_address(sum(estimated_seconds(config) * count for config, count in kinds))
    is_kvm = any(config.engine == "kvm" for config, _ in kinds)
    if address != "pool" or is_kvm or (Path(request.location) / "runs").exists():
        yield None
        return
    from cluster.pool import Pool
    from sweep.running.loading import load_engine

    with Pool(load_engine) as pool:
        yield pool


def _executed(
    request: _Request, plan: Plan, store: Store, address: str, pool: Pool | None, notes: Sequence[str]
) -> Outcome:
    """Run the plan with its notes and progress on stderr, and keep the spec with the results."""
    from core.run import run_config
    from sweep.dataset.place import clear_dataset, write_spec
    from sweep.running.execute import execute
    from sweep.running.progress import shown_progress
    from sweep.spec.configs import resolved_text

    def keep_spec() -> None:
        for note in notes:  # not before it is certain that anything runs: an error is one line
            print(note, file=sys.stderr)
        # There are workers, and none of them has written anything: a cluster that cannot be reached leaves the former
        # results and their spec alone.
        if request.fresh:
            clear_dataset(store)
        write_spec(store, resolved_text(request.sweep))

    engine = partial(run_config, share_cpus=request.share_cpus, binary=request.binary)
    with shown_progress(plan.configs_to_run) as report:
        outcome = execute(plan, store, address, report, engine, request.timeout, pool, keep_spec)
    if not plan.batches:
        keep_spec()
    return outcome


def _tell_of_the_second(number: int) -> None:
    """What a first signal says, written past Python's buffers: it may come while they are written to."""
    os.write(2, b"splitsweep: interrupted; what runs gets 5 s to end, a second signal ends it at once\n")


def _end_at_once(kept: str, number: int) -> None:
    """What a second signal does: nobody is waited for."""
    from cluster.descendants import kill_descendants

    kill_descendants()
    show_cursor = "\033[?25h\n" if os.isatty(2) else ""  # a progress bar hides it
    os.write(2, f"{show_cursor}splitsweep: interrupted; {kept}\n".encode())
    os._exit(128 + number)


def _dry_run_lines(sweep: Spec, plan: Plan, location: str) -> Iterator[str]:
    """What would run, for a human who is about to start it."""
    from core.config import config_text
    from core.sim.memory_need import needed_bytes
    from sweep.running.fits import memory_text
    from sweep.running.progress import duration_text

    merged = f", {sweep.merged} points merged with an equal config" if sweep.merged else ""
    excluded = f", {sweep.excluded} points left out by where" if sweep.excluded else ""
    yield f"{sweep.name}: {len(sweep.configs)} configs{merged}{excluded}"
    seconds = duration_text(plan.estimated_seconds)
    yield f"{location}: {plan.already_done} done already, {plan.configs_to_run} to run, about {seconds} of one core"
    if plan.largest is not None:
        memory = memory_text(needed_bytes(plan.largest))
        yield f"memory: up to {memory} for each worker, for {config_text(plan.largest)}"
    yield from (f"note: {note}" for note in sweep.notes)
    for config in sweep.configs[:CONFIGS_SHOWN]:
        yield f"  {config_text(config)}"
    if len(sweep.configs) > CONFIGS_SHOWN:
        yield f"  and {len(sweep.configs) - CONFIGS_SHOWN} more"
