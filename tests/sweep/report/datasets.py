"""The dataset that the tests of reports look at: two MMUs, two strategies, numbers that a test can state."""

from __future__ import annotations

from pathlib import Path

from core.config import Config, make_config
from tests.sweep.datasets import write_shard

VCPUS = (2, 4, 8)


def config(**values: object) -> Config:
    thread = {"mem_per_vcpu": "1GiB", "backing": "1G", "mmu": "legacy_tdp", "initially_all_set": False, "iterations": 1}
    return make_config(thread | values)


def seconds(mmu: str, split: str, vcpus: int) -> float:
    return vcpus * (1.0 if mmu == "shadow" else 0.1) * (10.0 if split == "lazy" else 1.0)


def write_report_dataset(folder: Path) -> None:
    """Twelve configs that are done, those of 20% writes only on shadow, and one that failed."""
    done = [config(mmu="legacy_tdp", split=split, vcpus=vcpus) for split in ("lazy", "eager") for vcpus in VCPUS]
    done += [
        config(mmu="shadow", split=split, vcpus=vcpus, write_percent=percent)
        for percent in (20, 100)
        for split in ("lazy", "eager")
        for vcpus in VCPUS
    ]
    write_shard(folder, done, _numbers)
    write_shard(folder, [config(mmu="shadow", vcpus=16)], batch=1, failed=True)


def _numbers(found: Config, phase: str, iteration: int | None) -> dict[str, object]:
    time = seconds(found.mmu, found.split, found.vcpus)
    if phase in ("enable", "get", "clear", "disable"):
        return {"seconds": time / 1000, "dirty_pages": 1000 * found.vcpus if phase == "get" else 0}
    stalls = dict.fromkeys(("stall_p50_ns", "stall_p90_ns", "stall_p99_ns", "stall_p999_ns"), 100.0 * found.vcpus)
    parts = {"guest_seconds": time / 4, "lock_wait_seconds": time * 3 / 4}
    counts = {"pages_written": 200 * found.vcpus, "faults": found.vcpus}
    interval = {"seconds_lo": time / 1.25, "seconds_hi": time * 1.25}
    return {"seconds": time, **interval, **stalls, "stall_max_ns": 1000.0 * found.vcpus, **parts, **counts}
