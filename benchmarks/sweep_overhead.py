"""What a sweep costs beyond its engine time: many small configs through `sweep.execute`, on real Ray.

Beside it, in turn and each in a process of its own: a plain loop over the same configs in one process a core, which is
the least it could take; bare Ray tasks, one a config, which store nothing; and Ray Tune, one trial a config.

The configs visit their memory in random order, so they differ in their seed and nothing about them can be skipped.
One core means that the driver, Ray's own processes and the worker share it.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import partial
from threading import Barrier
from typing import Any, Final

from benchmarks.measure import SPAWN, Options, in_fresh_process, in_turn, note, ratio, spread
from benchmarks.report import Cell, Table
from core.config import Config, make_config
from core.rows import Row
from core.run import run_config

ROUNDS: Final = 3
COUNTS: Final = (100, 1_000)
LONG_COUNT: Final = 10_000
TUNE_COUNT: Final = 100
CORES: Final = (1, 2)

LOOP, SWEEP, TASKS, TUNE = "plain loop", "splitsweep", "bare Ray tasks", "Ray Tune"


@dataclass(frozen=True, slots=True)
class Times:
    """Wall seconds of one run: until Ray is there, and from then until it has stopped."""

    start: float
    work: float


Taken = dict[tuple[str, int, int], list[Times]]
"""What was measured, by program, number of configs and cores."""


def run(options: Options) -> list[Table]:
    """All counts on all cores, round by round."""
    cores = [number for number in CORES if number <= len(os.sched_getaffinity(0))]
    taken: Taken = {}
    for number in cores:
        taken |= _rounds(COUNTS, number, ROUNDS)
        if options.long:
            taken |= _rounds((LONG_COUNT,), number, 1)
    most = LONG_COUNT if options.long else COUNTS[-1]
    tables = [_overheads(taken), _further(taken, COUNTS[0], most, cores)]
    return [*tables, _tune(taken, cores[-1])] if _has_tune() else tables


def _rounds(counts: Sequence[int], cores: int, rounds: int) -> Taken:
    keys = [(name, count, cores) for count in counts for name in (LOOP, SWEEP, TASKS)]
    return in_turn({key: partial(_measured, *key) for key in keys}, rounds)


def _measured(name: str, count: int, cores: int) -> Times:
    function: Callable[[int, int], Times] = {LOOP: loop, SWEEP: sweep, TASKS: tasks, TUNE: tune_trials}[name]
    times = in_fresh_process(function, count, cores)
    note(f"{name}, {count} configs, {cores} core(s): {times.work:.2f} s after {times.start:.2f} s to start")
    return times


def _overheads(taken: Taken) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for (name, count, cores), times in sorted(taken.items(), key=lambda item: item[0][1:]):
        work, base = [one.work for one in times], [one.work for one in taken[LOOP, count, cores]]
        if name == LOOP:
            rows.append((count, cores, name, None, spread(work), None, None))
            continue
        start = spread([one.start for one in times]).median
        extra = [(mine - least) * cores / count * 1e3 for mine, least in zip(work, base, strict=True)]
        rows.append((count, cores, name, start, spread(work), ratio(work, base), spread(extra).median))
    columns = ("configs", "cores", "program", "start, s", "work, s", "against the loop", "extra core ms per config")
    return Table(f"Small configs from start to end, median of {ROUNDS} rounds", columns, rows)


def _further(taken: Taken, few: int, many: int, cores: Sequence[int]) -> Table:
    """What each further config takes: what a sweep costs however small it is drops out."""
    rows: list[tuple[Cell, ...]] = []
    for number in cores:
        of_loop = spread(_further_ms(taken, LOOP, few, many, number)).median
        for name in (LOOP, SWEEP, TASKS):
            further = spread(_further_ms(taken, name, few, many, number))
            rows.append((number, name, further, None if name == LOOP else 100 * (further.median / of_loop - 1)))
    columns = ("cores", "program", "core ms per config", "over the loop, percent")
    return Table(f"Each further config, from {few:,} to {many:,} configs", columns, rows)


def _further_ms(taken: Taken, name: str, few: int, many: int, cores: int) -> list[float]:
    """Core milliseconds of each config beyond the first `few`, round by round."""
    rounds = zip(reversed(taken[name, many, cores]), reversed(taken[name, few, cores]), strict=False)
    return [(large.work - small.work) * cores / (many - few) * 1e3 for large, small in rounds]


def _tune(taken: Taken, cores: int) -> Table:
    rows: list[tuple[Cell, ...]] = []
    base = spread([one.work for one in taken[LOOP, TUNE_COUNT, cores]]).median
    for name in (SWEEP, TUNE):
        times = taken[name, TUNE_COUNT, cores] if name == SWEEP else [_measured(TUNE, TUNE_COUNT, cores)]
        work = spread([one.work for one in times])
        rows.append((name, spread([one.start for one in times]).median, work, work.median / base))
    columns = ("program", "start, s", "work, s", "against the loop")
    return Table(f"Ray Tune beside splitsweep: {TUNE_COUNT} small configs on {cores} cores", columns, rows)


def small_config(seed: int) -> Config:
    """A config of about 5 ms."""
    return make_config({"mem_per_vcpu": "64MiB", "access_order": "random", "seed": seed})


def small_configs(count: int) -> list[Config]:
    return [small_config(seed) for seed in range(1, count + 1)]


def _use_cores(cores: int) -> None:
    """This process, and all that it starts, on so many cores; Ray would count those of the machine."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    os.environ["RAY_OVERRIDE_RESOURCES"] = json.dumps({"CPU": cores})


_together: Barrier


def _share_barrier(barrier: Barrier) -> None:
    global _together
    _together = barrier


def _loop_share(first: int, count: int, step: int) -> tuple[float, float]:
    """Run every `step`-th config in this process, once the others are ready too; return when that began and ended."""
    configs = small_configs(count)[first::step]
    run_config(make_config({"mem_per_vcpu": "2MiB"}))
    _together.wait()
    start = time.monotonic()
    for config in configs:
        run_config(config)
    return start, time.monotonic()


def loop(count: int, cores: int) -> Times:
    """The engine alone: a process a core, each with its share of the configs, nothing stored."""
    _use_cores(cores)
    barrier = multiprocessing.get_context("spawn").Barrier(cores)
    with ProcessPoolExecutor(cores, mp_context=SPAWN, initializer=_share_barrier, initargs=(barrier,)) as pool:
        shares = [pool.submit(_loop_share, first, count, cores) for first in range(cores)]
        spans = [share.result() for share in shares]
    return Times(start=0.0, work=sum(end - start for start, end in spans) / cores)


def sweep(count: int, cores: int) -> Times:
    """`splitsweep run` without its command line: plan, execute, and a dataset on disk."""
    from sweep.execute import Progress, execute
    from sweep.plan import make_plan
    from sweep.store import open_store

    _use_cores(cores)
    configs = small_configs(count)
    with tempfile.TemporaryDirectory() as folder:
        start = time.monotonic()
        plan = make_plan(configs, set())
        planned = time.monotonic()
        there: list[float] = []

        def report(progress: Progress) -> None:
            if not there:
                there.append(time.monotonic())

        outcome = execute(plan, open_store(f"{folder}/dataset"), "local", report)
        end = time.monotonic()
    assert outcome.done == count
    return Times(start=there[0] - planned, work=end - there[0] + planned - start)


def tasks(count: int, cores: int) -> Times:
    """The same function as bare Ray tasks; their rows come back to the driver."""
    import ray

    from cluster.session import open_session

    _use_cores(cores)
    configs = small_configs(count)
    start = time.monotonic()
    with open_session("local"):
        there = time.monotonic()
        remote: Any = ray.remote(num_cpus=1)(_rows)
        answers = ray.get([remote.remote(config) for config in configs])
    end = time.monotonic()
    assert len(answers) == count
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


def tune_trials(count: int, cores: int) -> Times:
    """The same function as trials of Ray Tune, a trial a config."""
    from ray import tune

    from cluster.session import open_session

    _use_cores(cores)
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
            param_space={"seed": tune.grid_search([config.seed for config in small_configs(count)])},
            tune_config=tune.TuneConfig(reuse_actors=True),
            run_config=tune.RunConfig(storage_path=folder, verbose=0),
        )
        answers = tuner.fit()
    end = time.monotonic()
    assert len(answers) == count
    return Times(start=there - start, work=end - there)


def _trial(values: dict[str, int]) -> dict[str, float]:
    rows = run_config(small_config(values["seed"]))
    return {"seconds": sum(row["seconds"] for row in rows)}
