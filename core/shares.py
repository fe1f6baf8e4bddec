"""What a config says of the vCPUs' shares of memory: after how many pages they repeat, and whether they overlap."""

from __future__ import annotations

import math

from core.config import Config
from core.sizes import PAGE_SIZES, PAGES_PER_2M


def write_stride(write_percent: int) -> int:
    """F where the selftest's `-f F` writes that percentage, rounded down; 0 where no F does, or 100 / F is whole.

    33% is every third page, as the selftest does it. Where F divides 100, counting in hundreds says the same.
    """
    stride = 100 // write_percent if write_percent else 0
    return stride if stride and 100 // stride == write_percent and 100 % stride else 0


def write_period(config: Config) -> int:
    """Pages after which the pattern of writes repeats; 0 where it never does."""
    if config.write_pattern == "random" or config.access_order == "random":
        return 0
    return write_stride(config.write_percent) or 100 // math.gcd(100, config.write_percent)


def share_unit(config: Config) -> int:
    """Pages of the largest thing that two vCPUs may share: a leaf, a page of the backing, or a word of the bitmap.

    With several roots the first vCPU that links a table they share maps what is in it for the others of its root.
    """
    leaf: int = PAGES_PER_2M ** (config.leaf_level - 1)
    unit = max(leaf, PAGE_SIZES[config.backing], 64)
    if config.guest_roots > 1 and config.guest_page is not None:
        unit = max(unit, PAGE_SIZES[config.guest_page])
    return unit


def are_vcpus_disjoint(config: Config) -> bool:
    """Whether each vCPU's share holds whole units, so that nothing is shared."""
    return config.vcpus == 1 or (config.partitioned and config.pages_per_vcpu % share_unit(config) == 0)
