"""Costs of one configuration: a profile's parameters and laws, evaluated to whole picoseconds.

Kernels add integers only, so a simulation is exact and the same on every machine. The laws that depend on the number
of vCPUs or on the size of the memory are evaluated here, once, in plain Python.
"""

from __future__ import annotations

import math
from typing import Final

from core.compiled.records import Record, layout, new_record
from core.config import Config
from core.costs.profile import Profile
from core.sizes import PAGES_PER_1G

PICOSECONDS = 1000  # in a nanosecond


COSTS: Final = layout(
    [
        "read",
        "write",
        "huge_read",
        "huge_write",
        "pml_entry",
        "pml_exit",
        "stagger",  # between the first and the last vCPU's start of a pass
        "fault_outside",
        "fault_fast",
        "map_hold",
        "fix_hold",
        "table_hold",
        "drop_hold",
        "flush_cpu",  # more for every other CPU in guest mode
        "split_child",
        "hand_over",  # of the write-held lock, with nobody else in line
        "hand_over_doubling",  # more for every doubling of the CPUs at it, beyond two
        "line",
        "lock_uncontended",
        "slot",
        "bitmap_page",
        "scan_head",
        "walk_entry",
        "protect",
        "split_cache",
        "clear_word",
        "walk_root",
        "clear_page",
        "get_word",
        "get_first_word",
        "zap",
        "host_level",
        "flush",
        "flush_table",  # after a table that a disable has dropped
        "flush_split",  # after a leaf that an eager split has replaced
        "kick",  # an exit that somebody else forces, and the way back
        "refill",  # of the TLB, if that was for a flush
        "timeslice",  # after which the ioctl thread has to let others run; 0: it has a CPU to itself
        "live_fault",  # what the live engine need not spin for
        "live_fast",
    ]
)
"""Everything that takes time, in picoseconds. The profile's PARAMETERS tell the meanings."""


def costs_of(config: Config, profile: Profile) -> Record:
    """The costs `profile` gives to `config`."""
    nanoseconds = cost_nanoseconds(config, profile)
    return new_record(COSTS, {name: round(value * PICOSECONDS) for name, value in nanoseconds.items()})


def cost_nanoseconds(config: Config, profile: Profile) -> dict[str, float]:
    """The same in nanoseconds, before they are rounded."""
    vcpus = config.vcpus
    direct = config.mmu in ("tdp", "legacy_tdp")
    crowding = 1 + (profile["guest.crowding"] if vcpus >= profile["machine.cpus"] else 0.0)
    guest = crowding * (1 + profile["guest.contention"] * min(1.0, vcpus / _cores(config, profile)))
    fault = crowding * (1 + (profile["fault.sibling"] if vcpus > _cores(config, profile) else 0.0))
    remote = max(0.0, 1 - profile["machine.node_gib"] * PAGES_PER_1G / config.pages)
    scan = 1 + profile["ioctl.remote_scan"] * remote
    update = 1 + profile["ioctl.remote_update"] * remote
    doublings = math.log2(vcpus)
    contended = vcpus > 1
    nested = "_nested" if config.mmu == "nested" else ""
    shadow = "" if direct else "shadow_"
    split = {"tdp": "tdp", "nested": "nested"}.get(config.mmu, "rmap")
    return {
        "read": (profile["guest.read_ns"] + profile["guest.small_leaf_ns"]) * guest + config.think_ns,
        "write": (profile["guest.write_ns"] + profile["guest.small_leaf_ns"]) * guest + config.think_ns,
        "huge_read": profile["guest.read_ns"] * guest + config.think_ns,
        "huge_write": profile["guest.write_ns"] * guest + config.think_ns,
        "pml_entry": profile["guest.pml_entry_ns"] * guest,
        "pml_exit": profile["guest.pml_exit_ns"] * guest,
        "stagger": profile["guest.stagger_log2_ns"] * doublings,
        "fault_outside": (profile["fault.outside_ns"] + (0 if direct else profile["fault.guest_walk_ns"])) * fault,
        "fault_fast": profile["fault.fast_ns"] * fault,
        "map_hold": profile[f"fault.{shadow}map_ns"],
        "fix_hold": profile[f"fault.{shadow}fix_ns"],
        "table_hold": profile["fault.table_ns"],
        "drop_hold": profile["fault.drop_ns"],
        "flush_cpu": profile["fault.flush_cpu_ns"],
        "split_child": profile[f"ioctl.split_{split}_ns"] * update,
        "hand_over": profile["lock.hand_base_ns" if contended else "lock.uncontended_ns"],
        "hand_over_doubling": profile["lock.hand_log2_ns"],
        "line": profile["lock.line_ns"] * min(1.0, _cores(config, profile) / vcpus),
        "lock_uncontended": profile["lock.uncontended_ns"],
        "slot": profile["ioctl.slot_ns"],
        "bitmap_page": profile["ioctl.bitmap_page_ns"],
        "scan_head": profile[f"ioctl.scan_head{nested}_ns"] * scan,
        "walk_entry": profile["ioctl.walk_entry_ns"] * scan,
        "protect": profile["ioctl.protect_ns"] * update,
        "split_cache": profile["ioctl.split_cache_ns"] * update if config.split_cache == "refilled" else 0.0,
        "clear_word": profile["ioctl.clear_word_ns"],
        "walk_root": profile["ioctl.walk_root_ns"] * scan if config.mmu in ("tdp", "nested") else 0.0,
        "clear_page": _clear_page(config, profile) * update,
        "get_word": profile["ioctl.get_word_ns"],
        "get_first_word": profile["ioctl.get_first_word_ns"],
        "zap": profile[f"ioctl.zap_{'tdp' if config.mmu == 'tdp' else 'rmap'}_ns"] * update,
        "host_level": profile["ioctl.host_level_ns"],
        "flush": profile["ioctl.flush_ns"],
        "flush_table": profile["ioctl.flush_ns"],
        "flush_split": profile["ioctl.flush_ns"],
        "kick": profile["guest.kick_ns"] * guest,
        "refill": profile["guest.tlb_refill_ns"] * guest,
        "timeslice": profile["machine.timeslice_ns"] if vcpus >= profile["machine.cpus"] else 0,
        "live_fault": profile["live.fault_ns"],
        "live_fast": profile["live.fast_ns"],
    }


def _cores(config: Config, profile: Profile) -> float:
    """Cores of the host: the profile's, or those of a larger host of its kind that has a CPU for every vCPU."""
    return profile["machine.cores"] * max(1.0, config.vcpus / profile["machine.cpus"])


def _clear_page(config: Config, profile: Profile) -> float:
    """Re-protecting one dirty page in a clear."""
    if config.mmu == "tdp":
        since_6_4 = config.kernel != "6.1"
        return profile["ioctl.clear_page_tdp_ns"] * (profile["ioctl.clear_since_6_4"] if since_6_4 else 1.0)
    return profile[f"ioctl.clear_page_{'dbit' if config.pml else 'protect'}_ns"]
