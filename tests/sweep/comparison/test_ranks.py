"""The rank tests are exact: they agree with scipy where it has them, and with counting where it does not."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import assume, given
from hypothesis import strategies as st

from sweep.comparison.ranks import adjusted, joint_rank_sum, mean_ratio, rank_sum, ratio, repeats_needed

times = st.lists(st.integers(1, 9).map(float), min_size=1, max_size=6)
"""Few values, so that there are ties."""


@given(st.lists(st.integers(1, 10**6), min_size=2, max_size=16, unique=True), st.data())
def test_without_ties_it_is_the_exact_mann_whitney_test(values: list[int], data: st.DataObject) -> None:
    cut = data.draw(st.integers(1, len(values) - 1))
    base, new = values[:cut], values[cut:]
    expected = scipy.stats.mannwhitneyu(new, base, method="exact").pvalue
    assert rank_sum(base, new).p_value == pytest.approx(expected)


@given(times, times)
def test_with_ties_it_is_the_share_of_all_exchanges_that_rank_as_far_out(base: list[float], new: list[float]) -> None:
    values = [*base, *new]
    ranks = scipy.stats.rankdata(values)
    found = sum(ranks[len(base) :])
    sums = [sum(chosen) for chosen in itertools.combinations(ranks, len(new))]
    tails = sum(s <= found for s in sums), sum(s >= found for s in sums)
    assert rank_sum(base, new).p_value == pytest.approx(min(1, 2 * min(tails) / len(sums)))


@given(st.lists(st.tuples(times, times), min_size=2, max_size=3))
def test_several_configs_are_exchanged_within_each_config_only(configs: list[tuple[list[float], list[float]]]) -> None:
    assume(math.prod(math.comb(len(base) + len(new), len(new)) for base, new in configs) < 20_000)
    sums_of_each = []
    found = 0.0
    for base, new in configs:
        ranks = scipy.stats.rankdata([*base, *new])
        found += sum(ranks[len(base) :])
        sums_of_each.append([sum(chosen) for chosen in itertools.combinations(ranks, len(new))])
    sums = [sum(parts) for parts in itertools.product(*sums_of_each)]
    tails = sum(s <= found for s in sums), sum(s >= found for s in sums)
    joint = joint_rank_sum([rank_sum(base, new) for base, new in configs])
    assert joint.p_value == pytest.approx(min(1, 2 * min(tails) / len(sums)))


def test_many_configs_follow_the_normal_law_and_never_claim_more_than_counting_does() -> None:
    part = rank_sum([1.0, 2, 3, 4, 5], [6.0, 7, 8, 9, 10])
    assert part.p_value == pytest.approx(2 / 252)
    exact = joint_rank_sum([part] * 5).p_value
    assert exact == pytest.approx(2 * (1 / 252) ** 5)
    assert joint_rank_sum([part] * 30).p_value > 2 * (1 / 252) ** 30


def test_large_samples_agree_with_scipy_to_a_percent() -> None:
    random = np.random.default_rng(1)
    base, new = random.normal(0, 1, 80), random.normal(0.4, 1, 90)
    expected = scipy.stats.mannwhitneyu(new, base, method="asymptotic").pvalue
    assert rank_sum(base.tolist(), new.tolist()).p_value == pytest.approx(expected, rel=0.01)


@given(times, times)
def test_sides_exchanged_give_the_same_p_value(base: list[float], new: list[float]) -> None:
    assert rank_sum(base, new).p_value == pytest.approx(rank_sum(new, base).p_value)


@pytest.mark.parametrize(("repeats", "least"), [(3, 0.1), (4, 2 / 70), (5, 2 / 252), (10, 2 / 184756)])
def test_what_so_few_repeats_can_show_at_most(repeats: int, least: float) -> None:
    base, new = list(range(repeats)), list(range(repeats, 2 * repeats))
    assert rank_sum(base, new).chance.least_p == pytest.approx(least)


@pytest.mark.parametrize(("alpha", "repeats"), [(0.05, 4), (0.01, 5), (0.001, 7)])
def test_repeats_needed_for_a_level(alpha: float, repeats: int) -> None:
    assert repeats_needed(alpha) == repeats


def test_equal_values_show_nothing() -> None:
    assert rank_sum([1.0, 1, 1], [1.0, 1, 1]).p_value == 1


def test_the_ratio_is_the_median_of_all_ratios_with_its_exact_interval() -> None:
    base, new = [1.0, 1.1, 1.2, 1.3, 1.4], [2.0, 2.2, 2.4, 2.6, 2.8]
    ratios = sorted(after / before for before in base for after in new)
    found = ratio(base, new)
    assert found is not None
    assert found.value == pytest.approx(2.0)
    # of five against five the third smallest and the third largest ratio hold 96.8%
    assert (found.low, found.high) == (pytest.approx(ratios[2]), pytest.approx(ratios[-3]))


@pytest.mark.parametrize("repeats", [1, 2, 3])
def test_three_repeats_have_no_interval_of_95_percent(repeats: int) -> None:
    found = ratio([1.0] * repeats, [2.0] * repeats)
    assert found is not None
    assert (found.value, found.low, found.high) == (pytest.approx(2.0), None, None)


def test_values_of_zero_have_no_ratio() -> None:
    assert ratio([0.0, 1.0], [1.0, 2.0]) is None


def test_the_interval_covers_what_it_says() -> None:
    random = np.random.default_rng(2)
    inside = 0
    for _ in range(1000):
        found = ratio(np.exp(random.normal(0, 0.1, 6)).tolist(), np.exp(random.normal(0.2, 0.1, 6)).tolist())
        assert found is not None
        assert found.low is not None
        assert found.high is not None
        inside += found.low <= math.exp(0.2) <= found.high
    assert 935 <= inside <= 980  # exact coverage: 95.9%


def test_the_mean_of_ratios_is_geometric() -> None:
    found = mean_ratio([2.0, 0.5, 1.0])
    assert found.value == pytest.approx(1.0)
    assert found.low is not None
    assert found.low < 0.5


def test_p_values_are_adjusted_as_benjamini_and_hochberg_say() -> None:
    assert adjusted([0.001, 0.01, 0.03, 0.2]).tolist() == pytest.approx([0.004, 0.02, 0.04, 0.2])
