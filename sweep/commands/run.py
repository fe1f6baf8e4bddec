"""`splitsweep run`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from sweep.errors import StoreError

if TYPE_CHECKING:
    from sweep.dataset.store import Store
    from sweep.running.execute import Outcome, Progress, Report
    from sweep.running.plan import Plan
    from sweep.running.worker import Engine
    from sweep.spec.configs import Spec

CONFIGS_SHOWN: Final = 5


def run(
    spec: Annotated[Path, typer.Argument(metavar="SPEC", help="A sweep spec (TOML); examples are in examples/.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="FIELD=V1,V2", help="Values to run instead of those in the spec."),
    ] = None,
    results: Annotated[
        str | None,
        typer.Option(metavar="DIR|URI", help="Where the dataset is or shall be.", show_default="results/ and its name"),
    ] = None,
    address: Annotated[
        str, typer.Option(help="local, auto, ray://HOST:PORT, HOST:PORT, or inline: in this process, without Ray.")
    ] = "local",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would run, and write nothing.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Delete what the dataset holds, and start over.")] = False,
    share_cpus: Annotated[
        bool, typer.Option("--share-cpus", help="Let live runs share CPUs: they then ask for one each.")
    ] = False,
    binary: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="engine = kvm: the kernel's dirty_log_perf_test.", show_default="on PATH"),
    ] = None,
) -> None:
    """Run every config of a sweep that its dataset does not hold yet.

    The dataset is a set of configs: a spec that was changed adds what is new, and an interrupted run goes on when the
    same command is given again. Configs that failed are tried again.

    \b
    Example:
      splitsweep run examples/cover_letter.toml
      splitsweep run examples/cover_letter.toml vcpus=2,4 mmu=tdp --results results/small --dry-run
    """
    from cluster.session import check_address
    from core.run import run_config
    from sweep.dataset.store import finished, open_store
    from sweep.running.plan import make_plan
    from sweep.spec.configs import load_spec

    sweep = load_spec(spec, overrides or [])
    check_address(address)
    location = results or f"results/{sweep.name}"
    store = open_store(location)
    _check_place(store, fresh)
    plan = make_plan(sweep.configs, set() if fresh else finished(store), share_cpus=share_cpus)
    if dry_run:
        for line in _dry_run_lines(sweep, plan, location):
            print(line)
        return
    engine = partial(run_config, share_cpus=share_cpus, binary=binary)
    outcome = _executed(sweep, plan, store, address, fresh, engine)
    print(f"{location}: {outcome.done} done, {outcome.failed} failed, {plan.already_done} done before")
    if outcome.interrupted:
        again = ["splitsweep", "run", str(spec), *(overrides or []), "--results", location, "--address", address]
        again += ["--share-cpus"] if share_cpus else []
        again += ["--binary", binary] if binary else []
        print(f"splitsweep: interrupted; what is done is kept, go on with: {shlex.join(again)}", file=sys.stderr)
        raise typer.Exit(130)
    if outcome.failed:
        query = shlex.join(["splitsweep", "query", location, "SELECT * FROM failures"])
        failed = f"{outcome.failed} of {plan.configs_to_run} configs failed"
        print(f"splitsweep: {failed}; see why with: {query}", file=sys.stderr)
        raise typer.Exit(1)


def _executed(sweep: Spec, plan: Plan, store: Store, address: str, fresh: bool, engine: Engine) -> Outcome:
    """Run the plan with its progress on stderr, and keep the spec with the results."""
    from sweep.dataset.store import clear_dataset, write_spec
    from sweep.running.execute import Outcome, execute
    from sweep.running.progress import shown_progress
    from sweep.spec.configs import resolved_text

    last: Progress | None = None

    def report(progress: Progress) -> None:
        nonlocal last
        if last is None:
            # The first report comes when the workers are there and before any of them writes: a cluster that cannot
            # be reached leaves the former results and their spec alone.
            if fresh:
                clear_dataset(store)
            write_spec(store, resolved_text(sweep))
        last = progress
        show(progress)

    show: Report
    try:
        with shown_progress(plan.configs_to_run) as show:
            outcome = execute(plan, store, address, report, engine)
    except KeyboardInterrupt:  # a second Ctrl-C, or one before the work began
        return Outcome(last.done if last else 0, last.failed if last else 0, interrupted=True)
    if not plan.batches:
        write_spec(store, resolved_text(sweep))
    return outcome


def _check_place(store: Store, fresh: bool) -> None:
    """Raise StoreError where a file that is not a dataset's would be replaced or deleted."""
    from pyarrow.fs import FileSelector

    from sweep.dataset.store import PHASES, RUNS

    selector = FileSelector(store.path, allow_not_found=True)
    names = {info.base_name for info in store.filesystem.get_file_info(selector)}
    if {RUNS, PHASES} <= names:
        return
    if "spec.toml" in names:
        raise StoreError(f"results {store.location}: holds a spec.toml and no dataset; choose another folder")
    if fresh and names:
        raise StoreError(f"results {store.location}: holds no dataset that --fresh could delete; choose another folder")


def _dry_run_lines(sweep: Spec, plan: Plan, location: str) -> Iterator[str]:
    """What would run, for a human who is about to start it."""
    from core.config import config_notes, config_text
    from sweep.running.progress import duration_text

    merged = f", {sweep.merged} points merged with an equal config" if sweep.merged else ""
    excluded = f", {sweep.excluded} points left out by where" if sweep.excluded else ""
    yield f"{sweep.name}: {len(sweep.configs)} configs{merged}{excluded}"
    seconds = duration_text(plan.estimated_seconds)
    yield f"{location}: {plan.already_done} done already, {plan.configs_to_run} to run, about {seconds} of one core"
    for note in dict.fromkeys(note for config in sweep.configs for note in config_notes(config)):
        yield f"note: {note}"
    for config in sweep.configs[:CONFIGS_SHOWN]:
        yield f"  {config_text(config)}"
    if len(sweep.configs) > CONFIGS_SHOWN:
        yield f"  and {len(sweep.configs) - CONFIGS_SHOWN} more"
