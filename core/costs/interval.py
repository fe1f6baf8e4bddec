"""The 90% interval of a predicted time: how far the fit's parameters and the scatter of measurements let it be off.

A fitted profile carries the covariance of its parameters, of those that no measurement determined too, and the scatter
that was left. The variance of a prediction's logarithm is g' C g plus that scatter, where g tells how strongly each
parameter moves the time. It comes from how often the phase met each cost, so an interval costs no further simulation.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Final

import numpy as np
import numpy.typing as npt

from core.config import Config
from core.costs.beliefs import coordinate, value_at
from core.costs.laws import COSTS, cost_nanoseconds
from core.costs.profile import Profile
from core.rows import Row

NORMAL_90: Final = 1.645
"""Standard deviations on each side that hold 90% of a normal distribution."""

_STEP: Final = 0.01
"""Step of the derivatives of costs, in coordinates of the parameters."""

_COST_FIELDS: Final = ("mmu", "vcpus", "mem_per_vcpu", "pml", "kernel", "split", "split_cache", "initially_all_set")
"""The fields that a config's costs depend on."""

_NAMES: Final[tuple[str, ...]] = COSTS.names or ()

Vector = npt.NDArray[np.float64]


def interval(config: Config, profile: Profile, row: Row) -> tuple[float | None, float | None]:
    """Lower and upper end of the 90% interval of row["seconds"]; None where the profile carries no uncertainty."""
    if profile.uncertainty is None or not row["seconds"]:
        return None, None
    gradient = sensitivity(config, profile, row)
    variance = float(gradient @ _covariance(profile) @ gradient)
    scatter = profile.uncertainty.scatter_pass if row["accesses"] else profile.uncertainty.scatter_ioctl
    spread = math.exp(NORMAL_90 * math.sqrt(variance + scatter**2))
    return row["seconds"] / spread, row["seconds"] * spread


def sensitivity(config: Config, profile: Profile, row: Row) -> Vector:
    """How the logarithm of a phase's time moves with each fitted parameter, in the order of the profile's own."""
    counts = _cost_counts(config, profile, row)
    costs = _costs(profile, _cost_key(config))
    told = float(counts @ np.array([costs[name] for name in _NAMES]))  # counts tell it roughly: no more than there is
    moves = counts @ _cost_derivatives(profile, _cost_key(config))
    return np.asarray(moves / max(row["seconds"], told), np.float64)


def is_determined(config: Config, profile: Profile, row: Row) -> bool:
    """Whether more than half of how the time moves is due to parameters that measurements determined."""
    if profile.uncertainty is None or not row["seconds"]:
        return True
    moves = np.abs(sensitivity(config, profile, row))
    known = [name not in profile.uncertainty.undetermined for name in profile.uncertainty.parameters]
    return bool(2 * moves[known].sum() >= moves.sum())


def cost_shares(config: Config, profile: Profile, row: Row) -> Vector:
    """The part of the phase's time that each cost accounts for, in the order of COSTS."""
    costs = _costs(profile, _cost_key(config))
    parts = _cost_counts(config, profile, row) * np.array([costs[name] for name in _NAMES])
    total = float(parts.sum())
    return np.asarray(parts / total if total else parts, np.float64)


def _cost_counts(config: Config, profile: Profile, row: Row) -> Vector:
    """How often the phase's time holds each cost, in the order of COSTS."""
    costs = _costs(profile, _cost_key(config))
    found = _guest_counts(config, row, costs) if row["accesses"] else _ioctl_counts(config, row, costs)
    return np.array([found.get(name, 0.0) for name in _NAMES])


def _guest_counts(config: Config, row: Row, costs: dict[str, float]) -> dict[str, float]:
    """The costs of a pass: those of the lock's holders one after the other where it is the bottleneck, else those of
    one vCPU; in between, a mixture of both."""
    slow = row["faults"] - row["faults_fast"]
    serial = _critical_sections(config, row)
    if config.mmu == "tdp":
        chain = {"line": 2.0 * slow}
    else:
        chain = {"hand_over": float(slow), "hand_over_doubling": _doublings(row, serial, slow, costs), **serial}
    huge = "" if row["pages_4k"] else "huge_"
    own = {
        "fault_outside": slow,
        "fault_fast": row["faults_fast"],
        "pml_entry": row["pml_entries"],
        "pml_exit": row["pml_exits"],
        f"{huge}read": row["reads"],
        f"{huge}write": row["writes"],
    }
    busy = sum(count * costs[name] for name, count in chain.items()) / row["seconds"]
    bound = min(1.0, max(0.0, 2 * busy - 1))  # 0 where the lock is idle half of the time, 1 where it never is
    counts = {name: (1 - bound) * count / config.vcpus for name, count in (own | serial | chain).items()}
    for name, count in chain.items():
        counts[name] += bound * count
    counts["stagger"] = 1 - bound
    return counts


def _critical_sections(config: Config, row: Row) -> dict[str, float]:
    """The costs inside the lock."""
    splits = row["splits_1g"] + row["splits_2m"]
    return {
        "map_hold": row["faults_not_present"],
        "fix_hold": row["faults_write_protect"] - row["faults_fast"],
        "table_hold": row["tables_allocated"],
        "drop_hold": row["tlb_flushes"],
        "flush_cpu": row["tlb_flushes"] * (config.vcpus - 1) if config.mmu == "tdp" else 0.0,
        "split_child": splits * 512,
    }


def _doublings(row: Row, serial: dict[str, float], slow: float, costs: dict[str, float]) -> float:
    """Doublings of those in line, over all hand-overs: as many wait as fit into the time that one does."""
    if not slow:
        return 0.0
    hold = sum(count * costs[name] for name, count in serial.items()) / slow
    doublings = 0.0
    for _ in range(20):  # it settles
        turn = hold + costs["hand_over"] + costs["hand_over_doubling"] * doublings
        waited = row["lock_wait_seconds"] / slow - (turn - hold)
        doublings = math.log2(1 + max(0.0, waited) / turn / 2) if turn else 0.0
    return slow * doublings


def _ioctl_counts(config: Config, row: Row, costs: dict[str, float]) -> dict[str, float]:
    """The costs of an ioctl; what the counts do not explain is the scan."""
    splits = row["splits_1g"] + row["splits_2m"]
    changed = row["write_protected"] + row["dirty_cleared"]
    words = config.pages / 64
    counts = {"split_child": splits * 512.0, "flush": float(row["tlb_flushes"] > 0) * config.slots}
    if config.mmu != "tdp" and config.kernel != "7.3":
        counts["flush_split"] = splits
    if row["phase"] in ("enable", "disable"):
        counts["slot"] = config.slots
    if row["phase"] == "enable":
        counts |= {"bitmap_page": config.pages, "protect": changed}
    elif row["phase"] == "get":
        first = {"get_first_word": words} if row["iteration"] == 1 else {}
        counts |= {"get_word": words, "clear_page": changed, **first}
    elif row["phase"] == "clear":
        walks = 1 + config.initially_all_set * (1 + (config.split == "eager"))
        counts |= {"protect" if splits else "clear_page": changed, "split_cache": splits}
        counts["clear_word"] = min(words, changed) if row["dirty_cleared"] else words
        counts["walk_root"] = counts["clear_word"] * walks
    else:
        dropped = row["zapped_4k"]
        looked_up = dropped if config.mmu == "legacy_tdp" and dropped else config.pages
        counts |= {
            "zap": dropped,
            "flush_table": row["tlb_flushes"] if config.mmu == "tdp" else 0.0,
            "host_level": looked_up if config.mmu == "legacy_tdp" else config.pages / 512,
        }
    scan = "walk_entry" if config.mmu == "tdp" else "scan_head"
    explained = sum(count * costs[name] for name, count in counts.items())
    if costs[scan]:
        counts[scan] = max(0.0, row["seconds"] - explained) / costs[scan]
    return counts


def _cost_key(config: Config) -> tuple[object, ...]:
    return tuple(getattr(config, name) for name in _COST_FIELDS)


def _costs_in_seconds(profile: Profile, key: tuple[object, ...]) -> dict[str, float]:
    config = Config(**dict(zip(_COST_FIELDS, key, strict=True)))  # type: ignore[arg-type]
    return {name: nanoseconds / 1e9 for name, nanoseconds in cost_nanoseconds(config, profile).items()}


@functools.lru_cache(maxsize=1024)  # every row of a config asks for them
def _costs(profile: Profile, key: tuple[object, ...]) -> dict[str, float]:
    return _costs_in_seconds(profile, key)


@functools.lru_cache(maxsize=1024)
def _cost_derivatives(profile: Profile, key: tuple[object, ...]) -> Vector:
    return _derivatives(profile, key, profile.uncertainty.parameters if profile.uncertainty else ())


def cost_derivatives(config: Config, profile: Profile, parameters: tuple[str, ...]) -> Vector:
    """d cost in seconds / d coordinate of a parameter: costs down, parameters across."""
    return _derivatives(profile, _cost_key(config), parameters)


def _derivatives(profile: Profile, key: tuple[object, ...], parameters: tuple[str, ...]) -> Vector:
    here = _costs_in_seconds(profile, key)
    columns = []
    for parameter in parameters:
        place = coordinate(parameter, profile[parameter]) + _STEP
        moved = dict(profile.values) | {parameter: value_at(parameter, place)}
        there = _costs_in_seconds(dataclasses.replace(profile, values=moved), key)
        columns.append([(there[name] - here[name]) / _STEP for name in _NAMES])
    return np.array(columns).T


@functools.lru_cache(maxsize=64)
def _covariance(profile: Profile) -> Vector:
    return np.array(profile.uncertainty.covariance if profile.uncertainty else ())
