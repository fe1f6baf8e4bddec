"""Counts per phase: the test is stopped at the end of each, and what KVM and the bitmaps say by then belongs to it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from core.kvm.counting import PhaseCounts, _dirty_columns, _fault_columns, _histogram, counted_run
from core.kvm.host import Host
from core.kvm.tracee import WRITE, Call, trace


def test_a_program_is_stopped_before_each_of_its_writes() -> None:
    written: list[bytes] = []

    def at_call(call: Call) -> None:
        if call.number == WRITE and call.arguments[0] == 1 and not call.returned:
            written.append(call.memory(call.arguments[1], call.arguments[2]))

    read_end, write_end = os.pipe()
    code = trace(
        [sys.executable, "-c", "import os; os.write(1, b'one'); os.write(1, b'two'); os._exit(7)"], at_call, write_end
    )
    os.close(write_end)
    assert (code, written, os.read(read_end, 100)) == (7, [b"one", b"two"], b"onetwo")
    os.close(read_end)


def test_a_program_does_not_outlive_an_error_of_its_watcher() -> None:
    seen: list[int] = []

    def at_call(call: Call) -> None:
        seen.append(call.pid)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trace(["sleep", "600"], at_call, 2)
    assert not Path(f"/proc/{seen[0]}").exists()


def test_every_timed_phase_is_counted(host: Host, binary: str) -> None:
    folder = host.root / "sys/kernel/debug/kvm"
    folder.mkdir(parents=True)
    phases = counted_run([binary, "-v", "1", "-b", "4M"], 1024, is_shadow=False, root=host.root)
    assert [(phase.phase, phase.iteration) for phase in phases] == [
        ("populate", None),
        ("enable", None),
        *((phase, iteration) for iteration in (1, 2) for phase in ("dirty", "get", "clear")),
        ("disable", None),
    ]
    assert phases[0] == PhaseCounts("populate", None, {})  # a host without any counter: nothing is made up


def test_dirty_pages_and_their_regions_are_those_of_the_bitmap() -> None:
    bitmap = bytearray(192)  # 1536 pages, three regions
    bitmap[0], bitmap[130] = 0b101, 0xFF
    assert _dirty_columns(bytes(bitmap)) == {"bitmaps": 1, "pages": 10, "regions": 2}


def test_page_faults_are_told_apart_by_their_error_code() -> None:
    by_code = {0x100000004: 5, 0x100000006: 7, 0x100000007: 11, 0x100000005: 13}
    assert _fault_columns(by_code) == {
        "faults": 36,
        "faults_not_present": 12,
        "faults_not_present_read": 5,
        "faults_write_protect": 11,
    }


def test_a_histogram_of_the_kernel_is_read(tmp_path: Path) -> None:
    (tmp_path / "events/kvm/kvm_page_fault").mkdir(parents=True)
    (tmp_path / "events/kvm/kvm_page_fault/hist").write_text(
        "# event histogram\n#\n# trigger info: hist:keys=error_code:vals=hitcount:sort=hitcount [active]\n#\n\n"
        "{ error_code: 4294967303 } hitcount:      16384\n{ error_code: 4294967302 } hitcount:         32\n\n"
        "Totals:\n    Hits: 16416\n    Entries: 2\n    Dropped: 0\n"
    )
    assert _histogram(tmp_path, "kvm/kvm_page_fault") == {4294967303: 16384, 4294967302: 32}
