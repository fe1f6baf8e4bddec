"""The live engine: runs the phases of dirty_log_perf_test with real processes on this host, and returns their rows.

The rows are the simulator's; the counts must be, the times are what this host took.
"""

from __future__ import annotations

import os
from typing import Final

import numpy as np

from core.compiled.records import Record
from core.config import Config
from core.costs.laws import costs_of
from core.costs.profile import load_profile
from core.counters import COUNTERS
from core.live.clock import Calibration, calibrate_cycles
from core.live.felt import felt_by_all
from core.live.member import UNDISTURBED, Part, fields_of, live_steps, load_kernels, prepare_segment, run_member
from core.live.processes.errors import LiveError
from core.live.processes.run import Member, run_processes
from core.live.processes.segment import Segment, new_segment
from core.live.processes.server import kept_server
from core.phase_row import TIMES as PARTS
from core.phase_row import Outcome, phase_row
from core.rows import Row
from core.sim.concurrent.outcome import concurrency_columns
from core.sim.state.actors import TIMES
from core.sizes import PAGE_BYTES, format_size
from core.stalls import BUCKETS
from core.steps import Step

PRELOAD: Final = f"{load_kernels.__module__}:{load_kernels.__name__}"

NANOSECOND: Final = 1000  # picoseconds
MILLISECOND: Final = 1_000_000  # nanoseconds


def measure(config: Config) -> list[Row]:
    """Run `config` on this host and return one row per phase and iteration; LiveError if that does not end well."""
    if os.environ.get("NUMBA_DISABLE_JIT", "0") != "0":
        raise LiveError("the live engine needs compiled kernels: unset NUMBA_DISABLE_JIT")
    if config.touch_memory:
        _check_free_memory(config)
    calibration = calibrate_cycles()
    part = Part(config, costs_of(config, load_profile(config.profile)), calibration)
    members = [*(Member(f"vCPU {vcpu}", part) for vcpu in range(config.vcpus)), Member("the ioctl thread", part)]
    with new_segment(fields_of(config)) as segment:
        prepare_segment(config, segment, len(os.sched_getaffinity(0)))
        run_processes(kept_server([PRELOAD]), segment, run_member, members, pin=config.pin_vcpus)
        return _rows(config, segment, calibration)


def _rows(config: Config, segment: Segment, calibration: Calibration) -> list[Row]:
    processes = config.vcpus + 1
    rows, undisturbed = [], 0.0
    for number, step in enumerate(live_steps(config)):
        mine = slice(number * processes, (number + 1) * processes)
        if step.name == UNDISTURBED:
            undisturbed = _accesses_per_ms(segment, mine)
            continue
        is_concurrent = step.rules.guest and step.rules.ioctl
        outcome = (_outcome_beside if is_concurrent else _outcome)(config, segment, step, mine, calibration)
        rows.append(phase_row(config, step.name, step.iteration, outcome))
        if is_concurrent:
            picoseconds = calibration.nanoseconds(1) * NANOSECOND
            longest_hold = round(int(segment["longest_hold"][mine].max()) * picoseconds)
            felt = felt_by_all(segment, mine, outcome.duration)
            rows[-1] |= concurrency_columns(felt, outcome.counters, longest_hold, outcome.duration, undisturbed)
    return rows


def _accesses_per_ms(segment: Segment, mine: slice) -> float:
    """How fast all vCPUs together were while no ioctl disturbed them."""
    span = segment["spans"][mine.stop - 1]
    accesses = int(segment["counters"]["accesses"][mine].sum())
    return max(1, accesses) / (int(span["end"]) - int(span["start"])) * MILLISECOND


def _outcome_beside(config: Config, segment: Segment, step: Step, mine: slice, calibration: Calibration) -> Outcome:
    """The same of a phase in which the vCPUs ran during the ioctl, whose time is the phase's."""
    counters, times = _added_up(segment, mine, calibration)
    span = segment["spans"][mine.stop - 1]
    duration = (int(span["end"]) - int(span["start"])) * NANOSECOND
    _, of_vcpus = _added_up(segment, slice(mine.start, mine.stop - 1), calibration)
    spent = sum(int(of_vcpus[name]) for name in PARTS)
    times.guest = max(0, config.vcpus * duration - spent)
    times.longest_stall = min(int(times.longest_stall), duration)  # the end of the phase cuts stalls off
    stalls = segment["stalls"].reshape(-1, BUCKETS)[mine].sum(axis=0)
    return Outcome(duration, np.full(config.vcpus, duration), counters, times, stalls)


def _added_up(segment: Segment, mine: slice, calibration: Calibration) -> tuple[Record, Record]:
    """Counters and times of some processes in one phase."""
    counters, times = np.zeros(1, COUNTERS)[0], np.zeros(1, TIMES)[0]
    for name in COUNTERS.names or ():
        counters[name] = segment["counters"][name][mine].sum(axis=0)
    picoseconds = calibration.nanoseconds(1) * NANOSECOND
    for name in PARTS:
        times[name] = round(int(segment["times"][name][mine].sum()) * picoseconds)
    times.longest_stall = segment["times"]["longest_stall"][mine].max()
    return counters, times


def _outcome(config: Config, segment: Segment, step: Step, mine: slice, calibration: Calibration) -> Outcome:
    """What the processes of a run counted and measured in one phase, added up."""
    counters, times = _added_up(segment, mine, calibration)
    active = slice(mine.start, mine.stop - 1) if step.rules.guest else slice(mine.stop - 1, mine.stop)
    starts, ends = (segment["spans"][name][active] * NANOSECOND for name in ("start", "end"))
    start = int(starts.min())
    times.other += int((starts - start).sum())
    if step.rules.guest:
        measured = sum(int(times[name]) for name in PARTS)
        times.guest = max(0, int((ends - start).sum()) - measured)
    stalls = segment["stalls"].reshape(-1, BUCKETS)[mine].sum(axis=0)
    return Outcome(int(ends.max()) - start, ends - start, counters, times, stalls)


def _check_free_memory(config: Config) -> None:
    """Real guest memory must fit: a run that the kernel kills says nothing."""
    needed = config.pages * PAGE_BYTES
    available = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > available:
        raise LiveError(
            f"touch_memory needs {format_size(needed)} of memory for the guest; "
            f"{available / 2**30:.1f} GiB are free on this host"
        )
