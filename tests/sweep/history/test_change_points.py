"""Changes of level over nights: found where they are, not found where there are none, and as a library finds them."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from sweep.history.change_points import CREEP_NIGHTS, best_step, creep, steps

ALPHA = 0.001
FOUND_BY_RUPTURES = json.loads((Path(__file__).parents[2] / "data" / "change-points.json").read_text())

series = st.lists(st.floats(-1, 1), min_size=6, max_size=40)


def noise(nights: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.01, nights)


def test_a_step_is_found_at_the_first_night_of_the_new_level() -> None:
    (step,) = steps([*noise(20), *(0.05 + noise(10, seed=1))], ALPHA)
    assert step.index == 20
    assert step.shift == pytest.approx(0.05, abs=0.01)


def test_two_steps_are_both_found_though_the_last_level_is_the_first_one() -> None:
    found = steps([*noise(20), *(0.1 + noise(12, seed=1)), *noise(20, seed=2)], ALPHA)
    assert [step.index for step in found] == [20, 32]
    assert [step.shift for step in found] == [pytest.approx(0.1, abs=0.02), pytest.approx(-0.1, abs=0.02)]


def test_levels_without_scatter_change_where_they_change() -> None:
    assert [step.index for step in steps([1.0] * 8 + [1.5] * 4, ALPHA)] == [8]
    assert steps([1.0] * 12, ALPHA) == []


def test_an_outlier_is_no_level() -> None:
    assert steps([*noise(15), 0.3, *noise(15, seed=1)], ALPHA) == []


def test_nights_without_change_seldom_have_a_step() -> None:
    assert sum(bool(steps(noise(50, seed), 0.05)) for seed in range(400)) <= 30  # 20 expected at most


def test_a_creep_is_found_that_no_step_is() -> None:
    values = 0.05 * np.arange(CREEP_NIGHTS) / (CREEP_NIGHTS - 1) + noise(CREEP_NIGHTS) / 4
    found = creep(values)
    assert found is not None
    assert found.p_value < ALPHA
    assert found.shift == pytest.approx(0.05, abs=0.01)


def test_the_slope_of_a_creep_is_tested_as_scipy_does() -> None:
    values = noise(CREEP_NIGHTS, seed=3)
    found = creep(values)
    assert found is not None
    assert found.p_value == pytest.approx(scipy.stats.linregress(range(CREEP_NIGHTS), values).pvalue)


def test_the_best_step_is_that_of_the_largest_t_statistic() -> None:
    values = noise(12, seed=4)
    best = max(range(3, 10), key=lambda split: abs(scipy.stats.ttest_ind(values[:split], values[split:]).statistic))
    found = best_step(values)
    assert found is not None
    assert found.index == best
    expected = scipy.stats.ttest_ind(values[:best], values[best:]).pvalue * 7
    assert found.p_value == pytest.approx(min(1, expected))


@given(series, st.floats(-5, 5))
def test_a_constant_added_to_all_nights_changes_nothing(values: list[float], constant: float) -> None:
    rounded = [round(value, 3) for value in values]
    moved = [value + round(constant, 3) for value in rounded]
    assert [step.index for step in steps(moved, ALPHA)] == [step.index for step in steps(rounded, ALPHA)]


@given(series)
def test_the_mirror_image_steps_the_other_way(values: list[float]) -> None:
    found, mirrored = steps(values, ALPHA), steps([-value for value in values], ALPHA)
    assert [(step.index, step.shift) for step in found] == [(step.index, -step.shift) for step in mirrored]


@given(series)
def test_levels_are_never_shorter_than_three_nights(values: list[float]) -> None:
    edges = [0, *(step.index for step in steps(values, 0.2)), len(values)]
    assert all(after - before >= 3 for before, after in pairwise(edges))


@pytest.mark.parametrize("nights", range(6))
def test_too_few_nights_have_no_step(nights: int) -> None:
    assert steps([float(night) for night in range(nights)], ALPHA) == []


@pytest.mark.parametrize("case", FOUND_BY_RUPTURES, ids=lambda case: case["name"])
def test_steps_are_those_that_the_library_ruptures_finds(case: dict[str, object]) -> None:
    values = case["series"]
    assert isinstance(values, list)
    assert [step.index for step in steps(values, ALPHA)] == case["change_points"]
