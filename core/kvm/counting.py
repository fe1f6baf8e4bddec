"""Counts of KVM itself, phase by phase: a run of the test beside the timed one, stopped at the end of each phase.

Sources: the dirty bitmaps that the test reads, KVM's counters in debugfs, and histograms of its tracepoints. Where a
host does not have one of them, or does not let us read it, its columns are null. Only what happens in the memory under
test is counted, as far as the source tells where it happened.
"""

from __future__ import annotations

import os
import pty
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from core.kvm.output import Preamble, Timing, read_line
from core.kvm.tracee import IOCTL, WRITE, Call, trace

KVM_GET_DIRTY_LOG: Final = 0x4010AE42
GUEST_VIRTUAL_START: Final = 0xC0000000  # where the test's guest maps the memory under test
STATISTICS: Final = {
    "pf_fast": "faults_fast",
    "pf_spurious": "faults_spurious",
    "remote_tlb_flush_requests": "tlb_flushes",
}
PRESENT, WRITTEN = 1, 2  # bits of a page fault's error code
LEVEL_COLUMNS: Final = {3: "splits_1g", 2: "splits_2m"}
FAULT_COLUMNS: Final = ("faults", "faults_not_present", "faults_not_present_read", "faults_write_protect")

_REGION_BYTES: Final = 512 // 8  # of bitmap for 2 MiB


@dataclass(frozen=True, slots=True)
class Region:
    """The memory under test."""

    start: int
    size: int


@dataclass(slots=True)
class PhaseCounts:
    """What one phase counted, by result column."""

    phase: str
    iteration: int | None
    columns: dict[str, int]


def counted_run(
    command: list[str], pages_per_slot: int, *, is_shadow: bool, root: Path = Path("/")
) -> list[PhaseCounts]:
    """Run the test and count in each of its phases; the rows come in the order of its timings."""
    with _instance(root) as tracing:
        counting = _Counting(tracing, root, pages_per_slot, is_shadow)
        read_end, write_end = pty.openpty()  # a terminal: the test then writes each line when it prints it
        os.set_blocking(read_end, False)

        def at_call(call: Call) -> None:
            counting.at_call(call)
            with suppress(BlockingIOError):  # a terminal that nobody reads is full at some time
                os.read(read_end, 65536)

        try:
            trace(command, at_call, write_end)
        finally:
            os.close(write_end)
            os.close(read_end)
        return counting.phases


@dataclass(slots=True)
class _Counting:
    """The counters at the end of the last phase, and the phases so far."""

    tracing: Path | None
    root: Path
    pages_per_slot: int
    is_shadow: bool
    phases: list[PhaseCounts] = field(default_factory=list)
    before: Counter[str] = field(default_factory=Counter)
    dirty: Counter[str] = field(default_factory=Counter)
    text: str = ""

    def at_call(self, call: Call) -> None:
        if call.number == WRITE and not call.returned and call.arguments[0] == 1:
            self.text += call.memory(call.arguments[1], call.arguments[2]).decode(errors="replace")
            *lines, self.text = self.text.split("\n")
            for line in lines:
                self._take(call.pid, line.strip())
        elif call.number == IOCTL and call.returned and call.arguments[1] == KVM_GET_DIRTY_LOG:
            pointer = int.from_bytes(call.memory(call.arguments[2] + 8, 8), "little")
            self.dirty.update(_dirty_columns(call.memory(pointer, (self.pages_per_slot + 7) // 8)))

    def _take(self, pid: int, line: str) -> None:
        shown = read_line(line)
        if isinstance(shown, Preamble) and shown.start is not None and shown.memory and self.tracing:
            start = GUEST_VIRTUAL_START if self.is_shadow else shown.start
            _count_events(self.tracing, Region(start, shown.memory), Region(shown.start, shown.memory))
        if isinstance(shown, Timing):
            now = self._counters(pid)
            columns = {name: now[name] - self.before[name] for name in now}
            if shown.phase == "get" and self.dirty["bitmaps"]:
                columns |= {"dirty_pages": self.dirty["pages"], "dirty_2m_regions": self.dirty["regions"]}
            self.before, self.dirty = now, Counter()
            self.phases.append(PhaseCounts(shown.phase, shown.iteration, columns))

    def _counters(self, pid: int) -> Counter[str]:
        """All counters by result column, since the beginning."""
        counters = Counter(_statistics(self.root, pid))
        if self.tracing:
            counters.update(_fault_columns(_histogram(self.tracing, "kvm/kvm_page_fault")))
            split = _histogram(self.tracing, "kvmmmu/kvm_mmu_split_huge_page")
            counters.update({column: split.get(level, 0) for level, column in LEVEL_COLUMNS.items()})
        return counters


def _dirty_columns(bitmap: bytes) -> dict[str, int]:
    """How many pages of a bitmap are dirty, and how many groups of 512 have one."""
    regions = (bitmap[at : at + _REGION_BYTES] for at in range(0, len(bitmap), _REGION_BYTES))
    return {
        "bitmaps": 1,
        "pages": int.from_bytes(bitmap, "little").bit_count(),
        "regions": sum(any(region) for region in regions),
    }


def _statistics(root: Path, pid: int) -> dict[str, int]:
    """KVM's counters of the virtual machine of a process."""
    found: dict[str, int] = {}
    for folder in (root / "sys/kernel/debug/kvm").glob(f"{pid}-*"):
        for name, column in STATISTICS.items():
            with suppress(OSError, ValueError):
                found[column] = int((folder / name).read_text())
    return found


def _fault_columns(by_error_code: dict[int, int]) -> dict[str, int]:
    columns = dict.fromkeys(FAULT_COLUMNS, 0)
    for code, count in by_error_code.items():
        columns["faults"] += count
        if not code & PRESENT:
            columns["faults_not_present"] += count
            columns["faults_not_present_read"] += count if not code & WRITTEN else 0
        elif code & WRITTEN:
            columns["faults_write_protect"] += count
    return columns


@contextmanager
def _instance(root: Path) -> Iterator[Path | None]:
    """A tracing instance of our own, None if there may be none."""
    folder = root / "sys/kernel/tracing/instances" / f"splitsweep-{os.getpid()}"
    try:
        folder.mkdir()
    except OSError:
        yield None
        return
    try:
        yield folder
    finally:
        with suppress(OSError):
            folder.rmdir()


def _count_events(tracing: Path, faults: Region, memory: Region) -> None:
    """From now on count page faults by error code, and splits of huge pages by level, in the memory under test."""
    addresses = f"fault_address >= {faults.start} && fault_address < {faults.start + faults.size}"
    pages = f"gfn >= {memory.start >> 12} && gfn < {(memory.start + memory.size) >> 12}"
    triggers = {
        "kvm/kvm_page_fault": f"hist:keys=error_code if {addresses}",
        "kvmmmu/kvm_mmu_split_huge_page": f"hist:keys=level if errno == 0 && {pages}",
    }
    for event, trigger in triggers.items():
        with suppress(OSError):
            (tracing / "events" / event / "trigger").write_text(trigger)


def _histogram(tracing: Path, event: str) -> dict[int, int]:
    """How often an event came, by its key."""
    try:
        text = (tracing / "events" / event / "hist").read_text()
    except OSError:
        return {}
    found = re.findall(r"^\{ *\w+: +(\w+) *\} hitcount: +(\d+)", text, re.MULTILINE)
    return {int(key, 0): int(count) for key, count in found}
