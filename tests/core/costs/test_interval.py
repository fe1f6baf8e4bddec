"""Intervals: symmetric in the logarithm, and made from how strongly each parameter moves the time."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings

from core.config import Config, make_config
from core.costs.beliefs import BELIEFS
from core.costs.interval import cost_shares, interval, is_determined, sensitivity
from core.costs.laws import costs_of
from core.costs.profile import load_profile
from core.run import run_config
from core.sim.engine import simulate
from tests.core.configurations import configurations

PROFILE = load_profile("cascade-lake-2022")
STEP = 0.02
FITTED = tuple(BELIEFS)


def moved_by(config: Config, parameter: str, phase: str) -> float:
    """d log seconds / d log parameter of a phase, by simulating twice."""
    values = dict(PROFILE.values) | {parameter: PROFILE[parameter] * math.exp(STEP)}
    changed = costs_of(config, dataclasses.replace(PROFILE, values=values))
    before, after = (
        next(row["seconds"] for row in simulate(config, costs) if row["phase"] == phase)
        for costs in (costs_of(config, PROFILE), changed)
    )
    return math.log(after / before) / STEP


@settings(max_examples=30)
@given(configurations())
def test_every_time_lies_in_the_middle_of_its_interval(config: Config) -> None:
    for row in run_config(config):
        if row["seconds"]:
            assert row["seconds_lo"] < row["seconds"] < row["seconds_hi"]
            assert math.sqrt(row["seconds_lo"] * row["seconds_hi"]) == pytest.approx(row["seconds"])


def test_a_profile_that_was_not_fitted_gives_no_interval() -> None:
    config = make_config({"mem_per_vcpu": "2MiB"})
    bare = dataclasses.replace(PROFILE, uncertainty=None)
    assert interval(config, bare, simulate(config)[0]) == (None, None)


@settings(max_examples=30)
@given(configurations())
def test_the_shares_of_all_costs_add_up_to_the_whole_time(config: Config) -> None:
    for row in simulate(config):
        if row["seconds"]:
            assert np.sum(cost_shares(config, PROFILE, row)) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("values", "phase", "parameter"),
    [
        ({"mmu": "shadow", "split": "lazy", "vcpus": 16}, "dirty", "lock.hand_log2_ns"),
        ({"mmu": "shadow", "split": "lazy", "vcpus": 16}, "dirty", "fault.shadow_map_ns"),
        ({"mmu": "shadow", "split": "lazy", "vcpus": 16}, "dirty", "fault.outside_ns"),
        ({"mmu": "legacy_tdp", "split": "lazy", "vcpus": 1}, "dirty", "fault.outside_ns"),
        ({"mmu": "tdp", "split": "lazy", "vcpus": 32}, "dirty", "lock.line_ns"),
        ({"mmu": "tdp", "split": "fault", "vcpus": 4}, "dirty", "fault.fast_ns"),
        ({"mmu": "tdp", "split": "eager", "vcpus": 4}, "dirty", "guest.pml_entry_ns"),
        ({"mmu": "legacy_tdp", "split": "eager", "vcpus": 4}, "enable", "ioctl.split_rmap_ns"),
        ({"mmu": "legacy_tdp", "split": "lazy", "vcpus": 4}, "enable", "ioctl.scan_head_ns"),
        ({"mmu": "legacy_tdp", "split": "eager", "vcpus": 4}, "clear", "ioctl.clear_page_dbit_ns"),
    ],
)
def test_counts_tell_how_far_a_parameter_moves_the_time(values: dict[str, object], phase: str, parameter: str) -> None:
    config = make_config(
        values | {"backing": "2M", "mem_per_vcpu": "16MiB", "initially_all_set": False, "iterations": 1}
    )
    row = next(row for row in simulate(config) if row["phase"] == phase)
    assert PROFILE.uncertainty is not None
    by_counts = sensitivity(config, PROFILE, row)
    index = PROFILE.uncertainty.parameters.index(parameter)
    assert by_counts[index] == pytest.approx(moved_by(config, parameter, phase), abs=0.12)


def test_a_time_that_rests_on_costs_that_no_measurement_determined_is_said_to_and_its_interval_is_wide() -> None:
    config = make_config({"backing": "2M", "mem_per_vcpu": "16MiB"})
    rows = {row["phase"]: row for row in simulate(config)}
    assert PROFILE.uncertainty is not None
    assert "ioctl.zap_tdp_ns" in PROFILE.uncertainty.undetermined
    assert not is_determined(config, PROFILE, rows["disable"])
    low, high = interval(config, PROFILE, rows["disable"])
    assert low is not None
    assert high is not None
    assert high / low > 2
    before = make_config({"backing": "2M", "mem_per_vcpu": "16MiB", "kernel": "6.1"})
    assert is_determined(before, PROFILE, {row["phase"]: row for row in simulate(before)}["clear"])
    bare = dataclasses.replace(PROFILE, uncertainty=None)
    assert is_determined(config, bare, rows["disable"])


def test_a_cost_of_0_that_nothing_determined_widens_an_interval_too() -> None:
    """A profile may know nothing of a cost and have it at 0: the time it adds elsewhere is uncertain all the same."""
    config = make_config({"backing": "2M", "mem_per_vcpu": "16MiB"})
    free = dataclasses.replace(PROFILE, values=dict(PROFILE.values) | {"ioctl.zap_tdp_ns": 0.0}, digest="free")
    row = next(row for row in simulate(config, costs_of(config, free)) if row["phase"] == "disable")
    index = FITTED.index("ioctl.zap_tdp_ns")
    assert sensitivity(config, free, row)[index] > 0


def test_a_phase_that_finds_nothing_to_do_has_an_interval_too() -> None:
    """Its counts tell of words that were looked at, its time is that of an empty loop."""
    config = make_config(
        {"vcpus": 64, "backing": "1G", "write_percent": 0, "split": "lazy", "initially_all_set": False, "iterations": 1}
    )
    for row in simulate(config):
        low, high = interval(config, load_profile(config.profile), row)
        assert low is not None
        assert high is not None
        assert row["seconds"] / 100 < low < row["seconds"] < high < row["seconds"] * 100
