"""The whole path from `run` to rows on real KVM, in an emulated machine: its counts are those of the simulator.

Behind `make test-kvm`, for it takes minutes and some hundred megabytes of Debian packages. Times of emulation mean
nothing and are not looked at.
"""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from sweep.cli import exit_code
from sweep.dataset.query import query
from tests.kvm.machine import Machine, missing_programs, prepared, run_in

pytestmark = pytest.mark.kvm

ROOT = Path(__file__).parents[2]
CACHE = Path(os.environ.get("KVM_TEST_FOLDER", ROOT / "build" / "kvm"))
TIMEOUT_S = 7200  # a busy machine takes several times the quarter of an hour of an idle one

SPEC = """
name = "emulated"
[fixed]
engine = "kvm"
pml = false
mem_per_vcpu = "64MiB"
[[grid]]
backing = ["2M"]
split = ["eager", "fault"]
vcpus = [1, 2]
[[grid]]
backing = ["4K"]
split = ["eager"]
[[grid]]
backing = ["2M"]
split = ["fault"]
manual_protect = [false]
slots = [2]
[[grid]]
backing = ["2M"]
mmu = ["legacy_tdp"]
split = ["lazy"]
"""

COUNTS = (
    "faults",
    "faults_not_present",
    "faults_not_present_read",
    "faults_write_protect",
    "faults_fast",
    "splits_1g",
    "splits_2m",
    "dirty_pages",
    "dirty_2m_regions",
    "tlb_flushes",
)

# Run, then kill a run in its middle with everything it started that has its name: the host must be as before.
SCRIPT = """
set -e
state() {{ cat /sys/module/kvm/parameters/tdp_mmu /sys/module/kvm/parameters/eager_page_split \\
    /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages; }}
state > before
{run} run spec.toml --results measured --address inline --binary {test} || {run} query measured "SELECT * FROM failures"
state > after
{test} -v 1 -b 64M -s anonymous_thp > printed.txt
setsid {run} run spec.toml split=fault iterations=50 --results killed --address inline --binary {test} &
worker=$!
for second in $(seq 1200); do grep -q N /sys/module/kvm/parameters/eager_page_split && break; sleep 1; done
grep N /sys/module/kvm/parameters/eager_page_split
env kill -9 -- -$worker
for second in $(seq 300); do state | cmp -s - before && break; sleep 1; done
state > after-kill
ls /sys/kernel/tracing/instances > instances
"""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """The machine after it has run the sweep: what it left is in its folder `out`."""
    if missing := missing_programs():
        pytest.skip(f"not on this machine: {', '.join(missing)}")
    booted = prepared(CACHE, tmp_path_factory.mktemp("out"))
    (booted.out / "spec.toml").write_text(SPEC)
    run = shlex.quote(str(Path(sys.executable).parent / "splitsweep"))
    script = f"export PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin PYTHONPATH={ROOT}\n"
    print(run_in(booted, script + SCRIPT.format(run=run, test=booted.selftest), TIMEOUT_S))
    return booted


def rows(folder: Path, sql: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = query(str(folder), sql).to_pylist()
    return found


def test_every_config_was_measured(machine: Machine) -> None:
    runs = rows(
        machine.out / "measured", "SELECT mmu, split, vcpus, status, error, kernel_release FROM runs ORDER BY ALL"
    )
    assert {(run["status"], run["error"]) for run in runs} == {("ok", None)}
    assert len(runs) == 7
    assert {run["kernel_release"].split(".")[:2] == ["6", "12"] for run in runs} == {True}


def test_counts_are_those_of_the_simulator(machine: Machine) -> None:
    folder = machine.out / "measured"
    assert (
        exit_code(
            ["run", str(machine.out / "spec.toml"), "engine=sim", "--results", str(folder), "--address", "inline"]
        )
        == 0
    )
    keys = "mmu, split, backing, vcpus, slots, phase, iteration"
    columns = ", ".join(COUNTS)
    counted = {
        engine: {
            tuple(row.values())[:7]: {name: row[name] for name in COUNTS}
            for row in rows(folder, f"SELECT {keys}, {columns} FROM phases WHERE engine = '{engine}' ORDER BY ALL")
        }
        for engine in ("sim", "kvm")
    }
    assert len(counted["kvm"]) == 7 * 9 - 2
    nulls = {
        (key[5], name) for key, counts in counted["kvm"].items() for name, value in counts.items() if value is None
    }
    assert {name for _, name in nulls} == {"dirty_pages", "dirty_2m_regions"}
    assert "get" not in {phase for phase, _ in nulls}  # the bitmap is read there, and nowhere else
    differing = {
        (key, name): (value, counted["sim"][key][name])
        for key, counts in counted["kvm"].items()
        for name, value in counts.items()
        if value not in (None, counted["sim"][key][name])
    }
    assert differing == {}


def test_the_host_is_as_it_was(machine: Machine) -> None:
    before = (machine.out / "before").read_text()
    assert before.split() == ["Y", "Y", "0"]
    assert (machine.out / "after").read_text() == before
    assert (machine.out / "after-kill").read_text() == before
    assert (machine.out / "instances").read_text() == ""


def test_what_it_printed_is_imported_and_laid_beside_the_simulator(machine: Machine, tmp_path: Path) -> None:
    results = str(tmp_path / "imported")
    words = ["vcpus=1", "backing=2M", "pml=false"]
    assert exit_code(["import", str(machine.out / "printed.txt"), *words, "--results", results]) == 0
    (tmp_path / "same.toml").write_text('name = "same"\n[fixed]\nmem_per_vcpu = "64MiB"\nbacking = "2M"\npml = false\n')
    assert exit_code(["run", str(tmp_path / "same.toml"), "--results", results, "--address", "inline"]) == 0
    timed = "SELECT * FROM phases WHERE phase <> 'after_disable'"
    both = f"SELECT list_sort(list(engine)) AS engines FROM ({timed}) GROUP BY phase, iteration"
    assert [row["engines"] for row in rows(Path(results), both)] == [["kvm", "sim"]] * 9
