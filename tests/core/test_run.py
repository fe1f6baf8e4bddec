"""The engine's front door: which engine a config gets, and what its time is guessed to be."""

from __future__ import annotations

import pytest

from core.config import make_config
from core.live.cpus import usable_cpus
from core.run import estimated_seconds, run_config


def live_seconds(**values: object) -> float:
    return estimated_seconds(make_config({"engine": "live", "mem_per_vcpu": "64MiB", **values}))


def test_a_live_run_is_guessed_to_take_its_start_at_least() -> None:
    assert live_seconds(mem_per_vcpu="2MiB", backing="2M") == pytest.approx(0.11, rel=0.1)
    assert live_seconds(vcpus=64, mem_per_vcpu="2MiB", backing="2M") > 0.7


@pytest.mark.parametrize(
    ("less", "more"),
    [
        ({"mem_per_vcpu": "64MiB"}, {"mem_per_vcpu": "128MiB"}),
        ({"iterations": 1}, {"iterations": 3}),
        ({"write_percent": 10}, {"write_percent": 100}),
        ({"backing": "2M"}, {"backing": "4K"}),
        ({"partitioned": True, "vcpus": 64}, {"partitioned": False, "vcpus": 64}),
        ({"mmu": "nested", "guest_roots": 1}, {"mmu": "nested", "guest_roots": 4}),
    ],
)
def test_a_live_run_with_more_to_do_is_guessed_to_take_longer(less: dict[str, object], more: dict[str, object]) -> None:
    assert live_seconds(**less) < live_seconds(**more)


TAKEN: dict[float, dict[str, object]] = {
    0.07: {"vcpus": 4, "mmu": "tdp", "split": "lazy", "kernel": "6.1"},
    0.14: {"vcpus": 8, "mmu": "tdp", "backing": "4K"},
    0.009: {"vcpus": 8, "mmu": "tdp"},
    0.31: {"vcpus": 16, "mmu": "tdp", "split": "lazy", "kernel": "6.1"},
    0.25: {"vcpus": 24, "mmu": "tdp", "backing": "4K"},
    0.19: {"vcpus": 64, "mmu": "tdp", "backing": "4K"},
    0.071: {"vcpus": 64, "mmu": "tdp"},
    0.012: {"vcpus": 1, "mem_per_vcpu": "256MiB", "access_order": "random"},
    0.24: {"vcpus": 16, "mem_per_vcpu": "256MiB", "access_order": "random"},
    0.11: {"vcpus": 16, "mem_per_vcpu": "256MiB", "write_pattern": "random", "write_percent": 30},
    0.33: {"vcpus": 8, "mem_per_vcpu": "128MiB", "partitioned": False},
    0.043: {"vcpus": 64, "mmu": "shadow"},
    0.0121: {"vcpus": 16, "mmu": "nested"},
    2.6: {"vcpus": 4, "mem_per_vcpu": "1TiB", "backing": "1G", "slots": 4},
}
"""CPU seconds that simulations took on a core of an AMD EPYC (Zen 4), other programs running beside."""


@pytest.mark.parametrize("seconds", TAKEN)
def test_a_simulation_is_guessed_within_three_times_of_what_it_took(seconds: float) -> None:
    usual = {"mmu": "legacy_tdp", "split": "lazy", "mem_per_vcpu": "1GiB", "backing": "2M", "iterations": 1}
    logged = {"initially_all_set": False}
    split = {"split": "eager"} if TAKEN[seconds].get("mmu") == "tdp" else {}
    guessed = estimated_seconds(make_config(usual | logged | split | TAKEN[seconds]))
    assert seconds / 3 <= guessed <= 3 * seconds


def test_a_live_config_is_measured_and_has_the_rows_of_a_simulation_without_an_interval() -> None:
    values = {"mem_per_vcpu": "2MiB", "iterations": 1}
    before = usable_cpus()
    measured = run_config(make_config({**values, "engine": "live"}))
    simulated = run_config(make_config(values))
    assert [(row["phase"], row["iteration"]) for row in measured] == [
        (row["phase"], row["iteration"]) for row in simulated
    ]
    assert {row["engine"] for row in measured} == {"live"}
    assert {(row["seconds_lo"], row["seconds_hi"]) for row in measured} == {(None, None)}
    assert all(row["seconds"] > 0 for row in measured)
    assert usable_cpus() == before


def test_shares_that_end_within_a_page_of_the_backing_are_guessed_to_take_no_longer() -> None:
    lazy = {"mmu": "legacy_tdp", "split": "lazy", "backing": "1G", "initially_all_set": False, "vcpus": 208}
    straddling = estimated_seconds(make_config(lazy | {"mem_per_vcpu": "29.5GiB"}))
    assert straddling < estimated_seconds(make_config(lazy | {"mem_per_vcpu": "30GiB"}))


def test_what_cannot_be_skipped_is_guessed_to_take_longer() -> None:
    lazy = {"mmu": "legacy_tdp", "split": "lazy", "backing": "2M", "initially_all_set": False, "vcpus": 64}
    values: dict[str, object] = lazy | {"mem_per_vcpu": "4GiB"}
    skipped = estimated_seconds(make_config(values))
    assert estimated_seconds(make_config(values | {"access_order": "random"})) > 20 * skipped
    assert estimated_seconds(make_config(values | {"write_pattern": "random", "write_percent": 50})) > 10 * skipped
