"""Time in a live run: the monotonic clock, and the cycle counter calibrated against it.

A phase is timed with the monotonic clock (`read_nanoseconds`), which means the same in every process. Within a phase a
vCPU reads the cycle counter around each step, as that costs a few nanoseconds, and `Calibration` turns cycles into
time afterwards. This is sound where the counter runs at a constant rate, alike on all CPUs: `counter_is_steady`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from core.compiled.instructions import read_cycles, read_nanoseconds
from core.compiled.kernel import kernel

_CALIBRATION_SECONDS: Final = 0.02
_READINGS: Final = 30
_CLOCK_SOURCE: Final = Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")
_STEADY_SOURCES: Final = ("tsc", "arch_sys_counter")


@dataclass(frozen=True, slots=True)
class Calibration:
    """The rate of the cycle counter."""

    cycles_per_nanosecond: float

    def cycles(self, nanoseconds: float) -> int:
        """So many cycles pass in `nanoseconds`."""
        return round(nanoseconds * self.cycles_per_nanosecond)

    def nanoseconds(self, cycles: int) -> float:
        """So long do `cycles` take."""
        return cycles / self.cycles_per_nanosecond


def calibrate_cycles(seconds: float = _CALIBRATION_SECONDS) -> Calibration:
    """Measure the rate of the cycle counter; the error is below 1e-5 when it takes 20 ms."""
    first_cycles, first_nanoseconds = _read_both()
    time.sleep(seconds)
    last_cycles, last_nanoseconds = _read_both()
    return Calibration((last_cycles - first_cycles) / (last_nanoseconds - first_nanoseconds))


def counter_is_steady() -> bool:
    """Whether Linux keeps its own time with the cycle counter, which it does only after checking it on all CPUs."""
    return _CLOCK_SOURCE.exists() and _CLOCK_SOURCE.read_text().strip() in _STEADY_SOURCES


@kernel
def spin_for(cycles: int) -> None:
    """Keep the CPU busy for so many cycles, as a VM exit does."""
    start = read_cycles()
    while read_cycles() - start < cycles:
        pass


def _read_both() -> tuple[int, int]:
    """The cycle counter and the clock at the same time: of several readings, the one that took least."""
    return min(_read_once() for _ in range(_READINGS))[1:]


@kernel
def _read_once() -> tuple[int, int, int]:
    """How many cycles the reading took, the cycle counter halfway, the clock."""
    before = read_cycles()
    nanoseconds = read_nanoseconds()
    after = read_cycles()
    return after - before, before + (after - before) // 2, nanoseconds
