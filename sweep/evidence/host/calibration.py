"""Measuring a cost profile of this host with the live engine, where exits from the guest take no time.

With one vCPU the simulator's times are sums of counts and costs, and its counts are the live engine's. So the times
of many short live runs are linear equations for the costs: the factors come from simulations in which one parameter
costs a microsecond and all others nothing. They are solved by least squares of relative errors, no cost below 0.

What no process can do (VM exits, TLB flushes) the live engine spins for, as long as the profile says. Here it spins
not at all, so that nothing hides the rest, and the base profile's values stay for these parameters.
"""

from __future__ import annotations

import dataclasses
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from core.config import Config, make_config
from core.costs.laws import costs_of
from core.costs.profile import PARAMETERS, Profile, profile_of
from core.live.cpus import own_cpus, usable_cpus
from core.live.engine import measure
from core.rows import Row
from core.sim.engine import simulate
from sweep.evidence.host.lock import measure_lock

Matrix = npt.NDArray[np.float64]

SPUN: Final = (
    "guest.pml_exit_ns",
    "fault.outside_ns",
    "fault.guest_walk_ns",
    "fault.fast_ns",
    "ioctl.slot_ns",
    "fault.flush_cpu_ns",
    "ioctl.flush_ns",
)
"""What the live engine spins for: the base profile's."""

NEUTRAL: Final = (
    "guest.crowding",
    "fault.sibling",
    "lock.hand_log2_ns",
    "ioctl.remote_scan",
    "ioctl.remote_update",
)
"""Laws of more vCPUs than cores, and of memory on several nodes, which are not measured: switched off."""

SAME: Final = ("ioctl.clear_since_6_4",)
"""Ratios between kernels; the live engine does the same for all of them: 1."""

BETWEEN_CPUS: Final = ("guest.contention", "guest.stagger_log2_ns", "lock.hand_base_ns", "lock.line_ns")
"""What takes several CPUs to measure."""

CONTENDED: Final = ("guest.read_ns", "guest.write_ns", "guest.small_leaf_ns", "guest.pml_entry_ns")
"""What grows by guest.contention."""

FITTED: Final = tuple(
    parameter
    for parameter in PARAMETERS
    if not parameter.startswith(("machine.", "live.")) and parameter not in (*SPUN, *NEUTRAL, *SAME, *BETWEEN_CPUS)
)
"""What runs with one vCPU determine."""

MMUS: Final = ("tdp", "legacy_tdp", "shadow", "nested")

VARIANTS: Final[tuple[Mapping[str, object], ...]] = (
    {"backing": "2M", "split": "eager", "initially_all_set": False},
    {"backing": "2M", "split": "eager", "initially_all_set": True},
    {"backing": "2M", "split": "eager", "initially_all_set": False, "pml": False},
    {"backing": "2M", "split": "eager", "initially_all_set": False, "manual_protect": False, "write_percent": 50},
    {"backing": "2M", "split": "fault", "initially_all_set": False},
    {"backing": "2M", "split": "lazy", "initially_all_set": False, "write_percent": 50},
    {"backing": "2M", "split": "lazy", "initially_all_set": False, "pml": False},
    {"backing": "4K", "split": "eager", "initially_all_set": False},
    {"backing": "4K", "split": "eager", "initially_all_set": True, "write_percent": 50},
)
"""What is run with every MMU: together they do everything that costs something."""

OWN: Final[Mapping[str, str]] = {"live.fault_ns": "fault.outside_ns", "live.fast_ns": "fault.fast_ns"}
"""What the live engine does itself, and the parameters whose place that takes where nothing is spun for."""

SOLVED: Final = (*FITTED, *OWN)
"""What the equations determine."""

UNKNOWN: Final = (*FITTED, *OWN.values())
"""The same, by the names under which the simulator knows it."""

FEW_FAULTS: Final = 100
"""A pass with fewer says nothing about the lock."""

ROUNDING: Final = 20e-6
"""Seconds that a phase may be off whatever its length: short phases count less."""

BELIEF: Final = 0.001
"""Weight of the base profile's value beside an equation's 1: it decides only what no equation does."""

UNBELIEVED: Final = 0.01
"""Microseconds: the order of magnitude of a cost that is 0 in the base profile."""

LOCK_REPEATS: Final = 50  # short ones: in some of them both processes keep their CPUs throughout

START_SECONDS: Final = 0.2  # until a new process does what it is for

STARTS: Final = 3
"""Passes of one run with two vCPUs, whose starts are compared."""


@dataclass(frozen=True, slots=True)
class HostFit:
    """A measured profile, and how far it is to be trusted."""

    profile: Profile
    errors: Mapping[str, float]  # relative standard error of each parameter of SOLVED
    residuals: tuple[float, ...]  # of the phases, in percent
    two_cpus: bool  # whether BETWEEN_CPUS were measured
    configs: int


@dataclass(frozen=True, slots=True)
class _Equations:
    """factors @ (UNKNOWN in microseconds) = seconds, by phase."""

    factors: Matrix
    seconds: Matrix


def calibration_configs(memory: int) -> list[Config]:
    """The runs with one vCPU and so many bytes of guest memory."""
    configs = [
        make_config({"engine": "live", "vcpus": 1, "mem_per_vcpu": memory, "mmu": mmu, "iterations": 2, **variant})
        for mmu in MMUS
        for variant in VARIANTS
    ]
    return list(dict.fromkeys(configs))  # pml means nothing to shadow paging


def calibrate_host(base: Profile, memory: int, repeats: int) -> HostFit:
    """Measure this host with so many bytes of guest memory and so many runs of each config."""
    configs = calibration_configs(memory)
    with own_cpus(len(usable_cpus())) as cpus:
        two_cpus = len(cpus) > 1
        between = _between_cpus(cpus, memory, repeats) if two_cpus else {}  # first: it fails on a busy machine
        runs = _runs(configs, repeats)
    equations = [_equations_of(config, runs[config]) for config in configs]
    factors = np.vstack([one.factors for one in equations])
    seconds = np.concatenate([one.seconds for one in equations])
    believed = np.array([base[parameter] / 1000 for parameter in SOLVED])
    solution, errors = _solve(factors, seconds, believed)
    measured = {name: float(microseconds) * 1000 for name, microseconds in zip(SOLVED, solution, strict=True)}
    values = dict(base.values) | dict.fromkeys(NEUTRAL, 0.0) | dict.fromkeys(SAME, 1.0)
    values |= measured | host_size() | between
    values |= {exit_ns: max(base[exit_ns], measured[own]) for own, exit_ns in OWN.items()}
    if two_cpus:  # the runs had one vCPU, which is that part of all
        for parameter in CONTENDED:
            values[parameter] /= 1 + values["guest.contention"] / values["machine.cores"]
    residuals = tuple(100 * (factors @ solution / seconds - 1))
    profile = profile_of("host", values, "host")
    return HostFit(profile, dict(zip(SOLVED, errors, strict=True)), residuals, two_cpus, len(configs))


def host_size() -> dict[str, float]:
    """machine.*: cores, CPUs and memory of this host, as far as this process may use them."""
    cpus = usable_cpus()
    siblings = set()
    for cpu in cpus:
        try:
            siblings.add(Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list").read_text())
        except OSError:  # a system that does not tell: each CPU is taken for a core
            siblings.add(str(cpu))
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return {"machine.cores": len(siblings), "machine.cpus": len(cpus), "machine.node_gib": round(memory, 1)}


def _runs(configs: Sequence[Config], repeats: int) -> Mapping[Config, list[list[Row]]]:
    """The rows of so many live runs of each config, without any spinning.

    The repeats of a config lie far apart, so that a disturbance of some seconds does not meet all of them.
    """
    found: dict[Config, list[list[Row]]] = {config: [] for config in configs}
    with _profile_file(_unit_profile(None)) as path:
        for _ in range(repeats):
            for config in configs:
                found[config].append(measure(dataclasses.replace(config, profile=path)))
    return found


def _equations_of(config: Config, runs: Sequence[Sequence[Row]]) -> _Equations:
    """Three equations for each pass that faults (what it takes, what of it inside the lock and for it), or else one."""
    units = [simulate(config, costs_of(config, _unit_profile(parameter))) for parameter in UNKNOWN]
    factors, seconds = [], []
    for place, row in enumerate(units[0]):
        is_pass = row["accesses"] > 0
        columns = ["seconds"]
        if is_pass and row["faults"] - row["faults_fast"] >= FEW_FAULTS:
            columns += ["lock_hold_seconds", "lock_wait_seconds"]
        for column in columns:
            factors.append([unit[place][column] for unit in units])
            seconds.append(statistics.median(run[place][column] for run in runs))
    return _Equations(np.array(factors), np.array(seconds))


def _solve(factors: Matrix, seconds: Matrix, believed: Matrix) -> tuple[Matrix, Matrix]:
    """The least squares of relative errors with nothing below 0, and relative standard errors.

    Repeated with less weight for what fits badly, so that a run that was disturbed does not spoil the others.
    """
    from scipy.optimize import nnls

    scale = np.where(believed > 0, believed, UNBELIEVED)  # so that all unknowns are near 1
    beliefs = BELIEF * np.eye(len(scale))
    targets = BELIEF * believed / scale
    trust = np.ones(len(seconds))
    for _ in range(20):
        weights = np.sqrt(trust) / (seconds + ROUNDING)
        rows = np.vstack([factors * scale * weights[:, None], beliefs])
        found, _ = nnls(rows, np.concatenate([seconds * weights, targets]))
        off = (factors @ (found * scale) - seconds) / (seconds + ROUNDING)
        scatter = max(0.01, float(np.median(np.abs(off))) / 0.67)
        trust = 1 / np.maximum(1.0, np.abs(off) / scatter)
    deviations = np.sqrt(np.diag(np.linalg.inv(rows.T @ rows))) * scatter
    return found * scale, deviations / np.maximum(found, 1e-9)


def _between_cpus(cpus: Sequence[int], memory: int, repeats: int) -> dict[str, float]:
    """BETWEEN_CPUS: the lock between two processes, how far apart their passes begin, and a pass beside busy CPUs."""
    lock = measure_lock(LOCK_REPEATS)
    config = make_config({"engine": "live", "vcpus": 2, "mem_per_vcpu": "2MiB", "iterations": STARTS})
    starts = [row["other_seconds"] * 1e9 for _ in range(repeats) for row in measure(config) if row["phase"] == "dirty"]
    values = (_contention(cpus, memory, repeats), statistics.median(starts), lock.hand_over, lock.line)
    return dict(zip(BETWEEN_CPUS, values, strict=True))


def _contention(cpus: Sequence[int], memory: int, repeats: int) -> float:
    """guest.contention: a pass that has `slower` times its length when all other CPUs are busy, solved for the law.

    The law gives one vCPU its share of the growth, too. What shares a core (hyperthreads, which a VM may not show)
    slows down most. Taken in turn, the runs alone and beside others meet the same disturbances.
    """
    config = make_config({"engine": "live", "vcpus": 1, "mem_per_vcpu": memory, "backing": "2M"})
    alone_runs, beside_runs = [], []
    for _ in range(repeats):
        alone_runs.append(_pass_seconds(config))
        with _busy(cpus[1:]):
            beside_runs.append(_pass_seconds(config))
    alone, beside = (math.fsum(map(min, zip(*runs, strict=True))) for runs in (alone_runs, beside_runs))
    cores: float = host_size()["machine.cores"]
    slower = min(max(1.0, beside / alone), 0.95 * cores) if cores > 1 else 1.0
    return (slower - 1) / (1 - slower / cores)


def _pass_seconds(config: Config) -> list[float]:
    """How long the passes over mapped memory of one run take."""
    return [row["seconds"] for row in measure(config) if row["phase"] == "dirty"]


@contextmanager
def _busy(cpus: Sequence[int]) -> Iterator[None]:
    """Processes that keep these CPUs busy; they end with this one, whatever happens to it."""
    work = (
        "import os, sys\n"
        "os.sched_setaffinity(0, {int(sys.argv[1])})\n"
        "while os.getppid() == int(sys.argv[2]):\n"
        "    sum(range(10**6))\n"
    )
    processes = [subprocess.Popen([sys.executable, "-c", work, str(cpu), str(os.getpid())]) for cpu in cpus]
    try:
        time.sleep(START_SECONDS)
        yield
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()


def _unit_profile(unit: str | None) -> Profile:
    """Everything costs nothing but the parameter `unit`, which costs a microsecond.

    The lock's line stays with its only vCPU: its two atomics are what taking and releasing the lock costs.
    """
    values = dict.fromkeys(PARAMETERS, 0.0)
    values |= {"machine.cores": 1.0, "machine.cpus": 1.0, "machine.node_gib": 1e6} | dict.fromkeys(SAME, 1.0)
    if unit:
        values[unit] = 1000.0
    if unit == "lock.uncontended_ns":
        values["lock.line_ns"] = 500.0
    return profile_of("unit", values, "unit")


@contextmanager
def _profile_file(profile: Profile) -> Iterator[str]:
    """The profile as a file, which the processes of a live run read."""
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        for parameter, value in profile.values.items():
            file.write(f"{parameter} = {value!r}\n")
        file.flush()
        yield file.name
