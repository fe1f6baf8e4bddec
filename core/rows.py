"""The result schema: every column of the `runs` and `phases` tables, with its type and meaning.

All engines fill the same columns; `sweep` stores them as they stand here. Counts are exact, times are seconds
unless the name says otherwise.
"""

from __future__ import annotations

import types
import typing
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from core.config import CHOICES, CONCURRENT_FIELDS, FIELDS, LIVE_FIELDS, OPTIONAL_FIELDS, RENAMED, SIZES

SCHEMA_VERSION: Final = "2"
"""Version of the columns: raised when one is renamed or changes its meaning. Later ones just come along."""

FORMER_NAMES: Final = {
    "guest_seconds": "time_guest_s",
    "exit_seconds": "time_exit_s",
    "lock_wait_seconds": "time_lock_wait_s",
    "lock_hold_seconds": "time_lock_hold_s",
    "other_seconds": "time_other_s",
    **{new: former for former, new in RENAMED.items()},
}
"""What version 1 called a column."""

UNITS: Final = {"seconds_": "s", "_ns_": "ns", "_bytes_": "bytes", "_percent_": "%"}
"""Part of a column's name, with `_` behind it, that says its unit."""


@dataclass(frozen=True, slots=True)
class Column:
    """One result column. `kind` is int, float, str, bool, datetime (UTC) or list (of bins); any may be null."""

    name: str
    kind: type
    meaning: str
    choices: tuple[str, ...] = ()  # the texts there are, where they are few
    kvm: str = ""  # where KVM itself tells the same number: a stat, a tracepoint or an ioctl

    @property
    def unit(self) -> str:
        """The unit of a number: in its name, or none."""
        if self.kind not in (int, float):
            return ""
        if self.name in SIZES:
            return "bytes"
        return next((unit for ending, unit in UNITS.items() if ending in f"{self.name}_"), "")


LATER_FIELDS: Final = {**LIVE_FIELDS, **CONCURRENT_FIELDS, **OPTIONAL_FIELDS}
"""Fields that came later, with the value that they had before there was a choice: of rows that lack them."""

FIELD_MEANINGS: Final = {
    "vcpus": "vCPUs, each with its own share of the memory",
    "mem_per_vcpu": "memory per vCPU",
    "backing": "the host's pages: bounds the leaves",
    "write_percent": "accesses that write",
    "write_pattern": "which pages are written: every Fth, or drawn by the selftest's generator",
    "access_order": "order of the pages in a pass",
    "working_set": "percent of its share that a vCPU visits after populate, from the first page on",
    "skew": "percent of the accesses that go to the working set; the others go round the rest of the share",
    "partitioned": "each vCPU its own share of the memory, or all of them all of it",
    "mmu": "TDP MMU; ept=Y tdp_mmu=N; ept=N; an L2 guest",
    "split": "huge pages split when enabling or clearing; dropped and refaulted; whole at the first fault",
    "split_cache": "the cache of pages between the splits of a clear: kept, or refilled for each (v1 of the series)",
    "pml": "D-bits and PML, or write-protection",
    "initially_all_set": "the first clear does the work instead of enable",
    "manual_protect": "get only reads, clear re-protects",
    "granularity": "what dirty logging tracks",
    "guest_page": "the size with which the guest maps its memory, where that has a meaning",
    "guest_roots": "guest tasks (shadow) or L2 VMs (nested) that map the same memory",
    "slots": "memslots",
    "iterations": "passes with logging on",
    "populate_writes": "the first pass writes everything, or follows the write pattern",
    "kernel": "generation of KVM, where they differ",
    "concurrent": "the vCPUs run while the ioctls do",
    "preempt": "concurrent: the preemption model of the host's kernel",
    "clear_chunk": "concurrent: guest memory that one clear ioctl takes; 0: a whole slot",
    "think_ns": "concurrent: what the guest computes between two accesses",
    "seed": "seed of random writes and orders",
    "engine": "the simulator, processes of a machine measured, or KVM itself measured and imported",
    "touch_memory": "live engine: accesses go to real memory too",
    "pin_vcpus": "live engine: each vCPU process stays on one CPU",
    "profile": "the costs, by the name of their profile",
    "repeat": "tells repeated runs apart",
    "label": "the user's own word for what was run, empty if none",
}


def _config_columns() -> tuple[Column, ...]:
    columns = [Column("config_id", str, "stable hash of the config, the profile's content and the engine's version")]
    for name, hint in FIELDS.items():
        kind = typing.get_args(hint)[0] if isinstance(hint, types.UnionType) else hint
        columns.append(Column(name, kind, FIELD_MEANINGS[name], CHOICES.get(name, ())))
    return tuple(columns)


CONFIG_COLUMNS: Final = _config_columns()

PROVENANCE_COLUMNS: Final = (
    Column("engine_version", str, "version of the engine's semantics"),
    Column("profile_digest", str, "digest of the profile's content, whatever its file is called"),
    Column("host", str, "name of the machine"),
    Column("kernel_release", str, "kernel of the machine, as uname -r says"),
    Column("source", str, "where the numbers come from: run, or the file they were imported from"),
    Column("started_at", datetime, "when the run was started"),
    Column("git_revision", str, "revision of splitsweep, if run from a checkout"),
)
"""Where a row comes from: the same in the row of a run and in those of its phases."""

PHASE_NAMES: Final = ("populate", "enable", "dirty", "get", "clear", "disable", "after_disable")

RUN_COLUMNS: Final = (
    *CONFIG_COLUMNS,
    *PROVENANCE_COLUMNS,
    Column("status", str, "whether there are phases", ("ok", "failed")),
    Column("error_type", str, "class of the error of a failed run"),
    Column("error", str, "message of the error of a failed run"),
    Column("attempts", int, "times the run was started"),
    Column("wall_seconds", float, "wall-clock time the engine took"),
    Column("cpu_seconds", float, "CPU time the engine took"),
    Column("peak_rss_bytes", int, "largest resident memory of the worker process so far"),
    Column("node_cpus", int, "CPUs the worker's machine offers"),
    Column("cpu_model", str, "what the machine calls its CPUs (this and the next five: live engine)"),
    Column("cores", int, "physical cores of the machine that are online"),
    Column("numa_nodes", int, "NUMA nodes of the machine that are online"),
    Column("huge_pages", str, "huge pages of the machine: when it gives them by itself, and how many are set aside"),
    Column("load_at_start", float, "load average of the last minute, before the run"),
    Column("oversubscribed", bool, "more vCPUs than CPUs that the run could use"),
)

COUNT_COLUMNS: Final = (
    Column("accesses", int, "guest accesses"),
    Column("reads", int, "guest reads"),
    Column("writes", int, "guest writes"),
    Column("pages_written", int, "distinct 4K pages written"),
    Column("faults", int, "page faults, all kinds", kvm="vCPU stat pf_taken; tracepoint kvm_page_fault"),
    Column("faults_not_present", int, "faults on an unmapped page"),
    Column("faults_not_present_read", int, "those of them by reads"),
    Column("faults_write_protect", int, "writes to a read-only leaf"),
    Column(
        "faults_fast",
        int,
        "faults fixed lock-free by fast_page_fault",
        kvm="vCPU stat pf_fast; tracepoint fast_page_fault",
    ),
    Column("faults_spurious", int, "faults another vCPU had resolved already", kvm="vCPU stat pf_spurious"),
    Column("splits_1g", int, "1G leaves split", kvm="tracepoint kvm_mmu_split_huge_page, level 3"),
    Column("splits_2m", int, "2M leaves split", kvm="tracepoint kvm_mmu_split_huge_page, level 2"),
    Column("zapped_1g", int, "1G leaves dropped"),
    Column("zapped_2m", int, "2M leaves dropped"),
    Column("zapped_4k", int, "4K leaves dropped"),
    Column("write_protected", int, "leaves made read-only"),
    Column("dirty_cleared", int, "D-bits cleared"),
    Column(
        "tables_allocated", int, "page tables allocated, levels 1 and 2", kvm="tracepoint kvm_mmu_get_page, created"
    ),
    Column("tables_freed", int, "page tables freed, levels 1 and 2", kvm="tracepoint kvm_mmu_prepare_zap_page"),
    Column("tables_upper", int, "page tables allocated at level 3", kvm="tracepoint kvm_mmu_get_page, created"),
    Column("pages_4k", int, "4K leaves at the end of the phase", kvm="VM stat pages_4k"),
    Column("pages_2m", int, "2M leaves at the end of the phase", kvm="VM stat pages_2m"),
    Column("pages_1g", int, "1G leaves at the end of the phase", kvm="VM stat pages_1g"),
    Column("dirty_pages", int, "4K pages that get reported dirty", kvm="bits that KVM_GET_DIRTY_LOG returns"),
    Column("dirty_2m_regions", int, "groups of 512 pages with a dirty one, as get reported"),
    Column("pml_entries", int, "entries written to PML buffers"),
    Column("pml_exits", int, "exits because a PML buffer was full", kvm="tracepoint kvm_exit, reason PML_FULL"),
    Column("tlb_flushes", int, "requests that all vCPUs flush their TLB", kvm="VM stat remote_tlb_flush_requests"),
    Column("lock_acquisitions", int, "times mmu_lock was taken"),
    Column(
        "lock_contended",
        int,
        "times mmu_lock, or for readers its cache line, had to be waited for",
        kvm="tracepoint contention_begin",
    ),
)

TIME_COLUMNS: Final = (
    Column("seconds", float, "length of the phase: from its start until the last vCPU or the ioctl is done"),
    Column("seconds_lo", float, "lower end of a 90% interval of seconds, null if the profile carries none"),
    Column("seconds_hi", float, "upper end of that interval"),
    Column("vcpu_seconds_min", float, "shortest time of a vCPU in the pass"),
    Column("vcpu_seconds_mean", float, "mean time of the vCPUs in the pass"),
    Column("vcpu_seconds_max", float, "longest time of a vCPU in the pass"),
    Column("stall_p50_ns", float, "time an access took beyond a plain one: median over all accesses"),
    Column("stall_p90_ns", float, "the same, 90th percentile"),
    Column("stall_p99_ns", float, "the same, 99th percentile"),
    Column("stall_p999_ns", float, "the same, 99.9th percentile"),
    Column("stall_max_ns", float, "the same, the longest"),
    Column("guest_seconds", float, "guest instructions and TLB misses, all vCPUs added up (this and the next four)"),
    Column("exit_seconds", float, "exits and the lock-free part of faults, PML included"),
    Column(
        "lock_wait_seconds",
        float,
        "waiting for mmu_lock and taking it",
        kvm="tracepoints contention_begin to contention_end",
    ),
    Column("lock_hold_seconds", float, "inside mmu_lock's critical sections"),
    Column("other_seconds", float, "the rest: start of the pass, ioctl work outside the lock, TLB flushes"),
)

_STALLS: Final = (
    ("p50", "median"),
    ("p90", "90th percentile"),
    ("p99", "99th percentile"),
    ("p999", "99.9th percentile"),
)

TIMELINE_COLUMNS: Final = (
    Column("bin", int, "number of the time bin, from 0"),
    Column("start_seconds", float, "where the bin begins, from the start of the phase"),
    Column("end_seconds", float, "where it ends"),
    Column("accesses", int, "guest accesses in the bin"),
    Column("reads", int, "guest reads"),
    Column("writes", int, "guest writes"),
    Column("faults", int, "page faults that began in it"),
)
"""A time bin of a phase in which vCPUs ran: an element of `timeline`."""

CONCURRENT_COLUMNS: Final = (
    Column("yields", int, "times the ioctl thread gave mmu_lock up for others (this and the rest: running vCPUs only)"),
    Column("retries", int, "faults that found their entry changed by the ioctl thread"),
    Column("ipis_received", int, "exits that a TLB flush, or a get for the PML buffers, forced on vCPUs"),
    Column("ioctl_wait_seconds", float, "time the ioctl thread waited for mmu_lock"),
    Column("lock_longest_hold_ns", float, "longest time that mmu_lock was held without a break, by whomever"),
    *(
        Column(f"read_stall_{name}_ns", float, f"stalls of reads: {meaning} over all reads")
        for name, meaning in _STALLS
    ),
    Column("read_stall_max_ns", float, "the longest stall of a read"),
    *(
        Column(f"write_stall_{name}_ns", float, f"stalls of writes: {meaning} over all writes")
        for name, meaning in _STALLS
    ),
    Column("write_stall_max_ns", float, "the longest stall of a write"),
    Column(
        "stalled_lock_seconds", float, "stalls by faults that took mmu_lock, all vCPUs added up (this and the next 4)"
    ),
    Column("stalled_retry_seconds", float, "stalls by faults that found their entry changed"),
    Column("stalled_flush_seconds", float, "stalls by exits for TLB flushes"),
    Column("stalled_refill_seconds", float, "stalls by walks that a flush of the TLB made necessary again"),
    Column("stalled_pml_seconds", float, "stalls by exits for PML buffers, full ones and those that get asks for"),
    Column("undisturbed_per_ms", float, "accesses a millisecond of all vCPUs together, were there no ioctl"),
    Column("dip_depth", float, "how far throughput falls at its lowest, as a share of the undisturbed one"),
    Column("dip_seconds", float, "how long throughput stays below 90% of the undisturbed one"),
    Column("timeline", list, "what the vCPUs did over time, bin by bin: the view `timeline` has a row for each"),
)

PHASE_COLUMNS: Final = (
    *CONFIG_COLUMNS,
    *PROVENANCE_COLUMNS,
    Column("phase", str, "the phase of the run", PHASE_NAMES),
    Column("iteration", int, "1.. for dirty, get and clear, else null"),
    *TIME_COLUMNS[:6],
    *COUNT_COLUMNS,
    *TIME_COLUMNS[6:],
    *CONCURRENT_COLUMNS,
)

Row = dict[str, Any]
"""One row of a table: column name to value."""
