"""The guest's accesses: dirty_log_perf_test's own patterns."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from core.tables import write_stride
from core.workload import is_written_by_stride, next_draw, order_key, shuffled, stride_writes


def test_a_fifth_of_the_pages_is_every_fifth_page() -> None:
    assert [page for page in range(16) if is_written_by_stride(page, 20, write_stride(20))] == [0, 5, 10, 15]


def test_a_third_of_the_pages_is_every_third_page() -> None:
    assert [page for page in range(12) if is_written_by_stride(page, 33, write_stride(33))] == [0, 3, 6, 9]


@given(st.integers(0, 100), st.integers(0, 5000), st.integers(0, 5000))
def test_writes_of_a_stretch_are_counted_without_visiting_it(percent: int, first: int, length: int) -> None:
    stride = write_stride(percent)
    one_by_one = sum(is_written_by_stride(page, percent, stride) for page in range(first, first + length))
    assert stride_writes(first, first + length, percent, stride) == one_by_one


@given(st.integers(1, 100), st.integers(0, 10_000))
def test_writes_are_spread_evenly(percent: int, first: int) -> None:
    assert abs(stride_writes(first, first + 100, percent, write_stride(percent)) - percent) <= 1


def test_the_generator_is_the_selftests() -> None:
    draws, state = [], 1
    for _ in range(4):
        state = next_draw(state)
        draws.append(state)
    assert draws == [48271, 182605794, 1291394886, 1914720637]  # MINSTD with multiplier 48271, from 1


@given(st.integers(1, 3000), st.integers(1, 1000), st.integers(0, 100), st.integers(0, 20))
def test_a_random_order_visits_every_page_once(pages: int, seed: int, vcpu: int, pass_number: int) -> None:
    key = order_key(seed, vcpu, pass_number)
    assert sorted(shuffled(visit, pages, key) for visit in range(pages)) == list(range(pages))


def test_the_random_order_differs_between_vcpus_and_passes() -> None:
    orders = {
        tuple(shuffled(visit, 100, order_key(1, vcpu, pass_number)) for visit in range(100))
        for vcpu in range(4)
        for pass_number in range(4)
    }
    assert len(orders) == 16
