"""Every kernel is plain Python, compiled: run uncompiled, it gives the same rows bit for bit."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from core.config import make_config
from core.rows import Row
from core.sim.engine import simulate

CONFIGURATIONS: list[dict[str, object]] = [
    {"mmu": "tdp", "split": "fault", "backing": "2M", "pml": False, "vcpus": 2, "write_percent": 20},
    {"mmu": "tdp", "split": "eager", "backing": "2M", "write_percent": 30, "write_pattern": "random", "kernel": "7.3"},
    {"mmu": "legacy_tdp", "split": "lazy", "backing": "2M", "vcpus": 3, "initially_all_set": False, "slots": 3},
    {"mmu": "shadow", "split": "eager", "backing": "2M", "guest_roots": 2, "access_order": "random"},
    {"mmu": "nested", "split": "lazy", "backing": "4K", "vcpus": 2, "partitioned": False, "manual_protect": False},
    {"mmu": "legacy_tdp", "split": "fault", "backing": "2M", "granularity": "2M", "populate_writes": "same"},
    {"mmu": "legacy_tdp", "split": "lazy", "backing": "2M", "mem_per_vcpu": "12MiB"},  # skips
]

SCRIPT = """
import json, sys
from core.config import make_config
from core.sim.engine import simulate
json.dump([simulate(make_config(values)) for values in json.load(sys.stdin)], sys.stdout)
"""


def test_uncompiled_kernels_give_the_same_rows() -> None:
    configurations = [{"mem_per_vcpu": "2MiB"} | values for values in CONFIGURATIONS]
    uncompiled = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT],
        input=json.dumps(configurations),
        env=os.environ | {"NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert uncompiled.returncode == 0, uncompiled.stderr
    compiled: list[list[Row]] = [simulate(make_config(values)) for values in configurations]
    assert json.loads(uncompiled.stdout) == compiled
