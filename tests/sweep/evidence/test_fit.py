"""Fitting: what made the data is found again, what the data say nothing about is said to be so."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pytest

from core.config import Config, make_config
from core.costs.beliefs import BELIEFS
from core.costs.laws import costs_of
from core.costs.profile import Profile, load_profile, profile_of
from core.sim.engine import simulate
from sweep.evidence.fit import FITTED, Fit, fit_profile, near, outliers
from sweep.evidence.measurements import Measured, published_as_measured
from sweep.evidence.prediction import cases_of, linearised, predict
from sweep.evidence.profile_text import profile_text

DEFAULT = load_profile("cascade-lake-2022")

TRUE_VALUES = {"fault.outside_ns": 1500.0, "lock.hand_log2_ns": 250.0, "ioctl.split_rmap_ns": 70.0}


def measured_with(profile: Profile, **changes: object) -> list[Measured]:
    """Timings of legacy_tdp machines as `profile` would make them."""
    timings = []
    for vcpus in (1, 4, 16, 32):
        for split in ("lazy", "eager"):
            values = {"mmu": "legacy_tdp", "split": split, "vcpus": vcpus, "backing": "2M", "mem_per_vcpu": "4MiB"}
            config = make_config(values | {"initially_all_set": False, "iterations": 1} | changes)
            for row in simulate(config, costs_of(config, profile)):
                if row["phase"] in ("enable", "dirty", "clear"):
                    timings.append(Measured(config, row["phase"], row["iteration"], row["seconds"], row["phase"]))
    return timings


def changed(values: Mapping[str, float]) -> Profile:
    return profile_of("changed", dict(DEFAULT.values) | dict(values), "changed", DEFAULT.uncertainty)


@pytest.fixture(scope="module")
def fit() -> Fit:
    return fit_profile(measured_with(changed(TRUE_VALUES)), DEFAULT, near(DEFAULT))


def errors(found: Fit) -> list[float]:
    return [abs(p / timing.seconds - 1) for p, timing in zip(found.predicted, found.measured, strict=True)]


@pytest.mark.parametrize("parameter", TRUE_VALUES)
def test_parameters_that_made_the_data_are_found_again(fit: Fit, parameter: str) -> None:
    assert fit.determined(parameter)
    assert fit.profile[parameter] == pytest.approx(TRUE_VALUES[parameter], rel=0.1)


@pytest.mark.parametrize("parameter", ["lock.line_ns", "fault.shadow_map_ns", "ioctl.zap_tdp_ns"])
def test_parameters_of_other_machines_stay_near_the_base_and_are_said_to_be_undetermined(
    fit: Fit, parameter: str
) -> None:
    assert not fit.determined(parameter)
    assert fit.profile[parameter] == pytest.approx(DEFAULT[parameter], rel=0.35)
    assert fit.profile.uncertainty is not None
    assert parameter in fit.profile.uncertainty.undetermined


def test_a_fit_to_exact_data_leaves_next_to_no_error(fit: Fit) -> None:
    assert statistics.median(errors(fit)) < 0.01


def test_its_own_predictions_leave_a_profile_as_it_is() -> None:
    found = fit_profile(measured_with(DEFAULT), DEFAULT, near(DEFAULT))
    assert dict(found.profile.values) == pytest.approx(dict(DEFAULT.values), rel=1e-4)
    assert max(errors(found)) < 1e-6


def test_a_cost_that_is_0_in_the_base_profile_moves_where_the_data_say_so() -> None:
    base = changed({"ioctl.scan_head_ns": 0.0})
    found = fit_profile(measured_with(DEFAULT), base, near(base))
    assert found.profile["ioctl.scan_head_ns"] == pytest.approx(DEFAULT["ioctl.scan_head_ns"], rel=0.05)


def test_one_disturbed_run_does_not_spoil_a_profile_and_is_named() -> None:
    timings = measured_with(DEFAULT)
    spoilt = [dataclasses.replace(timings[0], seconds=300 * timings[0].seconds), *timings[1:]]
    found = fit_profile(spoilt, DEFAULT, near(DEFAULT))
    assert statistics.median(errors(found)) < 0.02
    assert [timing for timing, _ in outliers(found)] == [spoilt[0]]


def test_two_timings_leave_most_where_it_was() -> None:
    timings = [timing for timing in measured_with(changed(TRUE_VALUES)) if timing.phase == "dirty"][:2]
    found = fit_profile(timings, DEFAULT, near(DEFAULT))
    assert max(errors(found)) < 0.05
    assert found.profile.uncertainty is not None
    assert len(found.profile.uncertainty.undetermined) > len(FITTED) - 4


def test_a_written_profile_reads_back(fit: Fit, tmp_path: Path) -> None:
    path = tmp_path / "fitted.toml"
    path.write_text(profile_text(fit, "test"))
    read = load_profile(str(path))
    assert dict(read.values) == pytest.approx(dict(fit.profile.values), rel=1e-5)
    assert read.uncertainty is not None
    assert fit.profile.uncertainty is not None
    assert read.uncertainty.parameters == FITTED
    assert read.uncertainty.undetermined == fit.profile.uncertainty.undetermined
    assert np.allclose(read.uncertainty.covariance, fit.covariance, rtol=1e-3)


@pytest.mark.parametrize("mmu", ["tdp", "shadow"])
def test_how_times_move_with_parameters_is_what_simulating_again_says(mmu: str) -> None:
    timings = [timing for timing in measured_with(DEFAULT, mmu=mmu) if timing.config.vcpus in (1, 16)]
    cases = cases_of(timings)
    seconds, moves = linearised(cases, DEFAULT, FITTED)
    for parameter in ("fault.outside_ns", "lock.line_ns", "lock.hand_log2_ns", "ioctl.protect_ns"):
        there = predict(cases, changed({parameter: DEFAULT[parameter] * 1.02}))
        assert np.log(there / seconds) / 0.02 == pytest.approx(moves[:, FITTED.index(parameter)], abs=0.2)


def relative_errors(profile: Profile, timings: Iterable[Measured]) -> list[float]:
    measured = list(timings)
    predicted = predict(cases_of(measured), profile)
    return sorted(abs(p / timing.seconds - 1) for p, timing in zip(predicted, measured, strict=True))


def test_the_default_profile_keeps_its_promise_on_the_times_of_its_host() -> None:
    found = relative_errors(DEFAULT, published_as_measured("cascade-lake-2022"))
    assert len(found) == 210
    assert statistics.median(found) <= 0.03
    assert found[int(0.9 * len(found))] <= 0.10


def test_the_skylake_profile_keeps_its_promise_on_the_times_of_its_host() -> None:
    found = relative_errors(load_profile("skylake-2021"), published_as_measured("skylake-2021"))
    assert len(found) == 23
    assert statistics.median(found) <= 0.05
    assert found[-1] <= 0.30


def test_two_runs_of_a_host_predict_a_third() -> None:
    """Skylake: fitted to a run before a change and to one of the other MMU; the run after it changed disable only."""
    timings = published_as_measured("skylake-2021")
    third = [timing for timing in timings if "after" in timing.table and timing.phase != "disable"]
    fitted = fit_profile([timing for timing in timings if "after" not in timing.table], DEFAULT, near(DEFAULT))
    found = relative_errors(fitted.profile, third)
    assert len(found) == 7
    assert statistics.median(found) <= 0.10


def test_small_memory_predicts_the_full_size() -> None:
    config = make_config(
        {"mmu": "shadow", "split": "eager", "vcpus": 8, "backing": "2M", "mem_per_vcpu": "64MiB"}
        | {"initially_all_set": False, "iterations": 1}
    )
    for phase, seconds in seconds_by_phase(config).items():
        timing = Measured(config, *phase, seconds, "own")
        assert predict(cases_of([timing]), DEFAULT)[0] == pytest.approx(seconds, rel=0.03)


def seconds_by_phase(config: Config) -> dict[tuple[str, int | None], float]:
    rows = simulate(config, costs_of(config, DEFAULT))
    return {(row["phase"], row["iteration"]): row["seconds"] for row in rows if row["phase"] in ("enable", "dirty")}


def test_every_cost_has_a_belief_and_is_fitted() -> None:
    assert set(FITTED) == set(BELIEFS)
    rest = {name for name in DEFAULT.values if name not in FITTED}
    assumed = {"guest.tlb_refill_ns"}  # no timing tells it from the rest of a kick
    assert all(name.startswith(("machine.", "live.")) for name in rest - assumed)
