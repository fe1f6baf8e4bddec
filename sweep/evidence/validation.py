"""How far predictions are from measured timings: every timing beside what the engine says, and how good that is.

The numbers come straight from full-size runs, unlike those of sweep.evidence.prediction, which a fit needs by the
thousand: a profile that was fitted to small memories is judged here by the memory that was measured. Every config runs
once for all timings that were taken of it, in parallel processes; Ray is not needed for a minute of work.

Errors at the data that a profile was fitted to flatter it. `held_out` gives the honest ones: each timing is predicted
by a profile fitted without its group.
"""

from __future__ import annotations

import dataclasses
import math
import os
import signal
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from core.config import Config, config_text
from core.costs.interval import is_determined
from core.costs.profile import load_profile
from core.run import estimated_seconds, run_config, warm_up
from sweep.errors import QueryError
from sweep.evidence.measurements import Measured, longest_configs
from sweep.showing.points import Metric
from sweep.showing.tables import TABLE_FIELDS, Cell, Table

if TYPE_CHECKING:
    from sweep.evidence.fit import HeldOut
    from sweep.running.tally import Report

ALONE_SECONDS: Final = 2.0
"""Less work than this is done in this process: starting another one takes as long."""

HEADING_FIELDS: Final = ("mmu", "write_percent", "initially_all_set")
"""What stands above every table, as above those of `table --published`."""

ROW_FIELDS: Final = ("vcpus", "mem_per_vcpu", "write_percent", "slots", "guest_roots")
"""The first of these that varies inside a table is laid out downwards."""

PhaseTimes = dict[tuple[str, int | None], tuple[float, float | None, float | None, bool]]
"""What the engine says of one config, by phase and iteration: seconds, seconds_lo, seconds_hi, and whether measurements
determined them."""

T = TypeVar("T")
K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class Prediction:
    """A measured timing and what is predicted for it, with the ends of a 90% interval if the profile carries one."""

    measured: Measured
    seconds: float
    low: float | None
    high: float | None
    determined: bool = True  # by what the profile was fitted to; else it rests on what was known before

    @property
    def error_percent(self) -> float:
        """How far the prediction is above (or, negative, below) the measured time."""
        return (self.seconds / self.measured.seconds - 1) * 100

    @property
    def inside(self) -> bool | None:
        """Whether the measured time lies in the interval; None without one, or where it says only what is not known."""
        if self.low is None or self.high is None or not self.determined:
            return None
        return self.low <= self.measured.seconds <= self.high


@dataclass(frozen=True, slots=True)
class Summary:
    """Absolute errors in percent over some predictions, and how many of those with an interval are inside it."""

    name: str
    values: int
    median: float
    p90: float
    worst: float
    inside: int
    intervals: int
    undetermined: int


@dataclass(frozen=True, slots=True)
class ValidationTable:
    """One printed table; several share a name where the timings of that name do not fit into one layout."""

    name: str
    table: Table
    predictions: tuple[Prediction, ...]


def with_profile(measured: Iterable[Measured], profile: str) -> list[Measured]:
    """The timings, of configs that are to be predicted with the profile called `profile`."""
    return [
        dataclasses.replace(timing, config=dataclasses.replace(timing.config, profile=profile)) for timing in measured
    ]


def configs_to_run(timings: Iterable[Measured]) -> list[Config]:
    """The configs that answer for all timings, the dearest first, so that no process is left with one at the end."""
    return sorted(set(longest_configs(timings).values()), key=estimated_seconds, reverse=True)


def run_all(
    configs: Sequence[Config], report: Report | None = None, processes: int | None = None
) -> dict[Config, PhaseTimes]:
    """Run the configs in as many processes as there are CPUs for us, or in this one if there is little to do."""
    from sweep.running.tally import Progress

    costs = {config: estimated_seconds(config) for config in configs}
    all_costs = sum(costs.values())
    if processes is None:
        processes = 1 if all_costs < ALONE_SECONDS else min(len(configs), len(os.sched_getaffinity(0)))
    warm_up()
    started = time.monotonic()
    done_costs = 0.0
    times: dict[Config, PhaseTimes] = {}
    for config, phases in _phase_times_of_all(configs, processes):
        times[config] = phases
        done_costs += costs[config]
        if report is not None:
            elapsed = time.monotonic() - started
            left = elapsed * (all_costs / done_costs - 1)
            report(Progress(len(times), 0, len(configs), len(times) / elapsed, max(0.0, left), elapsed))
    return times


def predictions(timings: Sequence[Measured], times: Mapping[Config, PhaseTimes]) -> list[Prediction]:
    """Every timing with what the engine says of its config."""
    longest = longest_configs(timings)
    return [_prediction(timing, times[longest[timing.config]]) for timing in timings]


def by_host(found: Iterable[Prediction]) -> dict[str, list[Prediction]]:
    """The predictions of each host, in the order of the measurements."""
    return grouped(found, lambda prediction: prediction.measured.host)


def held_out(values: Iterable[HeldOut], groups: Iterable[str]) -> dict[str, list[Prediction]]:
    """The predictions of a cross-validation by the group that the fit did without, in the order of `groups`."""
    found: dict[str, list[Prediction]] = {group: [] for group in groups}
    for value in values:
        found[value.group].append(Prediction(value.measured, value.predicted, value.low, value.high, value.determined))
    return found


def vcpu_group(timing: Measured) -> str:
    """The group of a timing when one vCPU count at a time is left out."""
    return f"{timing.config.vcpus} {'vCPU' if timing.config.vcpus == 1 else 'vCPUs'}"


def table_group(timing: Measured) -> str:
    """The group of a timing when one table at a time is left out."""
    return timing.table


def by_table(found: Iterable[Prediction]) -> dict[str, list[Prediction]]:
    """The predictions of each measured table, in the order of the measurements."""
    return grouped(found, lambda prediction: prediction.measured.table)


def summary(name: str, found: Sequence[Prediction]) -> Summary:
    """The errors and the coverage over `found`, which must not be empty."""
    errors = sorted(abs(prediction.error_percent) for prediction in found)
    return Summary(
        name=name,
        values=len(errors),
        median=statistics.median(errors),
        p90=errors[math.ceil(0.9 * len(errors)) - 1],
        worst=errors[-1],
        inside=sum(prediction.inside is True for prediction in found),
        intervals=sum(prediction.inside is not None for prediction in found),
        undetermined=sum(not prediction.determined for prediction in found),
    )


def validation_tables(found: Iterable[Prediction]) -> Iterator[ValidationTable]:
    """The predictions laid out as the measurements were: one table for each name, phase and kind of machine."""
    for name, of_name in by_table(found).items():
        phases = grouped(of_name, lambda prediction: (prediction.measured.phase, prediction.measured.iteration))
        for (phase, iteration), of_phase in phases.items():
            for table, of_table in _separate_tables(Metric(phase, "seconds", iteration), of_phase):
                yield ValidationTable(name, table, tuple(of_table))


def varying_fields(found: Iterable[Prediction]) -> list[str]:
    """The fields whose values differ."""
    configs = {prediction.measured.config for prediction in found}
    return [name for name in TABLE_FIELDS if len({getattr(config, name) for config in configs}) > 1]


def grouped(values: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    """The values by their key; keys and values keep their order."""
    groups: dict[K, list[T]] = {}
    for value in values:
        groups.setdefault(key(value), []).append(value)
    return groups


def _separate_tables(metric: Metric, found: Sequence[Prediction]) -> Iterator[tuple[Table, list[Prediction]]]:
    """One table for each combination of the fields that vary and are neither rows nor columns."""
    varying = varying_fields(found)
    rows = next((name for name in ROW_FIELDS if name in varying), "vcpus")
    named = [name for name in dict.fromkeys((*HEADING_FIELDS, *varying)) if name not in (rows, "split")]
    groups = grouped(found, lambda prediction: tuple(getattr(prediction.measured.config, name) for name in named))
    for values, group in groups.items():
        cells: dict[tuple[object, object], Cell] = {
            (getattr(prediction.measured.config, rows), prediction.measured.config.split): Cell(
                prediction.seconds, prediction.measured.seconds, high=prediction.high
            )
            for prediction in group
        }
        heading = dict(zip(named, values, strict=True))
        yield Table(metric, heading, rows, "split", cells, with_published=True), group


def _prediction(timing: Measured, times: PhaseTimes) -> Prediction:
    try:
        seconds, low, high, determined = times[timing.phase, timing.iteration]
    except KeyError:
        phase = timing.phase if timing.iteration is None else f"{timing.phase} {timing.iteration}"
        where = f"measurements: {timing.table}: {config_text(timing.config)}"
        phases = ", ".join(name if number is None else f"{name} {number}" for name, number in times)
        raise QueryError(f"{where}: there is no phase {phase}; there are: {phases}") from None
    return Prediction(timing, seconds, low, high, determined)


def _phase_times_of_all(configs: Sequence[Config], processes: int) -> Iterator[tuple[Config, PhaseTimes]]:
    """The times of each config, in the order in which they are done."""
    if processes == 1:
        yield from ((config, _phase_times(config)) for config in configs)
        return
    from concurrent.futures import ProcessPoolExecutor, as_completed
    from multiprocessing import get_context

    # Ctrl-C reaches every process of the terminal: the workers leave it to this one, which drops what has not begun.
    ignore = (signal.SIGINT, signal.SIG_IGN)
    pool = ProcessPoolExecutor(processes, get_context("forkserver"), signal.signal, ignore)
    try:
        futures = {pool.submit(_phase_times, config): config for config in configs}
        for future in as_completed(futures):
            yield futures[future], future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _phase_times(config: Config) -> PhaseTimes:
    profile = load_profile(config.profile)
    return {
        (row["phase"], row["iteration"]): (
            row["seconds"],
            row["seconds_lo"],
            row["seconds_hi"],
            is_determined(config, profile, row),
        )
        for row in run_config(config)
    }
