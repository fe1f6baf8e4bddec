"""Processes that run while the ioctl thread does: no dirty bit is lost; what no race decides is the simulator's."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings

from core.config import Config, config_record, make_config
from core.live.cpus import usable_cpus
from core.live.engine import measure
from core.live.host import host_facts
from core.rows import COUNT_COLUMNS, PHASE_COLUMNS, PROVENANCE_COLUMNS, Row
from core.sim.engine import simulate
from tests.core.live.test_engine import check_bounds
from tests.core.sim.test_concurrent import concurrent_configurations

PASSES = ("populate", "dirty", "after_disable")
VISITS = ("accesses", "reads", "writes", "pages_written")
"""Counts of a pass by stride that nobody who ran before it can change."""


def live(config: Config) -> Config:
    return make_config(config_record(config) | {"engine": "live"})


def rows_of(**values: Any) -> dict[tuple[str, int | None], Row]:
    values = {"concurrent": True, "backing": "2M", "initially_all_set": False, "iterations": 1} | values
    return {(row["phase"], row["iteration"]): row for row in measure(make_config(values | {"engine": "live"}))}


@given(concurrent_configurations())
@settings(max_examples=30, deadline=None)
def test_no_dirty_bit_is_lost_and_counts_keep_their_bounds(config: Config) -> None:
    """The run itself fails if a page could be written unseen after a phase, whoever raced whom in it."""
    measured, simulated = measure(live(config)), simulate(config)
    assert [(row["phase"], row["iteration"]) for row in measured] == [
        (row["phase"], row["iteration"]) for row in simulated
    ]
    assert set(measured[0]) == {column.name for column in PHASE_COLUMNS} - {
        column.name for column in PROVENANCE_COLUMNS
    }
    for one, other in zip(measured, simulated, strict=True):
        check_bounds(config, one)
        if one["phase"] in PASSES and config.write_pattern == "stride":
            assert {name: one[name] for name in VISITS} == {name: other[name] for name in VISITS}
        assert (one["timeline"] is None) == (other["timeline"] is None)
        if one["timeline"] is not None:
            check_disturbance(one)


def check_disturbance(row: Row) -> None:
    """What holds of a phase in which the vCPUs ran, in whatever order things happened."""
    for kind in ("read", "write"):
        stalls = [row[f"{kind}_stall_{part}_ns"] for part in ("p50", "p90", "p99", "p999", "max")]
        if row[f"{kind}s"] == 0:
            assert stalls == [None] * 5
            continue
        assert stalls == sorted(stalls)
        assert stalls[-1] <= row["seconds"] * 1e9 * (1 + 1e-9)
    assert sum(one["accesses"] for one in row["timeline"]) <= row["accesses"]
    assert row["retries"] <= row["faults"]
    assert row["undisturbed_per_ms"] > 0
    assert 0 <= row["dip_depth"] <= 1
    assert row["dip_seconds"] <= row["seconds"] * (1 + 1e-9)


@pytest.mark.parametrize("mmu", ["tdp", "legacy_tdp", "shadow", "nested"])
def test_an_eager_enable_splits_everything_once_beside_running_vcpus(mmu: str) -> None:
    config = make_config(
        {"mmu": mmu, "vcpus": 2, "mem_per_vcpu": "16MiB", "backing": "2M", "concurrent": True, "iterations": 1}
        | {"initially_all_set": False}
    )
    counts = [
        column.name for column in COUNT_COLUMNS if column.name.startswith(("splits", "tables", "zapped", "pages_"))
    ]
    measured, simulated = (
        next(row for row in rows if row["phase"] == "enable") for rows in (measure(live(config)), simulate(config))
    )
    same = [name for name in counts if name != "pages_written"]
    assert {name: measured[name] for name in same} == {name: simulated[name] for name in same}
    assert measured["splits_2m"] == 16


def test_vcpus_run_during_an_ioctl_and_feel_its_flushes() -> None:
    for _ in range(50):  # a busy host may leave a vCPU no CPU for so long
        enable = rows_of(mmu="legacy_tdp", mem_per_vcpu="512MiB", write_percent=0)["enable", None]
        if enable["ipis_received"]:
            break
    assert enable["accesses"] > 0
    assert 0 < enable["ipis_received"] <= enable["tlb_flushes"]
    assert enable["stalled_flush_seconds"] > 0
    assert enable["faults"] == 0  # nobody faults on a page that is mapped and only read


def test_what_the_guest_computes_between_accesses_takes_its_time() -> None:
    thinking = rows_of(mmu="tdp", mem_per_vcpu="2MiB", think_ns=20_000)["dirty", 1]
    assert thinking["seconds"] >= 512 * 20e-6


def test_a_run_whose_ioctl_thread_has_no_cpu_is_oversubscribed() -> None:
    config = make_config({"vcpus": len(usable_cpus()), "mem_per_vcpu": "2MiB", "backing": "2M", "engine": "live"})
    assert not host_facts(config)["oversubscribed"]
    assert host_facts(dataclasses.replace(config, concurrent=True))["oversubscribed"]
