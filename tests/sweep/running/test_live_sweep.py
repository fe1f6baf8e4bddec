"""`splitsweep run` of live configs, whose processes are killed at random moments: nothing is lost, nothing is left."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas
import pytest

from core.config import make_config
from core.sim.engine import simulate
from tests.core.live.leftovers import family, still_alive

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="the live engine needs Linux")

ROOT = Path(__file__).parents[3]
FIELDS = {"vcpus": 2, "mmu": "shadow", "backing": "2M", "iterations": 16}  # a second, as every pass faults
SIZES = ("126MiB", "128MiB", "130MiB", "132MiB")
SPEC = "".join(
    [
        'name = "killed"\n[fixed]\nengine = "live"\n',
        *(f"{name} = {value!r}\n" for name, value in FIELDS.items()),
        f"[[grid]]\nmem_per_vcpu = {list(SIZES)}\n",
    ]
)
CONFIGS = {config.mem_per_vcpu: config for config in (make_config(FIELDS | {"mem_per_vcpu": size}) for size in SIZES)}
COMMAND = "from sweep.cli import main; main()"
RUN = {"vCPU 0", "vCPU 1", "the ioctl threa"}  # names have 15 letters


def start(folder: Path, address: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, "run", "spec.toml", "--results", "dataset", "--address", address],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def kill_in_a_run(driver: subprocess.Popen[bytes], victim: str | None) -> list[int]:
    """Kill a process of a live run, None for who started the sweep; return the processes that must end with the run."""
    processes: dict[str, int] = {}
    while not processes.keys() >= RUN:
        assert driver.poll() is None, "the sweep ended before a process of it could be killed"
        time.sleep(0.01)
        processes = family(driver.pid)
    time.sleep(random.uniform(0, 0.3))
    with contextlib.suppress(ProcessLookupError):  # its run may have ended
        os.kill(processes[victim] if victim else driver.pid, signal.SIGKILL)
    return [processes[name] for name in RUN]


@pytest.mark.parametrize(
    ("address", "victims"),
    [("inline", [None, "vCPU 1", "the ioctl threa", None]), ("local", ["vCPU 0", None])],
)
def test_what_was_measured_stays_and_what_was_killed_is_run_again(
    address: str, victims: list[str | None], tmp_path: Path
) -> None:
    (tmp_path / "spec.toml").write_text(SPEC)
    measured: set[int] = set()
    for victim in victims:
        driver = start(tmp_path, address)
        processes = kill_in_a_run(driver, victim)
        driver.wait(timeout=120)
        assert still_alive(processes) == []
        before, measured = measured, finished_sizes(tmp_path)
        assert before <= measured, "a finished run is gone"
    assert start(tmp_path, address).wait(timeout=120) == 0
    assert finished_sizes(tmp_path) == CONFIGS.keys()
    phases = pandas.read_parquet(tmp_path / "dataset" / "phases")
    for size, config in CONFIGS.items():
        measured_rows, expected = phases[phases["mem_per_vcpu"] == size], simulate(config)
        for column in ("phase", "faults", "dirty_pages"):
            assert list(measured_rows[column]) == [row[column] for row in expected]


def finished_sizes(folder: Path) -> set[int]:
    """The configs that the dataset has measured, by their memory."""
    path = folder / "dataset" / "runs"
    if not list(path.glob("**/*.parquet")):
        return set()
    runs = pandas.read_parquet(path)
    return set(runs.loc[runs["status"] == "ok", "mem_per_vcpu"])
