"""What is known of each cost without a measurement: its order of magnitude, and how far that may be off.

A fit starts from these, or from the profile of another host, and moves as far as the data say so; where they say
nothing, a prediction is as uncertain as these deviations. Costs may be 0, so fits move in a coordinate that is the
logarithm of a cost where it is above its order of magnitude, and nearly the cost itself close to 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

BELIEFS: Final[Mapping[str, tuple[float, float]]] = {
    "guest.read_ns": (8, 0.7),
    "guest.write_ns": (65, 0.3),  # a cache miss; 0.047 s for each of 96 vCPUs and its GiB (Skylake, 2021)
    "guest.small_leaf_ns": (10, 0.7),
    "guest.pml_entry_ns": (150, 0.5),
    "guest.pml_exit_ns": (2000, 0.4),
    "guest.kick_ns": (2000, 0.7),
    "guest.contention": (0.4, 0.7),
    "guest.stagger_log2_ns": (300_000, 0.8),
    "guest.crowding": (1.0, 0.3),  # two threads on one CPU get half of it each
    "fault.outside_ns": (1000, 0.4),
    "fault.guest_walk_ns": (100, 0.7),
    "fault.fast_ns": (900, 0.4),
    "fault.sibling": (0.4, 0.5),  # two busy hyperthreads give 1.2 to 1.5 times the work of one
    "fault.map_ns": (20, 0.7),
    "fault.fix_ns": (20, 0.7),
    "fault.shadow_map_ns": (150, 0.7),
    "fault.shadow_fix_ns": (80, 0.7),
    "fault.table_ns": (200, 0.7),
    "fault.drop_ns": (2000, 0.7),
    "fault.flush_cpu_ns": (1000, 0.5),  # an interrupt and its answer: 73 us for 64 CPUs (huge page recovery, 2024)
    "lock.hand_base_ns": (250, 0.5),
    "lock.hand_log2_ns": (150, 0.5),
    "lock.line_ns": (100, 0.4),  # a cache line from another core, often of the other socket
    "lock.uncontended_ns": (20, 0.7),
    "ioctl.slot_ns": (20_000, 0.7),
    "ioctl.bitmap_page_ns": (0.07, 0.5),  # two bits, cleared at some GB/s
    "ioctl.scan_head_ns": (3, 0.5),
    "ioctl.scan_head_nested_ns": (2.7, 0.5),
    "ioctl.walk_entry_ns": (4, 0.7),
    "ioctl.protect_ns": (10, 0.5),
    "ioctl.split_tdp_ns": (30, 0.5),
    "ioctl.split_rmap_ns": (35, 0.5),
    "ioctl.split_nested_ns": (25, 0.5),
    "ioctl.split_cache_ns": (25_000, 0.5),
    "ioctl.clear_page_tdp_ns": (30, 0.5),
    "ioctl.clear_since_6_4": (0.55, 0.2),  # 160 vCPUs: a clear of 3.145 s takes 1.883 s, its walks included
    "ioctl.clear_page_dbit_ns": (28, 0.5),
    "ioctl.clear_page_protect_ns": (15, 0.5),
    "ioctl.clear_word_ns": (25, 0.7),  # an atomic exchange and a few calls
    "ioctl.walk_root_ns": (35, 0.5),
    "ioctl.get_word_ns": (1.6, 0.4),
    "ioctl.get_first_word_ns": (1.6, 0.4),  # a page fault of the host for every 512 words
    "ioctl.zap_tdp_ns": (70, 0.4),  # 71 ns a page in place (huge page recovery, 2024), "about 3 s" for 96 GiB (5.19)
    "ioctl.zap_rmap_ns": (75, 0.4),  # with the next, 142 ns a page (Skylake, 2021)
    "ioctl.host_level_ns": (28, 0.5),
    "ioctl.flush_ns": (2000, 0.5),
    "ioctl.remote_scan": (1.0, 0.7),  # remote memory takes about twice as long
    "ioctl.remote_update": (0.6, 0.7),
}
"""For each parameter that is fitted: what it is taken to be without data, and the deviation of its logarithm."""

LIKENESS: Final[Mapping[str, tuple[str, float]]] = {
    "fault.fast_ns": ("fault.outside_ns", 0.15),
    "fault.shadow_fix_ns": ("fault.shadow_map_ns", 0.3),
    "ioctl.scan_head_nested_ns": ("ioctl.scan_head_ns", 0.2),
    "ioctl.split_tdp_ns": ("ioctl.split_rmap_ns", 0.3),
    "ioctl.split_nested_ns": ("ioctl.split_rmap_ns", 0.3),
    "ioctl.clear_page_tdp_ns": ("ioctl.clear_page_dbit_ns", 0.3),
    "ioctl.clear_page_protect_ns": ("ioctl.clear_page_dbit_ns", 0.3),
}
"""Siblings: a parameter, the one that its ratio to is known better, and the deviation of that ratio's logarithm."""

_NEAR_ZERO: Final = 1 / 20
"""Part of its order of magnitude below which a cost's coordinate is no logarithm any more."""


def coordinate(parameter: str, value: float) -> float:
    """Where a parameter's value lies in the space that fits move in."""
    return math.log(value + BELIEFS[parameter][0] * _NEAR_ZERO)


def value_at(parameter: str, place: float) -> float:
    """The value of a parameter at a coordinate; 0 at the lowest."""
    return max(0.0, math.exp(place) - BELIEFS[parameter][0] * _NEAR_ZERO)
