"""The 90% interval of a predicted time: how far the fit's parameters and the scatter of measurements let it be off.

A fitted profile carries the covariance of its parameters and the scatter that was left. The variance of a prediction's
logarithm is g' C g plus that scatter, where g tells which part of the time each parameter accounts for. The parts come
from the counts of the phase itself, so an interval costs no further simulation.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Final

import numpy as np
import numpy.typing as npt

from core.config import Config
from core.costs.laws import COSTS, PICOSECONDS, costs_of
from core.costs.profile import Profile
from core.rows import Row
from core.sizes import PAGE_BYTES

NORMAL_90: Final = 1.645
"""Standard deviations on each side that hold 90% of a normal distribution."""

_STEP: Final = 0.05
"""Log step of the derivatives of costs: far above their rounding to picoseconds."""

Vector = npt.NDArray[np.float64]


def interval(config: Config, profile: Profile, row: Row) -> tuple[float | None, float | None]:
    """Lower and upper end of the 90% interval of row["seconds"]; None where the profile carries no uncertainty."""
    if profile.uncertainty is None or not row["seconds"]:
        return None, None
    gradient = cost_shares(config, profile, row) @ _cost_derivatives(profile, config.mmu, config.vcpus, config.pages)
    variance = float(gradient @ _covariance(profile) @ gradient)
    scatter = profile.uncertainty.scatter_pass if row["accesses"] else profile.uncertainty.scatter_ioctl
    spread = math.exp(NORMAL_90 * math.sqrt(variance + scatter**2))
    return row["seconds"] / spread, row["seconds"] * spread


@functools.lru_cache(maxsize=64)
def _covariance(profile: Profile) -> Vector:
    return np.array(profile.uncertainty.covariance if profile.uncertainty else ())


def cost_shares(config: Config, profile: Profile, row: Row) -> Vector:
    """The part of the phase's time that each cost accounts for, in the order of COSTS; they add up to 1 at most."""
    costs = _costs(config, profile)
    parts = _guest_parts(config, row, costs) if row["accesses"] else _ioctl_parts(config, row, costs)
    total = sum(parts.values())
    shares = np.zeros(len(COSTS.names or ()))
    for name, part in parts.items():
        shares[(COSTS.names or ()).index(name)] += part / total if total else 0.0
    return shares


def _guest_parts(config: Config, row: Row, costs: dict[str, float]) -> dict[str, float]:
    """Seconds of a pass by cost: those of the lock's holders one after the other where it is the bottleneck, else those
    of one vCPU; in between, a mixture of both."""
    slow = row["faults"] - row["faults_fast"]
    serial = _critical_sections(row, costs)
    if config.mmu == "tdp":
        chain = {"line": 2 * slow * costs["line"]}
    else:
        chain = {"hand_over": slow * costs["hand_over"], **serial}
    own = {
        "fault_outside": slow * costs["fault_outside"],
        "fault_fast": row["faults_fast"] * costs["fault_fast"],
        "pml_entry": row["pml_entries"] * costs["pml_entry"],
        "pml_exit": row["pml_exits"] * costs["pml_exit"],
    }
    own["read"] = max(0.0, row["guest_seconds"] - own["pml_entry"])
    busy = sum(chain.values()) / row["seconds"]
    bound = min(1.0, max(0.0, 2 * busy - 1))  # 0 where the lock is idle half of the time, 1 where it never is
    parts = {name: (1 - bound) * part / config.vcpus for name, part in (own | serial | chain).items()}
    for name, part in chain.items():
        parts[name] = parts[name] + bound * part
    parts["stagger"] = costs["stagger"] * (1 - bound)
    return parts


def _critical_sections(row: Row, costs: dict[str, float]) -> dict[str, float]:
    """Seconds inside the lock by cost."""
    splits = row["splits_1g"] + row["splits_2m"]
    return {
        "map_hold": row["faults_not_present"] * costs["map_hold"],
        "fix_hold": (row["faults_write_protect"] - row["faults_fast"]) * costs["fix_hold"],
        "table_hold": row["tables_allocated"] * costs["table_hold"],
        "drop_hold": row["tlb_flushes"] * costs["drop_hold"],
        "split_child": splits * 512 * costs["split_child"],
    }


def _ioctl_parts(config: Config, row: Row, costs: dict[str, float]) -> dict[str, float]:
    """Seconds of an ioctl by cost; what the counts do not explain is the scan."""
    splits = row["splits_1g"] + row["splits_2m"]
    changed = row["write_protected"] + row["dirty_cleared"]
    parts = {"split_child": splits * 512 * costs["split_child"], "flush": row["tlb_flushes"] * costs["flush"]}
    if row["phase"] in ("enable", "disable"):
        parts["slot"] = config.slots * costs["slot"]
    if row["phase"] == "enable":
        parts["bitmap_page"] = config.pages * costs["bitmap_page"]
        parts["protect"] = changed * costs["protect"]
    elif row["phase"] in ("get", "clear"):
        page = "clear_split_page" if splits else "clear_page"
        parts[page] = changed * costs[page]
        words = config.pages / 64
        if row["phase"] == "get":
            parts["get_word"] = words * costs["get_word"]
        else:
            parts["clear_word"] = min(words, changed) * costs["clear_word"]  # each has a page in it
    else:
        parts["zap"] = row["zapped_4k"] * costs["zap"]
    scan = "walk_entry" if config.mmu == "tdp" else "scan_head"
    parts[scan] = max(0.0, row["seconds"] - sum(parts.values()))
    return parts


@functools.lru_cache(maxsize=64)  # every row of a config asks for them
def _costs(config: Config, profile: Profile) -> dict[str, float]:
    return _cost_seconds(config, profile)


def _cost_seconds(config: Config, profile: Profile) -> dict[str, float]:
    """The config's costs in seconds."""
    costs = costs_of(config, profile)
    return {name: int(costs[name]) / PICOSECONDS / 1e9 for name in COSTS.names or ()}


@functools.lru_cache(maxsize=1024)
def _cost_derivatives(profile: Profile, mmu: str, vcpus: int, pages: int) -> Vector:
    """d log cost / d log parameter: costs down, fitted parameters across. Costs depend on nothing else of a config."""
    config = Config(mmu=mmu, vcpus=vcpus, mem_per_vcpu=pages // vcpus * PAGE_BYTES)
    here = _log_costs(config, profile)
    columns = []
    for parameter in profile.uncertainty.parameters if profile.uncertainty else ():
        moved = dict(profile.values) | {parameter: profile[parameter] * math.exp(_STEP)}
        columns.append((_log_costs(config, dataclasses.replace(profile, values=moved)) - here) / _STEP)
    return np.column_stack(columns)


def _log_costs(config: Config, profile: Profile) -> Vector:
    return np.log([max(seconds, 1e-15) for seconds in _cost_seconds(config, profile).values()])
