"""Estimates of how long a simulation takes hold within a factor of three, over shapes of all kinds."""

from __future__ import annotations

from typing import Any

import pytest

from core.config import make_config
from core.run import estimated_seconds

SHAPE = {"concurrent": True, "backing": "2M", "mem_per_vcpu": "128MiB", "initially_all_set": False, "iterations": 1}
MEASURED: list[tuple[float, dict[str, Any]]] = [
    (0.16, {"mmu": "tdp", "vcpus": 16, "preempt": "none", "initially_all_set": False}),
    (0.122, {"mmu": "tdp", "vcpus": 16, "preempt": "none", "initially_all_set": True}),
    (2.989, {"mmu": "tdp", "vcpus": 64, "preempt": "none", "initially_all_set": False}),
    (2.252, {"mmu": "tdp", "vcpus": 64, "preempt": "none", "initially_all_set": True}),
    (0.189, {"mmu": "legacy_tdp", "vcpus": 16, "preempt": "none", "initially_all_set": False}),
    (0.133, {"mmu": "legacy_tdp", "vcpus": 16, "preempt": "none", "initially_all_set": True}),
    (0.233, {"mmu": "legacy_tdp", "vcpus": 16, "preempt": "full", "initially_all_set": False}),
    (0.218, {"mmu": "legacy_tdp", "vcpus": 16, "preempt": "full", "initially_all_set": True}),
    (3.033, {"mmu": "legacy_tdp", "vcpus": 64, "preempt": "none", "initially_all_set": False}),
    (3.077, {"mmu": "legacy_tdp", "vcpus": 64, "preempt": "none", "initially_all_set": True}),
    (4.736, {"mmu": "legacy_tdp", "vcpus": 64, "preempt": "full", "initially_all_set": False}),
    (4.641, {"mmu": "legacy_tdp", "vcpus": 64, "preempt": "full", "initially_all_set": True}),
    (0.146, {"mmu": "shadow", "vcpus": 16, "preempt": "none", "initially_all_set": False}),
    (0.044, {"mmu": "shadow", "vcpus": 16, "preempt": "none", "initially_all_set": True}),
    (1.634, {"mmu": "shadow", "vcpus": 16, "preempt": "full", "initially_all_set": False}),
    (0.714, {"mmu": "shadow", "vcpus": 16, "preempt": "full", "initially_all_set": True}),
    (1.565, {"mmu": "shadow", "vcpus": 64, "preempt": "none", "initially_all_set": False}),
    (0.236, {"mmu": "shadow", "vcpus": 64, "preempt": "none", "initially_all_set": True}),
    (0.196, {"mmu": "shadow", "vcpus": 8, "access_order": "random"}),
    (0.39, {"mmu": "tdp", "vcpus": 8, "access_order": "random"}),
    (0.386, {"mmu": "tdp", "vcpus": 8, "write_pattern": "random", "iterations": 3}),
    (1.916, {"mmu": "tdp", "vcpus": 16, "working_set": 20, "skew": 90}),
    (0.164, {"mmu": "shadow", "vcpus": 16, "split": "lazy", "iterations": 3}),
    (0.147, {"mmu": "tdp", "vcpus": 16, "write_percent": 100, "pml": False}),
    (3.595, {"mmu": "shadow", "vcpus": 16, "write_percent": 100, "preempt": "full"}),
    (0.042, {"mmu": "tdp", "vcpus": 8, "think_ns": 1000}),
    (0.074, {"mmu": "nested", "vcpus": 8, "guest_roots": 8, "guest_page": "2M"}),
    (0.793, {"mmu": "tdp", "vcpus": 8, "mem_per_vcpu": "1GiB", "iterations": 4}),
    (0.43, {"mmu": "shadow", "vcpus": 4, "partitioned": False}),
]
"""CPU seconds that each took once, on a virtual machine of a 2.x GHz server, and what sets it apart from SHAPE."""


@pytest.mark.parametrize(("seconds", "values"), MEASURED, ids=str)
def test_the_estimate_of_running_vcpus_is_within_a_factor_of_three(seconds: float, values: dict[str, Any]) -> None:
    estimate = estimated_seconds(make_config(SHAPE | {"write_percent": 20} | values))
    assert seconds / 3 < estimate < seconds * 3
