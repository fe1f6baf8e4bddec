"""A profile measured on this host as a TOML file: every value with its meaning, and where it comes from."""

from __future__ import annotations

import platform
import statistics
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Final

from core.costs.profile import PARAMETERS
from core.sizes import format_size
from sweep.evidence.host.calibration import BETWEEN_CPUS, NEUTRAL, SOLVED, SPUN, HostFit

WEAK: Final = 0.5
"""A relative standard error beyond which a value says little."""


def host_profile_text(fit: HostFit, base: str, memory: int, repeats: int) -> str:
    """The file's content."""
    return "\n".join(_lines(fit, base, memory, repeats)) + "\n"


def residual_text(fit: HostFit) -> str:
    """How close the costs come to the measured phases."""
    errors = sorted(abs(error) for error in fit.residuals)
    ninety = statistics.quantiles(errors, n=10, method="inclusive")[-1]
    return f"median {statistics.median(errors):.1f}%, 90th percentile {ninety:.0f}%, worst {errors[-1]:.0f}%"


def value_lines(fit: HostFit, base: str) -> list[tuple[str, float, str]]:
    """Each parameter, its value, and where that comes from."""
    return [(parameter, fit.profile[parameter], _evidence(fit, base, parameter)) for parameter in PARAMETERS]


def _lines(fit: HostFit, base: str, memory: int, repeats: int) -> Iterator[str]:
    today = datetime.now(UTC).date().isoformat()
    size = fit.profile
    yield f"# Measured by splitsweep calibrate --host on {today}: host {platform.node()}, {cpu_model()},"
    yield f"# {size['machine.cpus']:.0f} CPUs, Linux {platform.release()}."
    yield f"# {fit.configs} configs with one vCPU and {format_size(memory)} of guest memory on the live engine,"
    yield f"# the median of {repeats} runs of each phase; the costs below miss these {len(fit.residuals)} times by:"
    yield f"# {residual_text(fit)}."
    yield "# Nanoseconds unless a name says otherwise."
    yield "# [measured +-x%]: fitted to those times, with its relative standard error; (weak): they hardly tell."
    yield f"# [two CPUs]: measured with several processes. [spun]: taken from {base}, as"
    yield "# the live engine spins so long for what no process can do. [off]: a law that is not measured."
    for section, group in groupby(value_lines(fit, base), key=lambda line: line[0].split(".")[0]):
        yield ""
        yield f"[{section}]"
        for parameter, number, evidence in group:
            value = f"{parameter.split('.')[1]} = {number:.6g}"
            yield f"{value:34s}# {evidence} {PARAMETERS[parameter]}"


def cpu_model(info: Path = Path("/proc/cpuinfo")) -> str:
    """What the machine calls its CPUs."""
    try:
        lines: Sequence[str] = info.read_text(errors="replace").splitlines()
    except OSError:
        lines = ()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _evidence(fit: HostFit, base: str, parameter: str) -> str:
    if parameter in SOLVED:
        error = fit.errors[parameter]
        return "[measured] (weak)" if error > WEAK else f"[measured +-{100 * error:.0f}%]"
    if parameter in BETWEEN_CPUS:
        return "[two CPUs]" if fit.two_cpus else f"[not measured: one CPU; {base}]"
    if parameter in SPUN:
        return "[spun]"
    return "[off]" if parameter in NEUTRAL else "[host]"
