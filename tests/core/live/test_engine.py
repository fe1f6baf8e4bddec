"""The live engine counts what the simulator counts, measures real time, and leaves nothing behind."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings

from core.config import Config, make_config
from core.costs.profile import load_profile
from core.live.engine import measure
from core.live.processes.errors import LiveError
from core.rows import COUNT_COLUMNS, PHASE_COLUMNS, PROVENANCE_COLUMNS, Row
from core.shares import are_vcpus_disjoint
from core.sim.engine import simulate
from tests.core.configurations import configurations
from tests.core.live.leftovers import descriptors, family, memory_files, still_alive

ROOT = Path(__file__).parents[3]

COUNTS = [column.name for column in COUNT_COLUMNS]

INTERLEAVED = ("lock_contended",)
"""Counts that depend on who comes first even where every vCPU has its own memory: who meets whom at the lock."""

SAME_IN_ANY_ORDER = ("accesses", "reads", "writes", "pages_written")
"""Counts that overlapping vCPUs cannot change: what they visit, and what they draw, is fixed before they start."""


def live(**values: object) -> Config:
    return make_config({"engine": "live", "mem_per_vcpu": "4MiB", "iterations": 1} | values)


@given(configurations(partitioned=True, engine="live").filter(are_vcpus_disjoint))
@settings(max_examples=70, deadline=None)
def test_counts_equal_the_simulators(config: Config) -> None:
    measured, simulated = measure(config), simulate(config)
    assert [(row["phase"], row["iteration"]) for row in measured] == [
        (row["phase"], row["iteration"]) for row in simulated
    ]
    same = [name for name in COUNTS if name not in INTERLEAVED]
    for one, other in zip(measured, simulated, strict=True):
        assert {name: one[name] for name in same} == {name: other[name] for name in same}
        assert 0 <= one["lock_contended"] <= one["lock_acquisitions"]


@given(configurations(engine="live").filter(lambda config: not are_vcpus_disjoint(config)))
@settings(max_examples=40, deadline=None)
def test_overlapping_vcpus_stay_within_what_their_order_allows(config: Config) -> None:
    for one, other in zip(measure(config), simulate(config), strict=True):
        assert {name: one[name] for name in SAME_IN_ANY_ORDER} == {name: other[name] for name in SAME_IN_ANY_ORDER}
        check_bounds(config, one)


def check_bounds(config: Config, row: Row) -> None:
    """What holds in whatever order vCPUs that share their memory come to it."""
    # A fault has one of two causes; it is fixed without the lock or under it, or somebody else was first.
    assert row["faults"] == row["faults_not_present"] + row["faults_write_protect"]
    assert row["faults_not_present_read"] <= row["faults_not_present"]
    if row["accesses"]:
        assert 0 <= row["faults"] - row["faults_fast"] - row["faults_spurious"] <= row["lock_acquisitions"]
    # A page is mapped once under each root; a leaf that is there was never lost, and no leaf is counted twice.
    mapped = row["pages_4k"] + 512 * row["pages_2m"] + 512**2 * row["pages_1g"]
    assert 0 <= mapped <= config.pages * config.guest_roots
    # What was written is reported, and nothing that does not exist; a page between is one that a read mapped writable.
    assert 0 <= row["dirty_pages"] <= config.pages
    assert row["dirty_2m_regions"] <= row["dirty_pages"]


def test_every_written_page_is_reported_whoever_wins() -> None:
    for mmu in ("tdp", "legacy_tdp", "shadow", "nested"):
        config = live(mmu=mmu, backing="2M", split="fault", vcpus=4, partitioned=False, initially_all_set=False)
        rows = {row["phase"]: row for row in measure(config)}
        assert rows["get"]["dirty_pages"] == rows["dirty"]["pages_written"] == config.pages
        assert rows["dirty"]["splits_2m"] == config.pages // 512
        assert rows["dirty"]["pages_4k"] == config.pages


def test_rows_are_those_of_the_simulator_and_times_add_up() -> None:
    config = live(vcpus=2, mmu="legacy_tdp", split="lazy", backing="2M", initially_all_set=False)
    for row in measure(config):
        assert set(row) == {column.name for column in PHASE_COLUMNS} - {column.name for column in PROVENANCE_COLUMNS}
        assert row["seconds"] > 0
        assert row["seconds_lo"] is row["seconds_hi"] is None
        parts = sum(row[f"{part}_seconds"] for part in ("guest", "exit", "lock_wait", "lock_hold", "other"))
        if row["accesses"]:
            assert row["vcpu_seconds_min"] <= row["vcpu_seconds_mean"] <= row["vcpu_seconds_max"]
            assert row["vcpu_seconds_max"] <= row["seconds"]
            assert parts >= row["vcpu_seconds_mean"] * config.vcpus * 0.99
        if row["faults"]:
            assert 0 < row["stall_max_ns"] <= row["seconds"] * 1e9 * 1.01
            assert row["stall_max_ns"] >= row["stall_p999_ns"] >= row["stall_p50_ns"]


def test_a_fault_spins_for_what_is_left_of_the_exit_beside_the_engines_own_work(tmp_path: Path) -> None:
    def exit_seconds(own_ns: float) -> float:
        values = dict(load_profile(Config().profile).values) | {"fault.outside_ns": 5000.0, "live.fault_ns": own_ns}
        path = tmp_path / f"{own_ns}.toml"
        path.write_text("".join(f"{parameter} = {value}\n" for parameter, value in values.items()))
        config = live(mmu="legacy_tdp", backing="4K", profile=str(path))
        passes = [measure(config)[0] for _ in range(3)]
        assert all(populate["exit_seconds"] <= populate["seconds"] for populate in passes)
        return min(populate["exit_seconds"] / populate["faults"] for populate in passes)

    alone, less = exit_seconds(0), exit_seconds(4000)
    assert alone >= 5e-6 * 0.99
    assert 1e-6 * 0.99 <= less < alone / 2


def test_real_memory_is_touched_where_asked(tmp_path: Path) -> None:
    config = live(touch_memory=True, backing="2M", vcpus=2, mem_per_vcpu="8MiB")
    without = live(backing="2M", vcpus=2, mem_per_vcpu="8MiB")
    assert [row["accesses"] for row in measure(config)] == [row["accesses"] for row in measure(without)]
    with pytest.raises(LiveError, match=r"touch_memory needs 32TiB of memory for the guest; .* GiB are free"):
        measure(live(touch_memory=True, vcpus=32, mem_per_vcpu="1TiB", slots=8))


def test_more_vcpus_than_cpus_come_to_an_end() -> None:
    config = live(vcpus=64, mem_per_vcpu="512KiB", backing="4K", mmu="legacy_tdp")
    assert measure(config)[0]["faults"] == config.pages


def test_uncompiled_kernels_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    with pytest.raises(LiveError, match="unset NUMBA_DISABLE_JIT"):
        measure(live())


def test_many_runs_leave_nothing() -> None:
    measure(live())
    before = descriptors()
    for _ in range(30):
        measure(live(mem_per_vcpu="256KiB", vcpus=2))
    assert descriptors() == before
    assert memory_files("self") == []


SCRIPT = """
import sys
from core.config import make_config
from core.live.engine import measure
from core.live.processes.errors import LiveError
config = make_config(
    {"engine": "live", "mem_per_vcpu": "1GiB", "vcpus": 2, "mmu": "legacy_tdp", "backing": "2M", "split": "lazy"}
    | {"initially_all_set": False, "iterations": 300}
)
print("begins", flush=True)
try:
    measure(config)
except LiveError as error:
    print(error, flush=True)
"""


def run_and_kill(choose: Callable[[dict[str, int]], int | None], delay: float) -> tuple[str, list[int], float]:
    """Start a long run, kill the process that `choose` names (None: the parent); return output, pids, and seconds."""
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT], env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True
    )
    with process:
        end = time.monotonic() + 60
        processes: dict[str, int] = {}
        while len(processes) < 4 and time.monotonic() < end:  # the server, two vCPUs, the ioctl thread
            time.sleep(0.01)
            processes = family(process.pid)
        assert len(processes) == 4, processes
        time.sleep(delay)
        start = time.monotonic()
        os.kill(choose(processes) or process.pid, signal.SIGKILL)
        output = process.communicate(timeout=60)[0]
        return output, list(processes.values()), time.monotonic() - start


@pytest.mark.parametrize("name", ["vCPU 0", "vCPU 1", "the ioctl thread"])
def test_a_killed_process_ends_the_run_with_one_line(name: str) -> None:
    def choose(processes: dict[str, int]) -> int:
        return next(pid for other, pid in processes.items() if name.startswith(other))  # names are cut at 15 letters

    output, processes, seconds = run_and_kill(choose, random.uniform(0, 0.5))
    assert output.splitlines() == ["begins", f"{name} died of SIGKILL (out of memory, or somebody killed it)"]
    assert seconds < 5
    assert still_alive(processes) == []


def test_a_killed_parent_leaves_no_orphan() -> None:
    output, processes, _ = run_and_kill(lambda processes: None, random.uniform(0, 0.5))
    assert output.splitlines() == ["begins"]
    assert still_alive(processes) == []
