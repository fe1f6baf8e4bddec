"""Guest memory as KVM sees it: where the test region lies, its page tables (one byte per SPTE) and its dirty bitmaps.

An entry of level 1 maps 4K, of level 2 2M, of level 3 1G; of level 4 only the presence of its table is kept. A `page`
is counted from the 2M boundary below the region, so that page >> 9 is its 2M region.

Every root of the guest (a task's, an L2 VM's) has entries of its own down to the size with which the guest maps its
memory. Below a guest's huge page the tables are direct ones, which KVM finds by gfn and role: all roots share them.

Memory is cut into chunks of 512 pages, counted from the first page of the guest. All that is kept about the pages of a
chunk, the level-2 entries included, is its block. Chunks in the same state share a block, and get one of their own when
they are to change (core.mmu.block): so what is kept grows with the number of different states, not of pages.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from core.compiled.records import Record, layout, new_record
from core.config import Config
from core.shares import are_vcpus_disjoint, share_unit, write_period, write_stride
from core.sizes import LEVELS, PAGE_BYTES, PAGE_SIZES, PAGES_PER_1G, PAGES_PER_2M

Bytes = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint64]
Counts = npt.NDArray[np.int32]


MACHINE: Final = layout(
    [
        "vcpus",
        "pages",
        "pages_per_vcpu",
        "share",  # pages that each vCPU may visit: its own, or all
        "working_set",  # those that it visits in every pass after populate: the first of its share
        "skew",  # percent of the accesses that go there
        "pages_per_slot",
        "slots",
        "roots",
        "roots_1",  # roots that have level-1 entries of their own; 1 where all share them
        "roots_2",  # the same for level 2
        "shared_level",  # tables below entries of this level are shared by several roots; 0: none are
        "first",  # `page` of the first page of guest memory
        "entries",  # level-1 entries under one root
        "chunks",
        "chunk_start",  # `page` where chunk 0 starts: chunk r holds the level-2 entries of region r, too
        "blocks",  # room for so many
        "region_shift",  # offset of the first 2M region within its 1G
        "gigs",  # level-3 entries under one root
        "level2",  # index in sptes of the first level-2 entry
        "level3",  # index of the first level-3 entry
        "level4",  # index of the first level-4 entry
        "backing_shift",  # log2 of the pages in one page of the host's backing
        "guest_shift",  # shadow: log2 of the pages in one page of the guest's own tables; -1 elsewhere
        "leaf_level",
        "track_level",
        "eager",  # enable and clear split huge leaves
        "fault_splits",  # a write to a read-only huge leaf splits it; else it drops the leaf
        "concurrent",  # the vCPUs run while the ioctls do
        "breaks_lock",  # the kernel lets the ioctl thread give up a contended lock before it has to
        "clear_pages",  # pages of guest memory that one clear takes; 0: a whole slot
        "two_parts",  # running vCPUs: enable and disable walk the shadow pages, and then L1's tree, the TDP MMU's
        "rmap",  # an rmap MMU: ioctls visit rmap heads
        "faults_write_lock",  # faults take mmu_lock for write, as all of an rmap MMU's work does
        "has_fast_fault",  # fast_page_fault exists
        "pml",  # tracked leaves are logged by D-bit and PML, not by write-protection
        "all_set",
        "manual",
        "collapse_in_place",  # disable puts a huge leaf in the place of a table (7.3, TDP MMU)
        "flush_each_split",  # eager splits of the rmap MMUs flush one by one (up to 6.12)
        "partitioned",  # no two vCPUs visit the same page
        "share_unit",  # pages that vCPUs share as a whole if they share any of them
        "vcpus_disjoint",  # each vCPU's share holds whole units, so that nothing is shared
        "write_percent",
        "write_stride",  # every so many pages one is written; 0: write_percent pages in every 100
        "random_writes",
        "random_order",
        "seed",
    ]
)
"""What the kernels need to know of a Config, as plain integers (flags are 0 or 1)."""


WORDS_PER_BLOCK: Final = PAGES_PER_2M // 64


class Memory(NamedTuple):
    """The state the engines share: page tables, host pages, dirty bitmaps. Entries change by compare-and-swap."""

    block_of: Counts  # per chunk
    references: Counts  # per block: chunks that share it, and others that want it unchanged
    free_blocks: Counts  # those that nobody refers to any more, a stack
    block_counts: Counts  # how many blocks are free, and how many were ever used
    sptes: Bytes  # per block roots_1 x 512 of level 1; then roots_2 of level 2 per block; then levels 3, 4 per root
    host_writable: Bytes  # per backing page, block by block up to 2M: the host has given it a writable page
    guest_dirty: Bytes  # shadow: per page of the guest's tables, the D-bit of the guest's entry
    dirty: Words  # per block 512 bits of KVM's dirty bitmap
    reported: Words  # per block 512 bits of user space's copy, filled by get and handed back by clear
    written: Words  # pages written in this pass, in order; empty where a page's visits are all alike


class SharedMemory(Memory):
    """Memory that processes share: its entries and bits change by atomic operations (core.mmu.change)."""

    __slots__ = ()


def machine_of(config: Config) -> Record:
    """The integers of `config`, with the geometry of the selftest.

    The test places its region at the top of guest-physical space, leaves one page above it free, and aligns the start
    down to the backing size: so with 4K backing it starts one page below a 2M boundary. Shadow paging shadows the
    guest's own tables, which start at a 1G boundary of guest-virtual space.
    """
    backing_pages = PAGE_SIZES[config.backing]
    start = 0 if config.mmu == "shadow" else -(config.pages + 1) // backing_pages * backing_pages
    first = start % PAGES_PER_2M
    region_shift = start % PAGES_PER_1G // PAGES_PER_2M
    regions = -(-(first + config.pages) // PAGES_PER_2M)
    chunk_start = first - PAGES_PER_2M if first else 0
    chunks = (first + config.pages - 1 - chunk_start) // PAGES_PER_2M + 1
    blocks = chunks + blocks_kept(config) + 1
    gigs = -(-(region_shift + regions) // 512)
    roots = config.guest_roots
    guest_level = LEVELS[config.guest_page] if config.guest_page else 0
    roots_1, roots_2 = (roots if guest_level <= level else 1 for level in (1, 2))
    level3 = blocks * (roots_1 * PAGES_PER_2M + roots_2)
    tdp = config.mmu == "tdp"
    values = {
        "vcpus": config.vcpus,
        "pages": config.pages,
        "pages_per_vcpu": config.pages_per_vcpu,
        "share": config.pages_in_share,
        "working_set": config.pages_in_working_set,
        "skew": config.skew,
        "pages_per_slot": config.pages_per_slot,
        "slots": config.slots,
        "roots": roots,
        "roots_1": roots_1,
        "roots_2": roots_2,
        "shared_level": guest_level if roots > 1 and guest_level > 1 else 0,
        "first": first,
        "entries": regions * PAGES_PER_2M,
        "chunks": chunks,
        "chunk_start": chunk_start,
        "blocks": blocks,
        "region_shift": region_shift,
        "gigs": gigs,
        "level2": blocks * roots_1 * PAGES_PER_2M,
        "level3": level3,
        "level4": level3 + roots * gigs,
        "backing_shift": backing_pages.bit_length() - 1,
        "guest_shift": _guest_shift(config),
        "leaf_level": config.leaf_level,
        "track_level": LEVELS[config.granularity],
        "eager": int(config.split == "eager"),
        # Eager splitting acts in the ioctls. A write fault that meets a huge leaf all the same splits it only where
        # the kernel splits at fault time: the TDP MMU since 6.2.
        "fault_splits": int(config.split == "fault" or (tdp and config.split == "eager" and config.kernel != "6.1")),
        "concurrent": int(config.concurrent),
        "breaks_lock": int(config.preempt == "full"),
        "clear_pages": config.clear_chunk // PAGE_BYTES,
        "two_parts": int(config.mmu == "nested" and config.concurrent),
        "rmap": int(not tdp),
        "faults_write_lock": int(not tdp),
        "has_fast_fault": int(config.mmu in ("tdp", "legacy_tdp")),
        "pml": int(config.pml),
        "all_set": int(config.initially_all_set),
        "manual": int(config.manual_protect),
        "collapse_in_place": int(tdp and config.kernel == "7.3"),
        "flush_each_split": int(not tdp and config.kernel != "7.3"),
        "partitioned": int(config.partitioned or config.vcpus == 1),
        "share_unit": share_unit(config),
        "vcpus_disjoint": int(are_vcpus_disjoint(config)),
        "write_percent": config.write_percent,
        "write_stride": write_stride(config.write_percent),
        "random_writes": int(config.write_pattern == "random"),
        "random_order": int(config.access_order == "random"),
        "seed": config.seed,
    }
    return new_record(MACHINE, values)


def memory_arrays(machine: Record) -> dict[str, tuple[type[np.generic], int]]:
    """The type and length of each array of `machine`'s memory."""
    blocks = int(machine.blocks)
    may_repeat = not machine.partitioned or machine.concurrent or machine.skew < 100
    may_repeat = may_repeat or (machine.random_writes and machine.roots > 1)
    return {
        "block_of": (np.int32, int(machine.chunks)),
        "references": (np.int32, blocks),
        "free_blocks": (np.int32, blocks),
        "block_counts": (np.int32, 2),
        "sptes": (np.uint8, int(machine.level4 + machine.roots * (machine.gigs // 512 + 1))),
        "host_writable": (np.uint8, _page_states(machine, int(machine.backing_shift))),
        "guest_dirty": (np.uint8, _page_states(machine, int(machine.guest_shift))),
        "dirty": (np.uint64, blocks * WORDS_PER_BLOCK),
        "reported": (np.uint64, blocks * WORDS_PER_BLOCK),
        "written": (np.uint64, -(-int(machine.pages) // 64) if may_repeat else 0),
    }


def new_memory(machine: Record) -> Memory:
    """Empty tables and bitmaps for `machine`: all chunks share block 0, which stays as it is.

    Nothing is touched here but the blocks' numbers: the system gives the pages of the rest when they are first used.
    """
    memory = Memory(**{name: np.zeros(size, kind) for name, (kind, size) in memory_arrays(machine).items()})
    memory.references[0] = machine.chunks + 1
    memory.block_counts[1] = 1
    return memory


def prepare_shared_memory(memory: SharedMemory) -> None:
    """Give each chunk a block of its own, for good: processes cannot agree on sharing one."""
    chunks = memory.block_of.size
    memory.block_of[:] = np.arange(chunks)
    memory.references[:] = 1
    memory.block_counts[1] = chunks


def bitmap_in_order(machine: Record, memory: Memory, words: Words) -> Words:
    """The words of `dirty` or `reported` in the order of the guest's pages."""
    first = int(machine.first - machine.chunk_start) // PAGES_PER_2M
    of_chunks: Words = words.reshape(-1, WORDS_PER_BLOCK)[memory.block_of[first:]].ravel()
    return of_chunks[: machine.pages // 64]


def _page_states(machine: Record, shift: int) -> int:
    """How many pages of 2**shift pages a block, or the guest, holds."""
    if shift < 0:
        return 0
    return int(machine.blocks) * PAGES_PER_2M >> shift if shift <= 9 else (int(machine.pages) >> shift) + 1


def blocks_kept(config: Config) -> int:
    """Blocks that fast-forwarding keeps unchanged at most: a period of every vCPU's, and of the ioctl's units."""
    return (config.vcpus + 2) * (write_period(config) + 2)


def _guest_shift(config: Config) -> int:
    if config.mmu != "shadow" or config.guest_page is None:
        return -1
    return PAGE_SIZES[config.guest_page].bit_length() - 1
