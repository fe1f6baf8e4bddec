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
        "huge_access",
        "pml_entry",
        "pml_exit",
        "stagger",  # between the first and the last vCPU's start of a pass
        "fault_outside",
        "fault_fast",
        "map_hold",
        "fix_hold",
        "table_hold",
        "drop_hold",
        "split_child",
        "hand_over",  # of the write-held lock among this configuration's vCPUs
        "line",
        "lock_uncontended",
        "slot",
        "bitmap_page",
        "scan_head",
        "walk_entry",
        "protect",
        "clear_word",
        "clear_split_page",
        "clear_page",
        "get_word",
        "zap",
        "flush",
        "kick",  # an exit that somebody else forces, and the way back
        "timeslice",  # after which the ioctl thread has to let others run; 0: it has a CPU to itself
        "live_fault",  # what the live engine need not spin for
        "live_fast",
    ]
)
"""Everything that takes time, in picoseconds. The profile's PARAMETERS tell the meanings."""


def costs_of(config: Config, profile: Profile) -> Record:
    """The costs `profile` gives to `config`."""
    vcpus = config.vcpus
    direct = config.mmu in ("tdp", "legacy_tdp")
    crowding = 1 + (profile["guest.crowding"] if vcpus >= profile["machine.cpus"] else 0.0)
    guest = crowding * (1 + profile["guest.contention"] * min(1.0, vcpus / _cores(config, profile)))
    fault = crowding * (1 + (profile["fault.sibling"] if vcpus > _cores(config, profile) else 0.0))
    remote = max(0.0, 1 - profile["machine.node_gib"] * PAGES_PER_1G / config.pages)
    scan = 1 + profile["ioctl.remote_scan"] * remote
    update = 1 + profile["ioctl.remote_update"] * remote
    doublings = math.log2(vcpus)
    tracking = "dbit" if direct else "protect"
    nested = "_nested" if config.mmu == "nested" else ""
    shadow = "" if direct else "shadow_"
    split = {"tdp": "tdp", "nested": "nested"}.get(config.mmu, "rmap")
    nanoseconds = {
        "read": profile["guest.read_ns"] * guest + config.think_ns,
        "write": profile["guest.write_ns"] * guest + config.think_ns,
        "huge_access": profile["guest.huge_access_ns"] * guest + config.think_ns,
        "pml_entry": profile["guest.pml_entry_ns"] * guest,
        "pml_exit": profile["guest.pml_exit_ns"] * guest,
        "stagger": profile["guest.stagger_log2_ns"] * doublings,
        "fault_outside": (profile["fault.outside_ns"] + (0 if direct else profile["fault.guest_walk_ns"])) * fault,
        "fault_fast": profile["fault.fast_ns"] * fault,
        "map_hold": profile[f"fault.{shadow}map_ns"],
        "fix_hold": profile[f"fault.{shadow}fix_ns"],
        "table_hold": profile["fault.table_ns"],
        "drop_hold": profile["fault.drop_ns"],
        "split_child": profile[f"ioctl.split_{split}_ns"] * update,
        "hand_over": _hand_over(config, profile),
        "line": profile["lock.line_ns"] * min(1.0, _cores(config, profile) / vcpus),
        "lock_uncontended": profile["lock.uncontended_ns"],
        "slot": profile["ioctl.slot_ns"],
        "bitmap_page": profile["ioctl.bitmap_page_ns"],
        "scan_head": profile[f"ioctl.scan_head{nested}_ns"] * scan,
        "walk_entry": profile["ioctl.walk_entry_ns"] * scan,
        "protect": profile["ioctl.protect_ns"] * update,
        "clear_word": profile[f"ioctl.clear_word{nested}_ns"] * scan,
        "clear_split_page": profile[f"ioctl.clear_split_{tracking}_ns"] * update,
        "clear_page": profile[f"ioctl.clear_page_{'tdp' if config.mmu == 'tdp' else tracking}_ns"] * update,
        "get_word": profile["ioctl.get_word_ns"],
        "zap": profile[f"ioctl.zap_{'tdp' if config.mmu == 'tdp' else 'rmap'}_ns"] * update,
        "flush": profile["ioctl.flush_ns"] + profile["ioctl.flush_vcpu_ns"] * vcpus,
        "kick": profile["guest.kick_ns"] * guest,
        "timeslice": profile["machine.timeslice_ns"] if vcpus >= profile["machine.cpus"] else 0,
        "live_fault": profile["live.fault_ns"],
        "live_fast": profile["live.fast_ns"],
    }
    return new_record(COSTS, {name: round(value * PICOSECONDS) for name, value in nanoseconds.items()})


def _cores(config: Config, profile: Profile) -> float:
    """Cores of the host: the profile's, or those of a larger host of its kind that has a CPU for every vCPU."""
    return profile["machine.cores"] * max(1.0, config.vcpus / profile["machine.cpus"])


def _hand_over(config: Config, profile: Profile) -> float:
    """Handing the write-held lock to the next of the vCPUs that share it."""
    if config.vcpus == 1:
        return profile["lock.uncontended_ns"]
    return profile["lock.hand_base_ns"] + profile["lock.hand_log2_ns"] * math.log2(config.vcpus)
