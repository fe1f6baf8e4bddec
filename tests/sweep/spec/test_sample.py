"""Sampled points: where they lie, and that they stay the same."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweep.errors import SpecError
from sweep.spec.sample import METHODS, Range, Sample, read_sample, sample_point, sample_rows

GIB = 2**30


def values_of(method: str, n: int, span: Range | tuple[object, ...], seed: int = 1) -> list[object]:
    """The values drawn of one field."""
    sample = Sample(n, method, seed, {"vcpus": span})
    return [sample_point(sample, row)["vcpus"] for row in sample_rows(sample)]


def test_a_table_is_read_with_its_ranges_and_choices() -> None:
    sample = read_sample(
        {
            "n": 8,
            "method": "sobol",
            "seed": 7,
            "ranges": {
                "vcpus": {"low": 2, "high": 64, "log": True},
                "mem_per_vcpu": {"low": "1GiB", "high": "4GiB", "step": "1GiB"},
                "split": ["lazy", "eager"],
                "mmu": "tdp",
            },
        }
    )
    assert sample == Sample(
        n=8,
        method="sobol",
        seed=7,
        ranges={
            "vcpus": Range(2, 64, 1, log=True),
            "mem_per_vcpu": Range(GIB, 4 * GIB, GIB),
            "split": ("lazy", "eager"),
            "mmu": ("tdp",),
        },
    )


@settings(deadline=None)  # the first call imports scipy
@given(
    method=st.sampled_from(["random", "sobol", "latin"]),
    n=st.integers(1, 64),
    low=st.integers(1, 500),
    steps=st.integers(1, 500),
    step=st.integers(1, 50),
    log=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_values_are_steps_of_the_range(
    method: str, n: int, low: int, steps: int, step: int, log: bool, seed: int
) -> None:
    allowed = range(low, low + steps * step + 1, step)
    values = values_of(method, n, Range(low, low + steps * step, step, log), seed)
    assert len(values) == n
    assert all(value in allowed for value in values)


@pytest.mark.parametrize("method", METHODS)
def test_the_same_seed_gives_the_same_points_and_another_seed_others(method: str) -> None:
    span = Range(1, 1_000_000)
    assert values_of(method, 16, span, seed=5) == values_of(method, 16, span, seed=5)
    assert values_of(method, 16, span, seed=5) != values_of(method, 16, span, seed=6)


@pytest.mark.parametrize("method", ["random", "sobol"])
def test_a_larger_sample_keeps_the_points_of_a_smaller_one(method: str) -> None:
    assert values_of(method, 37, Range(1, 4096))[:10] == values_of(method, 10, Range(1, 4096))


@pytest.mark.parametrize("method", METHODS)
def test_both_ends_of_a_range_are_drawn(method: str) -> None:
    assert set(values_of(method, 256, Range(3, 6))) == {3, 4, 5, 6}


@pytest.mark.parametrize("method", METHODS)
def test_every_choice_is_drawn(method: str) -> None:
    assert set(values_of(method, 64, (1, 2, 96))) == {1, 2, 96}


def test_latin_draws_each_equal_part_of_the_range_once() -> None:
    assert sorted(int(str(value)) // 10 for value in values_of("latin", 10, Range(0, 99))) == list(range(10))


def test_sobol_draws_each_of_a_power_of_two_of_values_once() -> None:
    assert sorted(int(str(value)) for value in values_of("sobol", 64, Range(1, 64))) == list(range(1, 65))


def test_log_makes_each_doubling_equally_likely() -> None:
    values = [int(str(value)) for value in values_of("latin", 1000, Range(1, 1023, log=True))]
    assert [sum(2**k <= value < 2 ** (k + 1) for value in values) for k in range(10)] == pytest.approx(
        [100] * 10, abs=1
    )


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"n": None}, "n: nothing is not allowed; allowed: a whole number of at least 1"),
        ({"n": 0}, "n: 0 is not allowed"),
        ({"n": 2.5}, "n: 2.5 is not allowed"),
        ({"method": "halton"}, "method: 'halton' is not allowed; allowed: random, sobol, latin"),
        ({"method": None}, "method: nothing is not allowed"),
        ({"seed": -1}, "seed: -1 is not allowed"),
        ({"vcpus": 2}, "vcpus: no such key; allowed: n, method, seed, ranges (fields go into [sample.ranges])"),
        ({"ranges": {}}, "ranges: missing or empty"),
        ({"ranges": {"vcpu": [1]}}, "ranges: vcpu: no such field"),
        ({"ranges": {"vcpu": {"low": 1, "high": 2}}}, "ranges: vcpu: no such field"),
        ({"ranges": {"vcpus": [2, 2]}}, "ranges: vcpus: 2 is there twice"),
        ({"ranges": {"vcpus": {"low": 2}}}, "ranges: vcpus: high missing"),
        ({"ranges": {"vcpus": {"low": 2, "high": 9, "base": 2}}}, "ranges: vcpus: base: no such key"),
        ({"ranges": {"vcpus": {"low": 0, "high": 9}}}, "ranges: vcpus: 0 is out of range"),
        ({"ranges": {"vcpus": {"low": 9, "high": 2}}}, "ranges: vcpus: low = 9 is not below high = 2"),
        ({"ranges": {"vcpus": {"low": 1, "high": 6, "step": 2}}}, "do not end at high = 6"),
        ({"ranges": {"vcpus": {"low": 1, "high": 6, "step": 0}}}, "step: 0 is not allowed"),
        ({"ranges": {"vcpus": {"low": 1, "high": 6, "log": 2}}}, "log: 2 is not allowed"),
        ({"ranges": {"write_percent": {"low": 0, "high": 9, "log": True}}}, "log = true needs low of at least 1"),
        ({"ranges": {"mem_per_vcpu": {"low": "1GiB", "high": "2GiB"}}}, "ranges: mem_per_vcpu: step missing"),
        ({"ranges": {"split": {"low": 1, "high": 2}}}, "ranges: split: only numbers have a range"),
    ],
)
def test_a_bad_table_says_what_is_wrong_and_what_is_allowed(changes: dict[str, object], complaint: str) -> None:
    table = {"n": 4, "method": "random", "ranges": {"vcpus": [2, 4]}} | changes
    with pytest.raises(SpecError) as caught:
        read_sample({key: value for key, value in table.items() if value is not None})
    assert complaint in str(caught.value)
