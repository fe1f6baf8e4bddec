"""Fitting: what made the data is found again, what the data say nothing about is said to be so."""

from __future__ import annotations

import statistics
from pathlib import Path

import numpy as np
import pytest

from core.config import Config, make_config
from core.costs.laws import costs_of
from core.costs.profile import Profile, load_profile, profile_of
from core.sim.engine import simulate
from sweep.evidence.fit import FITTED, Fit, fit_profile
from sweep.evidence.measurements import Measured, published_as_measured
from sweep.evidence.prediction import cases_of, predict
from sweep.evidence.profile_text import profile_text

DEFAULT = load_profile("cascade-lake-2022")

TRUE_VALUES = {"fault.outside_ns": 1500.0, "lock.hand_log2_ns": 250.0, "ioctl.split_rmap_ns": 70.0}


def measured_with(profile: Profile) -> list[Measured]:
    """Timings of legacy_tdp machines as `profile` would make them."""
    timings = []
    for vcpus in (1, 4, 16, 32):
        for split in ("lazy", "eager"):
            values = {"mmu": "legacy_tdp", "split": split, "vcpus": vcpus, "backing": "2M", "mem_per_vcpu": "4MiB"}
            config = make_config(values | {"initially_all_set": False, "iterations": 1})
            for row in simulate(config, costs_of(config, profile)):
                if row["phase"] in ("enable", "dirty", "clear"):
                    timings.append(Measured(config, row["phase"], row["iteration"], row["seconds"], row["phase"]))
    return timings


@pytest.fixture(scope="module")
def fit() -> Fit:
    true = profile_of("true", dict(DEFAULT.values) | TRUE_VALUES, "true")
    return fit_profile(measured_with(true), DEFAULT)


@pytest.mark.parametrize("parameter", TRUE_VALUES)
def test_parameters_that_made_the_data_are_found_again(fit: Fit, parameter: str) -> None:
    assert fit.determined(parameter)
    assert fit.profile[parameter] == pytest.approx(TRUE_VALUES[parameter], rel=0.1)


@pytest.mark.parametrize("parameter", ["lock.line_ns", "fault.shadow_map_ns", "ioctl.clear_word_nested_ns"])
def test_parameters_of_other_machines_are_said_to_be_undetermined(fit: Fit, parameter: str) -> None:
    assert not fit.determined(parameter)


def test_a_fit_to_exact_data_leaves_next_to_no_error(fit: Fit) -> None:
    errors = [abs(p / timing.seconds - 1) for p, timing in zip(fit.predicted, fit.measured, strict=True)]
    assert statistics.median(errors) < 0.01


def test_a_written_profile_reads_back(fit: Fit, tmp_path: Path) -> None:
    path = tmp_path / "fitted.toml"
    path.write_text(profile_text(fit, "test"))
    read = load_profile(str(path))
    assert dict(read.values) == pytest.approx(dict(fit.profile.values), rel=1e-5)
    assert read.uncertainty is not None
    assert read.uncertainty.parameters == FITTED
    assert np.allclose(read.uncertainty.covariance, fit.covariance, rtol=1e-3)


def test_the_default_profile_keeps_its_promise_on_the_published_times() -> None:
    measured = published_as_measured()
    predicted = predict(cases_of(measured), DEFAULT, {})
    errors = sorted(abs(p / timing.seconds - 1) for p, timing in zip(predicted, measured, strict=True))
    assert len(errors) == 144
    assert statistics.median(errors) <= 0.03
    assert errors[int(0.9 * len(errors))] <= 0.12
    assert errors[-1] <= 0.30


def test_small_memory_predicts_the_full_size() -> None:
    config = make_config(
        {"mmu": "shadow", "split": "eager", "vcpus": 8, "backing": "2M", "mem_per_vcpu": "64MiB"}
        | {"initially_all_set": False, "iterations": 1}
    )
    for phase, seconds in seconds_by_phase(config).items():
        timing = Measured(config, *phase, seconds, "own")
        assert predict(cases_of([timing]), DEFAULT, {})[0] == pytest.approx(seconds, rel=0.03)


def seconds_by_phase(config: Config) -> dict[tuple[str, int | None], float]:
    rows = simulate(config, costs_of(config, DEFAULT))
    return {(row["phase"], row["iteration"]): row["seconds"] for row in rows if row["phase"] in ("enable", "dirty")}


def test_at_most_32_parameters_are_fitted() -> None:
    assert len(FITTED) == 28
    assert set(FITTED) <= set(DEFAULT.values)
