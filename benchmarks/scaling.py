"""Wall time and memory of one configuration, as the virtual machine grows.

Each measurement is a process of its own that has loaded the kernels and run a tiny configuration before the clock
starts; the peak memory of a process that did only that is subtracted. A series ends where its next point would take
longer than LONGEST_SECONDS, judged by its last one.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.measure import Options, in_fresh_process, note, spread
from benchmarks.report import Cell, Table
from core.config import Config, make_config
from core.sizes import format_size, parse_size

LONGEST_SECONDS: Final = 20.0
REPEATED_SECONDS: Final = 3.0  # a point that takes longer is run once
ROUNDS: Final = 3

FITTED_SECONDS: Final = 0.02
FITTED_BYTES: Final = 2**21
"""Smaller values are left out of the fitted exponents: they are the costs of any configuration."""

COVER_LETTER: Final = Path(__file__).parent.parent / "examples" / "cover_letter.toml"

LAZY: Final = {"mmu": "legacy_tdp", "split": "lazy", "backing": "2M", "initially_all_set": False, "iterations": 1}
EAGER: Final = {**LAZY, "mmu": "tdp", "split": "eager"}

SIZES: Final = (*(2**26 * 4**step for step in range(9)), parse_size("12TiB"))
"""Guest memory of the series, from 64 MiB."""

LARGEST: Final = {"vcpus": 416, "mem_per_vcpu": parse_size("29.5GiB"), "slots": 2}
"""The largest virtual machine that the project has a goal for: 12 TiB."""

SLOT: Final = parse_size("8TiB")
"""A memslot holds just less."""


@dataclass(frozen=True, slots=True)
class Run:
    """What one process measured."""

    seconds: float
    peak_bytes: int  # of the whole process
    faults: int


@dataclass(slots=True)
class Point:
    """One configuration of a series with its runs."""

    config: Config
    runs: list[Run]


def run(options: Options) -> list[Table]:
    """All series, and the configurations that the project promises something about."""
    idle = in_fresh_process(measured, []).peak_bytes
    note(f"an idle process peaks at {idle / 2**20:.0f} MiB")
    tables = [_table(title, points, idle) for title, points in _series()]
    return [*tables, _promised(idle)]


def _series() -> list[tuple[str, list[Point]]]:
    """Titles and points, smallest first."""
    vcpus = [1, 4, 16, 64, 208, 416]
    small, large = SIZES[1:7], SIZES[1:]  # of 64 vCPUs, each with 4 MiB or more
    random: dict[str, object] = {**LAZY, "access_order": "random", "seed": 1}
    readers: dict[str, object] = {"mmu": "tdp", "backing": "4K", "iterations": 1}
    return [
        (
            "Memory of 1 vCPU (tdp, eager, 4K backing, 2 iterations)",
            _grown([make_config({"mem_per_vcpu": size, "slots": size // SLOT + 1}) for size in SIZES]),
        ),
        (
            "Memory of 64 vCPUs (legacy_tdp, lazy, 2M backing, 1 iteration)",
            _grown(
                [
                    make_config({**LAZY, "vcpus": 64, "mem_per_vcpu": size // 64, "slots": size // SLOT + 1})
                    for size in large
                ]
            ),
        ),
        (
            "vCPUs of 29.5 GiB each (legacy_tdp, lazy, 2M backing, 1 iteration)",
            _grown([make_config({**LAZY, **LARGEST, "vcpus": number, "slots": 1 + number // 416}) for number in vcpus]),
        ),
        (
            "Nothing to skip: random order, 64 vCPUs (legacy_tdp, lazy, 2M backing, 1 iteration)",
            _grown([make_config({**random, "vcpus": 64, "mem_per_vcpu": size // 64}) for size in small]),
        ),
        (
            "Little to skip: readers that queue to populate, 64 vCPUs (tdp, eager, 4K backing, 1 iteration)",
            _grown([make_config({**readers, "vcpus": 64, "mem_per_vcpu": size // 64}) for size in small]),
        ),
    ]


def _grown(configs: Sequence[Config]) -> list[Point]:
    """The configs that do not take too long, with their runs; the later rounds take the short ones in turn."""
    points: list[Point] = []
    for config in configs:
        if points:
            last = points[-1]
            expected = last.runs[0].seconds * config.pages / last.config.pages
            if expected > LONGEST_SECONDS:
                break
        points.append(_first_run(config))
    for _ in range(ROUNDS - 1):
        for point in points:
            if point.runs[0].seconds <= REPEATED_SECONDS:
                point.runs.append(in_fresh_process(measured, [point.config]))
    return points


def _first_run(config: Config) -> Point:
    point = Point(config, [in_fresh_process(measured, [config])])
    memory = format_size(config.vcpus * config.mem_per_vcpu)
    note(f"{config.vcpus} vCPU(s), {memory}: {point.runs[0].seconds:.3g} s")
    return point


def measured(configs: Sequence[Config]) -> Run:
    """Run the configs one after the other in this process, which must be a fresh one."""
    from core.run import run_config

    run_config(make_config({"mem_per_vcpu": "2MiB"}))
    start = time.perf_counter()
    faults = 0
    for config in configs:
        faults += sum(row["faults"] for row in run_config(config))
    return Run(time.perf_counter() - start, _peak_bytes(), faults)


def _peak_bytes() -> int:
    """The most memory this process had. getrusage would count in what its parent had when it started this one."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("no VmHWM in /proc/self/status; this benchmark needs Linux")


def _table(title: str, points: Sequence[Point], idle: int) -> Table:
    """A series with its exponents in the last row."""
    columns = ("vCPUs", "guest memory", "faults", "seconds", "ns per page and pass", "MiB", "bytes per page")
    rows: list[tuple[Cell, ...]] = []
    for point in points:
        config = point.config
        seconds = spread([run.seconds for run in point.runs])
        extra = _extra_bytes(point.runs, idle)
        nanoseconds = seconds.median * 1e9 / config.pages / _passes(config)
        memory = format_size(config.vcpus * config.mem_per_vcpu)
        faults = point.runs[0].faults
        mebibytes, per_page = (extra / 2**20, extra / config.pages) if extra >= FITTED_BYTES else (None, None)
        rows.append((config.vcpus, memory, faults, seconds, nanoseconds, mebibytes, per_page))
    pages = [point.config.pages for point in points]
    time_exponent = exponent(pages, [spread([run.seconds for run in point.runs]).median for point in points])
    memory_exponent = exponent(pages, [float(_extra_bytes(point.runs, idle)) for point in points], FITTED_BYTES)
    rows.append((None, "growth exponent", None, time_exponent, None, memory_exponent, None))
    return Table(title, columns, rows)


def _passes(config: Config) -> int:
    """How often the vCPUs go over their memory."""
    return config.iterations + 2


def _extra_bytes(runs: Sequence[Run], idle: int) -> int:
    """Peak memory beyond an idle process."""
    return max(0, int(spread([run.peak_bytes for run in runs]).median) - idle)


def exponent(sizes: Sequence[float], values: Sequence[float], least: float = FITTED_SECONDS) -> float | None:
    """k of the law values ~ sizes ** k, fitted to those of at least `least`; None if fewer than two are."""
    large = [(size, value) for size, value in zip(sizes, values, strict=True) if value >= least]
    if len(large) < 2:
        return None
    logarithms = np.log(np.array(large))
    return float(np.polyfit(logarithms[:, 0], logarithms[:, 1], 1)[0])


def _promised(idle: int) -> Table:
    """Engine time of the configurations that the project sets itself goals for."""
    columns = ("configurations", "faults", "seconds", "MiB")
    rows = [_promised_row(name, configs, idle) for name, configs in _promised_configs().items()]
    return Table("Configurations with a goal, engine time in one process", columns, rows)


def _promised_configs() -> Mapping[str, Sequence[Config]]:
    from sweep.spec.configs import load_spec

    lazy_1g: dict[str, object] = {**LAZY, "backing": "1G"}
    cover_letter = load_spec(COVER_LETTER).configs
    return {
        f"the cover letter's sweep, {len(cover_letter)} configs": cover_letter,
        "64 vCPUs x 1 GiB, lazy legacy_tdp, 1G backing": [
            make_config({**lazy_1g, "vcpus": 64, "mem_per_vcpu": "1GiB"})
        ],
        "416 vCPUs x 29.5 GiB, lazy legacy_tdp, 2M backing": [make_config({**LAZY, **LARGEST})],
        "416 vCPUs x 29.5 GiB, eager tdp, 2M backing": [make_config({**EAGER, **LARGEST})],
    }


def _promised_row(name: str, configs: Sequence[Config], idle: int) -> tuple[Cell, ...]:
    runs = [in_fresh_process(measured, configs)]
    note(f"{name}: {runs[0].seconds:.3g} s")
    if runs[0].seconds <= LONGEST_SECONDS / 2:
        runs += [in_fresh_process(measured, configs) for _ in range(ROUNDS - 1)]
    seconds = spread([run.seconds for run in runs])
    extra = _extra_bytes(runs, idle)
    return (name, runs[0].faults, seconds, extra / 2**20 if extra >= FITTED_BYTES else None)
