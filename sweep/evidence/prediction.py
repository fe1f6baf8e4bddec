"""Predictions of measured timings, fast enough to fit a profile with: simulated with a small part of the memory.

The time of a pass or an ioctl is nearly proportional to the memory; what is not (the start of a pass, TLB flushes) is
made smaller by the same factor before and the result larger after. Costs are those of the full size, where more
memory means metadata on two nodes. `validate` checks profiles at full size.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from core.compiled.records import Record
from core.config import Config, make_config
from core.costs.laws import costs_of
from core.costs.profile import Profile
from core.sim.engine import simulate
from sweep.evidence.measurements import Measured, longest_configs

SMALL_MEMORY: Final = 4 * 2**20
"""Bytes per vCPU that are simulated: two 2M pages, 1,024 faults of each vCPU in a lazy pass."""

Seconds = npt.NDArray[np.float64]

Known = dict[tuple[int, bytes], dict[int, float]]
"""Results by case and costs: most derivatives of a fit leave most cases as they are."""


@dataclass(frozen=True, slots=True)
class Case:
    """One simulation and the measurements it predicts: index into the result by phase and iteration."""

    full: Config
    small: Config
    factor: float
    wanted: dict[tuple[str, int | None], list[int]]


def cases_of(measured: Sequence[Measured]) -> list[Case]:
    """The simulations that predict all of `measured`, each config once."""
    longest = longest_configs(measured)
    wanted: dict[Config, dict[tuple[str, int | None], list[int]]] = {}
    for index, timing in enumerate(measured):
        phases = wanted.setdefault(longest[timing.config], {})
        phases.setdefault((timing.phase, timing.iteration), []).append(index)
    return [_case(config, phases) for config, phases in wanted.items()]


def predict(cases: Iterable[Case], profile: Profile, known: Known) -> Seconds:
    """Predicted seconds in the order of the measurements. `known` is filled and used."""
    seconds: dict[int, float] = {}
    for number, case in enumerate(cases):
        costs = costs_of(case.full, profile)
        key = (number, costs.tobytes())
        if key not in known:
            known[key] = _simulated(case, costs)
        seconds |= known[key]
    return np.array([seconds[index] for index in sorted(seconds)])


def _case(full: Config, wanted: dict[tuple[str, int | None], list[int]]) -> Case:
    """The case of a config: as it is if it is small or takes whole gigabytes for a reason, else with small memory."""
    if full.mem_per_vcpu <= SMALL_MEMORY or not full.partitioned or full.slots > 1:
        return Case(full, full, 1.0, wanted)
    backing = "4K" if full.backing == "4K" else "2M"
    changes = {"mem_per_vcpu": SMALL_MEMORY, "backing": backing}
    if full.guest_page == full.backing:
        changes["guest_page"] = backing
    small = make_config(dataclasses.asdict(full) | changes)
    return Case(full, small, full.mem_per_vcpu / SMALL_MEMORY, wanted)


def _simulated(case: Case, costs: Record) -> dict[int, float]:
    """Seconds of the case's measurements, by their index."""
    for name in ("stagger", "flush"):
        costs[name] = round(costs[name] / case.factor)
    seconds: dict[int, float] = {}
    for row in simulate(case.small, costs=costs):
        for index in case.wanted.get((row["phase"], row["iteration"]), ()):
            seconds[index] = row["seconds"] * case.factor
    return seconds
