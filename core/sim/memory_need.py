"""How much of the host's memory a simulation takes: told before it starts, from the sizes of its arrays.

Arrays are reserved for the worst, in which no two chunks of the guest's memory are alike, and the system gives their
pages when they are first used. Where all chunks go through the same states in order, most of them share a block
(core/mmu/block.py), and little of what is reserved is used.
"""

from __future__ import annotations

from typing import Final

from core.config import Config
from core.shares import write_period
from core.sizes import LEVELS, PAGES_PER_2M

PROCESS_BYTES: Final = 160 * 2**20
"""A process with the simulator loaded."""

_VCPU_BYTES: Final = 8 * 2**10
"""State, PML buffer, events and marks of a vCPU."""

_CHUNK_BYTES: Final = 12
"""The number of a chunk's block; and for each block how often it is used, and its place among those that are free."""

_BITMAP_BYTES: Final = 3 * PAGES_PER_2M // 8
"""KVM's dirty bitmap, user space's copy, and the pages written in a pass."""

_BLOCKS_OF_VCPU: Final = 512
"""Blocks that a vCPU's chunks take, more or less, until a pass repeats itself and is no longer stepped through."""


def needed_bytes(config: Config) -> int:
    """What a simulation of the config is expected to use, with its process."""
    chunks, block = _chunks(config), _block_bytes(config)
    in_order = config.access_order == "sequential" and config.write_pattern == "stride" and config.skew == 100
    used = min(chunks, _BLOCKS_OF_VCPU * config.vcpus) if in_order else chunks
    return PROCESS_BYTES + config.vcpus * _VCPU_BYTES + chunks * _CHUNK_BYTES + used * block


def reserved_bytes(config: Config) -> int:
    """The address space of its arrays, most of which may never be used."""
    return config.vcpus * _VCPU_BYTES + _chunks(config) * (_CHUNK_BYTES + _block_bytes(config))


def _chunks(config: Config) -> int:
    """Chunks, and the blocks that are kept besides (core/tables.py)."""
    return config.pages // PAGES_PER_2M + 2 + (config.vcpus + 2) * (write_period(config) + 2)


def _block_bytes(config: Config) -> int:
    """Page tables of each root that has its own, what is known of the host's pages and the guest's, and bitmaps."""
    guest_level = LEVELS[config.guest_page] if config.guest_page else 0
    own_level_1, own_level_2 = (config.guest_roots if guest_level <= level else 1 for level in (1, 2))
    pages = PAGES_PER_2M if config.backing == "4K" else 1
    guest_pages = PAGES_PER_2M if config.mmu == "shadow" and config.guest_page == "4K" else 1
    return own_level_1 * PAGES_PER_2M + own_level_2 + pages + guest_pages + _BITMAP_BYTES
