"""Predictions of measured timings, fast enough to fit a profile with: simulated with a small part of the memory.

The time of a pass or an ioctl is nearly proportional to the memory; what is not (the start of a pass, TLB flushes,
drops of 1G leaves) is made smaller by the same factor before and the result larger after. Costs are those of the full
size, where more memory means metadata on two nodes. `validate` checks profiles at full size.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from core.compiled.records import Record
from core.config import Config, make_config
from core.costs.interval import cost_derivatives
from core.costs.laws import COSTS, PICOSECONDS, costs_of
from core.costs.profile import Profile
from core.sim.engine import simulate
from core.sim.guest import PML_BUFFER
from core.sizes import PAGE_BYTES, PAGES_PER_2M
from sweep.evidence.measurements import Measured, longest_configs

SMALL_MEMORY: Final = 4 * 2**20
"""Bytes per vCPU that are simulated: two 2M pages, 1,024 faults of each vCPU in a lazy pass."""

GUEST_PHASES: Final = ("populate", "dirty", "after_disable")

COST_NAMES: Final = [name for name in COSTS.names or () if not name.startswith("live")]

SUM_ERROR: Final = 0.003
"""A sum that is off by more is found anew."""

KEPT: Final = 8
"""So many results of a case are kept."""

STEP: Final = 0.04
"""Relative step of a cost in a numerical derivative, and the smallest, in picoseconds: far above their rounding."""

SMALLEST_STEP: Final = 100

Seconds = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Case:
    """One simulation and the measurements it predicts: index into the result by phase and iteration."""

    full: Config
    small: Config
    factor: float
    wanted: dict[tuple[str, int | None], list[int]]
    known: dict[bytes, dict[int, float]] = field(default_factory=dict)  # by the costs: seconds, by measurement
    per_cost: dict[str, dict[int, float]] = field(default_factory=dict)  # seconds per picosecond of a cost, likewise

    @property
    def is_sum(self) -> bool:
        """Whether nothing but sums of costs is wanted: ioctls wait for nobody, their vCPUs are idle."""
        return not any(phase in GUEST_PHASES for phase, _ in self.wanted)


def cases_of(measured: Sequence[Measured]) -> list[Case]:
    """The simulations that predict all of `measured`, each config once."""
    longest = longest_configs(measured)
    wanted: dict[Config, dict[tuple[str, int | None], list[int]]] = {}
    for index, timing in enumerate(measured):
        phases = wanted.setdefault(longest[timing.config], {})
        phases.setdefault((timing.phase, timing.iteration), []).append(index)
    return [_case(config, phases) for config, phases in wanted.items()]


def predict(cases: Iterable[Case], profile: Profile) -> Seconds:
    """Predicted seconds in the order of the measurements."""
    seconds: dict[int, float] = {}
    for case in cases:
        seconds |= _seconds(case, costs_of(case.full, profile))
    return np.array([seconds[index] for index in sorted(seconds)])


def linearised(cases: Sequence[Case], profile: Profile, parameters: tuple[str, ...]) -> tuple[Seconds, Matrix]:
    """Predicted seconds, and how their logarithms move with the coordinates of the parameters.

    All times grow with all costs together, so a time is the sum of the costs times what it grows by with each. Where
    that still gives the time that is simulated, it is what it was; elsewhere every cost is moved a little again. What a
    parameter does to the costs is known without simulating.
    """
    count = sum(len(indices) for case in cases for indices in case.wanted.values())
    seconds, moves = np.zeros(count), np.zeros((count, len(parameters)))
    for case in cases:
        costs = costs_of(case.full, profile)
        here = _seconds(case, costs)
        if not case.per_cost or any(abs(_sum(case, costs, index) / here[index] - 1) > SUM_ERROR for index in here):
            _find_growth(case, costs, here)
        by_parameter = cost_derivatives(case.full, profile, parameters) * 1e9 * PICOSECONDS
        for name, growth in case.per_cost.items():
            row = by_parameter[COST_NAMES.index(name)]
            for index, value in growth.items():
                moves[index] += value / here[index] * row
        for index, value in here.items():
            seconds[index] = value
    return seconds, moves


def _seconds(case: Case, costs: Record) -> dict[int, float]:
    """Seconds of the case's measurements; simulated where they are not known already, or no mere sum."""
    if case.is_sum and case.per_cost:
        return {index: _sum(case, costs, index) for indices in case.wanted.values() for index in indices}
    key = costs.tobytes()
    if key not in case.known:
        if len(case.known) > KEPT:
            case.known.clear()
        case.known[key] = _simulated(case, costs)
    return case.known[key]


def _sum(case: Case, costs: Record, index: int) -> float:
    return math.fsum(int(costs[name]) * growth[index] for name, growth in case.per_cost.items())


def _find_growth(case: Case, costs: Record, here: dict[int, float]) -> None:
    """Fill `per_cost`, with the costs that move anything."""
    names = list(case.per_cost) or COST_NAMES
    case.per_cost.clear()
    for name in names:
        step = max(SMALLEST_STEP, round(STEP * int(costs[name])))
        moved = costs.copy()
        moved[name] += step
        there = _simulated(case, moved)
        if there != here:
            case.per_cost[name] = {index: (there[index] - value) / step for index, value in here.items()}


def _case(full: Config, wanted: dict[tuple[str, int | None], list[int]]) -> Case:
    """The case of a config: as it is if it is small or takes whole gigabytes for a reason, else with small memory."""
    full = dataclasses.replace(full, profile=Config().profile)  # costs are given; its own profile may not exist yet
    changes: dict[str, object] = {"mem_per_vcpu": SMALL_MEMORY}
    slots = full.slots if full.slots <= full.vcpus and full.vcpus % full.slots == 0 else 0
    if full.mem_per_vcpu <= SMALL_MEMORY or not full.partitioned or not slots:
        return Case(full, full, 1.0, wanted)
    backing = "4K" if full.backing == "4K" else "2M"
    changes |= {"backing": backing, "slots": slots}
    if full.guest_page == full.backing:
        changes["guest_page"] = backing
    small = make_config(dataclasses.asdict(full) | changes)
    return Case(full, small, full.mem_per_vcpu / SMALL_MEMORY, wanted)


def _exits(config: Config) -> int:
    """Exits of a vCPU whose writes fill its PML buffer, all without a fault; a small memory leaves out half of them."""
    return max(1, (config.mem_per_vcpu // PAGE_BYTES - 1) // PML_BUFFER)


def _simulated(case: Case, costs: Record) -> dict[int, float]:
    """Seconds of the case's measurements, by their index."""
    costs = costs.copy()
    for name in ("stagger", "flush", "slot"):
        costs[name] = round(costs[name] / case.factor)
    costs["pml_exit"] = round(costs["pml_exit"] * _exits(case.full) / (case.factor * _exits(case.small)))
    if case.full.leaf_level > case.small.leaf_level:
        for name in ("drop_hold", "flush_cpu", "flush_table"):  # once for 512 leaves of 2M
            costs[name] = round(costs[name] / PAGES_PER_2M)
    seconds: dict[int, float] = {}
    for row in simulate(case.small, costs=costs):
        for index in case.wanted.get((row["phase"], row["iteration"]), ()):
            seconds[index] = row["seconds"] * case.factor
    return seconds
