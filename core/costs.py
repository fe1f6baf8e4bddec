"""Costs of one configuration: a profile's parameters and laws, evaluated to whole picoseconds.

Kernels add integers only, so a simulation is exact and the same on every machine. The laws that depend on the number
of vCPUs or on the size of the memory are evaluated here, once, in plain Python.
"""

from __future__ import annotations

import math
from typing import Final

from core.config import Config
from core.profile import Profile
from core.records import Record, layout, new_record

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
    ]
)
"""Everything that takes time, in picoseconds. The profile's PARAMETERS tell the meanings."""


def costs_of(config: Config, profile: Profile) -> Record:
    """The costs `profile` gives to `config`."""
    vcpus, mmu = config.vcpus, config.mmu
    guest = 1 + profile["guest.memory_log2"] * math.log2(max(1.0, vcpus / 4))
    remote = _remote_share(config, profile)
    scan = 1 + profile["ioctl.remote_scan"] * remote
    update = 1 + profile["ioctl.remote_update"] * remote
    doublings = math.log2(vcpus)
    values = {
        "read": _picoseconds(profile["guest.read_ns"] * guest),
        "write": _picoseconds(profile["guest.write_ns"] * guest),
        "huge_access": _picoseconds(profile["guest.huge_access_ns"] * guest),
        "pml_entry": _picoseconds(profile["guest.pml_entry_ns"] * guest),
        "pml_exit": _picoseconds(profile["guest.pml_exit_ns"] * guest),
        "stagger": _picoseconds(profile["guest.stagger_log2_ns"] * doublings),
        "fault_outside": _picoseconds(profile[f"fault.outside_{mmu}_ns"]),
        "fault_fast": _picoseconds(profile["fault.fast_ns"]),
        "map_hold": _picoseconds(profile[f"fault.map_{mmu}_ns"]),
        "fix_hold": _picoseconds(profile[f"fault.fix_{mmu}_ns"]),
        "table_hold": _picoseconds(profile["fault.table_ns"]),
        "drop_hold": _picoseconds(profile["fault.drop_ns"]),
        "split_child": _picoseconds(profile[f"ioctl.split_{mmu}_ns"] * update),
        "hand_over": _picoseconds(profile["lock.hand_base_ns"] + profile["lock.hand_log2_ns"] * doublings),
        "line": _picoseconds(profile["lock.line_ns"]),
        "lock_uncontended": _picoseconds(profile["lock.uncontended_ns"]),
        "bitmap_page": _picoseconds(profile["ioctl.bitmap_page_ns"]),
        "scan_head": _picoseconds(profile["ioctl.scan_head_ns"] * scan),
        "walk_entry": _picoseconds(profile["ioctl.walk_entry_ns"] * scan),
        "protect": _picoseconds(profile["ioctl.protect_ns"] * update),
        "clear_word": _picoseconds(profile["ioctl.clear_word_ns"] * update),
        "clear_split_page": _picoseconds(profile[f"ioctl.clear_split_{mmu}_ns"] * update),
        "clear_page": _picoseconds(profile[f"ioctl.clear_page_{mmu}_ns"] * update),
        "get_word": _picoseconds(profile["ioctl.get_word_ns"]),
        "zap": _picoseconds(profile["ioctl.zap_ns"] * update),
        "flush": _picoseconds(profile["ioctl.flush_ns"] + profile["ioctl.flush_vcpu_ns"] * vcpus),
    }
    return new_record(COSTS, values)


def _remote_share(config: Config, profile: Profile) -> float:
    """The part of KVM's metadata that lies beyond the first NUMA node: 0 up to node_gib, towards 1 far above it."""
    gib = config.pages / 2**18
    return max(0.0, 1 - profile["ioctl.node_gib"] / gib)


def _picoseconds(nanoseconds: float) -> int:
    return round(nanoseconds * PICOSECONDS)
