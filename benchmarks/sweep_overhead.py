"""What a sweep costs beyond its engine time: many small configs through `sweep.running.execute`, in a pool and on Ray.

First the cover letter's sweep as typed into a shell, from there to the next prompt, with its kernels compiled before.

Beside it, in turn and each in a process of its own: a plain loop over the same configs in one process a core, which is
the least it could take; bare Ray tasks, one a config, which store nothing; and Ray Tune, one trial a config.

The configs visit their memory in random order: they differ in their seed, and their passes are stepped through.
One core means that the driver, Ray's own processes and the worker share it.

The whole wall time, start of Ray included, is held against two things: against the loop, and against the engine times
that the workers recorded in the dataset. The latter flatter a sweep a little: while the driver has a core, a run on it
takes longer, and that is recorded as engine time.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Barrier
from typing import Any, Final

from benchmarks.measure import SPAWN, Options, in_fresh_process, in_turn, note, ratio, seconds_of, spread
from benchmarks.report import Cell, Table
from core.config import Config, make_config
from core.rows import Row
from core.run import run_config

ROUNDS: Final = 3
COUNTS: Final = (100, 1_000)
LONG_COUNT: Final = 10_000  # once, on the most cores
TUNE_COUNT: Final = 100
CORES: Final = (1, 2)

SMALL: Final = "64MiB"
LARGER: Final = ("192MiB", "768MiB")
"""Memory of the small configs, of 2 to 3 ms each, and of those twice and eight times as long."""

LOOP, SWEEP, ON_RAY = "plain loop", "splitsweep", "splitsweep on Ray"
TASKS, TUNE = "bare Ray tasks", "Ray Tune"

PROGRAMS: Final = (LOOP, SWEEP, ON_RAY, TASKS)
COVER_LETTER: Final = Path(__file__).parent.parent / "examples" / "cover_letter.toml"
COVER_LETTER_ROUNDS: Final = 5


@dataclass(frozen=True, slots=True)
class Times:
    """Wall seconds of one run: until workers are there, and from then until they are gone."""

    start: float
    work: float
    recorded: float | None = None  # engine time of all configs, as their rows in the dataset have it

    @property
    def whole(self) -> float:
        return self.start + self.work


@dataclass(frozen=True, slots=True)
class Load:
    """So many configs of one size on so many cores."""

    count: int
    cores: int
    memory: str = SMALL


Taken = dict[tuple[str, Load], list[Times]]
"""What was measured, by program and load."""


def run(options: Options) -> list[Table]:
    """All counts on all cores, round by round."""
    cores = [number for number in CORES if number <= len(os.sched_getaffinity(0))]
    taken: Taken = {}
    for number in cores:
        taken |= _rounds([Load(count, number) for count in COUNTS], PROGRAMS, ROUNDS)
    if options.long:
        taken |= _rounds([Load(LONG_COUNT, cores[-1])], PROGRAMS, 1)
        taken |= _rounds([Load(LONG_COUNT, cores[-1], memory) for memory in LARGER], (LOOP, SWEEP, ON_RAY), 1)
    tables = [_cover_letter(), _overheads(taken), _further(taken)]
    return [*tables, _tune(taken, cores[-1])] if _has_tune() else tables


def _rounds(loads: Sequence[Load], programs: Sequence[str], rounds: int) -> Taken:
    keys = [(name, load) for load in loads for name in programs]
    return in_turn({key: partial(_measured, *key) for key in keys}, rounds)


def _measured(name: str, load: Load) -> Times:
    function: Callable[[Load], Times] = {
        LOOP: loop,
        SWEEP: sweep,
        ON_RAY: sweep_on_ray,
        TASKS: tasks,
        TUNE: tune_trials,
    }[name]
    times = in_fresh_process(function, load)
    note(f"{name}, {load}: {times.work:.2f} s after {times.start:.2f} s to start")
    return times


def _overheads(taken: Taken) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for (name, load), times in sorted(taken.items(), key=lambda item: _order(item[0][1])):
        own, whole = [one.work for one in taken[LOOP, load]], [one.whole for one in times]
        milliseconds = spread(own).median * load.cores / load.count * 1e3
        place = (load.count, milliseconds, load.cores, name)
        if name == LOOP:
            rows.append((*place, None, spread(whole), None, None, None))
            continue
        start = spread([one.start for one in times]).median
        recorded = [one.recorded / load.cores for one in times if one.recorded is not None]
        rows.append(
            (
                *place,
                start,
                spread(whole),
                ratio(whole, own),
                ratio(whole, recorded) if recorded else None,
                spread([one - other for one, other in zip(whole, recorded, strict=True)]) if recorded else None,
            ),
        )
    columns = (
        "configs",
        "ms each",
        "cores",
        "program",
        "start, s",
        "everything, s",
        "against the loop",
        "against the engine time in the rows",
        "over it, s",
    )
    return Table(f"Small configs from start to end, median of {ROUNDS} rounds ({LONG_COUNT:,}: once)", columns, rows)


def _order(load: Load) -> tuple[str, int, int]:
    return "" if load.memory == SMALL else load.memory, load.count, load.cores


def _further(taken: Taken) -> Table:
    """What each further config takes: what a sweep costs however small it is drops out."""
    rows: list[tuple[Cell, ...]] = []
    loads = sorted({load for _, load in taken if load.count > COUNTS[0] and load.memory == SMALL}, key=_order)
    for load in loads:
        of_loop = spread(_further_ms(taken, LOOP, load)).median
        for name in PROGRAMS:
            further = spread(_further_ms(taken, name, load))
            over = None if name == LOOP else 100 * (further.median / of_loop - 1)
            rows.append((load.count, load.cores, name, further, over))
    columns = ("up to", "cores", "program", "core ms per config", "over the loop, percent")
    return Table(f"Each further config beyond {COUNTS[0]}", columns, rows)


def _further_ms(taken: Taken, name: str, many: Load) -> list[float]:
    """Core milliseconds of each config beyond the first few, round by round."""
    few = Load(COUNTS[0], many.cores)
    rounds = zip(reversed(taken[name, many]), reversed(taken[name, few]), strict=False)
    return [(large.work - small.work) * many.cores / (many.count - few.count) * 1e3 for large, small in rounds]


def _tune(taken: Taken, cores: int) -> Table:
    rows: list[tuple[Cell, ...]] = []
    load = Load(TUNE_COUNT, cores)
    base = spread([one.work for one in taken[LOOP, load]]).median
    for name in (SWEEP, TUNE):
        times = taken[name, load] if name == SWEEP else [_measured(TUNE, load)]
        whole = spread([one.whole for one in times])
        rows.append((name, spread([one.start for one in times]).median, whole, whole.median / base))
    columns = ("program", "start, s", "everything, s", "against the loop")
    return Table(f"Ray Tune beside splitsweep: {TUNE_COUNT} small configs on {cores} cores", columns, rows)


def small_config(seed: int, memory: str = SMALL) -> Config:
    """A config that has to be stepped through."""
    return make_config({"mem_per_vcpu": memory, "access_order": "random", "seed": seed})


def small_configs(load: Load) -> list[Config]:
    return [small_config(seed, load.memory) for seed in range(1, load.count + 1)]


def _use_cores(cores: int) -> None:
    """This process, and all that it starts, on so many cores; Ray would count those of the machine."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    os.environ["RAY_OVERRIDE_RESOURCES"] = json.dumps({"CPU": cores})


_together: Barrier


def _share_barrier(barrier: Barrier) -> None:
    global _together
    _together = barrier


def _loop_share(load: Load, first: int) -> tuple[float, float]:
    """Run one core's share of the configs in this process, once the others are ready too; when that began and ended."""
    configs = small_configs(load)[first :: load.cores]
    run_config(make_config({"mem_per_vcpu": "2MiB"}))
    _together.wait()
    start = time.monotonic()
    for config in configs:
        run_config(config)
    return start, time.monotonic()


def loop(load: Load) -> Times:
    """The engine alone: a process a core, each with its share of the configs, nothing stored."""
    _use_cores(load.cores)
    barrier = multiprocessing.get_context("spawn").Barrier(load.cores)
    with ProcessPoolExecutor(load.cores, mp_context=SPAWN, initializer=_share_barrier, initargs=(barrier,)) as pool:
        shares = [pool.submit(_loop_share, load, first) for first in range(load.cores)]
        spans = [share.result() for share in shares]
    return Times(start=0.0, work=sum(end - start for start, end in spans) / load.cores)


def _cover_letter() -> Table:
    command = [sys.executable, "-c", "from sweep.cli import main; main()", "run", str(COVER_LETTER)]
    rows: list[tuple[Cell, ...]] = []
    for address in ("pool", "inline", "local"):
        seconds = []
        for _ in range(COVER_LETTER_ROUNDS):
            with tempfile.TemporaryDirectory() as folder:
                words = [*command, "--results", f"{folder}/dataset", "--address", address]
                seconds.append(seconds_of(partial(subprocess.run, words, check=True, capture_output=True)))
        rows.append((address, spread(seconds)))
    return Table("The cover letter's 48 configs, from shell to prompt", ("--address", "seconds"), rows)


def sweep_on_ray(load: Load) -> Times:
    return sweep(load, "local")


def sweep(load: Load, address: str = "pool") -> Times:
    """`splitsweep run` without its command line: plan, execute, and a dataset on disk."""
    from cluster.pool import Pool
    from sweep.dataset.store import open_store
    from sweep.running.execute import execute
    from sweep.running.loading import load_engine
    from sweep.running.plan import make_plan
    from sweep.running.tally import Progress

    _use_cores(load.cores)
    configs = small_configs(load)
    with tempfile.TemporaryDirectory() as folder:
        start = time.monotonic()
        pool = Pool(load_engine) if address == "pool" else None  # as the command does: it loads meanwhile
        plan = make_plan(configs, set())
        planned = time.monotonic()
        there: list[float] = []

        def report(progress: Progress) -> None:
            if not there and progress.doing is None:
                there.append(time.monotonic())

        outcome = execute(plan, open_store(f"{folder}/dataset"), address, report, pool=pool)
        end = time.monotonic()
        recorded = _recorded_seconds(f"{folder}/dataset")
    assert outcome.done == load.count
    return Times(start=there[0] - planned, work=end - there[0] + planned - start, recorded=recorded)


def _recorded_seconds(dataset: str) -> float:
    """The engine time of all configs as the workers took it."""
    import pyarrow.parquet as pq

    files = Path(dataset, "runs").glob("*.parquet")
    return math.fsum(value for file in files for value in pq.read_table(file, columns=["wall_seconds"])[0].to_pylist())


def tasks(load: Load) -> Times:
    """The same function as bare Ray tasks; their rows come back to the driver."""
    import ray

    from cluster.session import open_session

    _use_cores(load.cores)
    configs = small_configs(load)
    start = time.monotonic()
    with open_session("local"):
        there = time.monotonic()
        remote: Any = ray.remote(num_cpus=1)(_rows)
        answers = ray.get([remote.remote(config) for config in configs])
    end = time.monotonic()
    assert len(answers) == load.count
    return Times(start=there - start, work=end - there)


def _rows(config: Config) -> list[Row]:
    return run_config(config)


def _has_tune() -> bool:
    try:
        import ray.tune  # noqa: F401
    except ImportError:
        note("Ray Tune is not installed: left out")
        return False
    return True


def tune_trials(load: Load) -> Times:
    """The same function as trials of Ray Tune, a trial a config."""
    from ray import tune

    from cluster.session import open_session

    _use_cores(load.cores)
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    start = time.monotonic()
    with (
        tempfile.TemporaryDirectory() as folder,
        open(os.devnull, "w") as nowhere,
        redirect_stdout(nowhere),
        open_session("local"),
    ):
        there = time.monotonic()
        tuner = tune.Tuner(
            tune.with_resources(_trial, {"cpu": 1}),
            param_space={"seed": tune.grid_search([config.seed for config in small_configs(load)])},
            tune_config=tune.TuneConfig(reuse_actors=True),
            run_config=tune.RunConfig(storage_path=folder, verbose=0),
        )
        answers = tuner.fit()
    end = time.monotonic()
    assert len(answers) == load.count
    return Times(start=there - start, work=end - there)


def _trial(values: dict[str, int]) -> dict[str, float]:
    rows = run_config(small_config(values["seed"]))
    return {"seconds": sum(row["seconds"] for row in rows)}
