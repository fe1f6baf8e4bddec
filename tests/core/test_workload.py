"""The guest's accesses: dirty_log_perf_test's own patterns."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from core.config import Config, make_config
from core.rows import Row
from core.shares import write_stride
from core.sim.engine import simulate
from core.steps import steps_of
from core.tables import machine_of
from core.workload import is_written_by_stride, next_draw, order_key, page_of_visit, shuffled, stride_writes


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


def pages_of_pass(config: Config, pass_number: int) -> list[int]:
    """The pages of its share that vCPU 0 visits in its pass of that iteration."""
    machine = machine_of(config)
    (rules,) = (step.rules for step in steps_of(config) if step.name == "dirty" and step.iteration == pass_number)
    key = order_key(config.seed, 0, pass_number)
    return [page_of_visit(machine, rules, visit, pass_number, key) for visit in range(rules.visits)]


def test_a_working_set_is_the_first_pages_of_the_share() -> None:
    config = make_config({"mem_per_vcpu": "4MiB", "working_set": 10})
    assert pages_of_pass(config, 1) == list(range(102))


@given(st.sampled_from(["sequential", "random"]), st.integers(1, 99), st.integers(1, 100))
def test_with_skew_a_pass_still_visits_each_page_of_the_working_set_once(order: str, hot: int, skew: int) -> None:
    config = make_config({"mem_per_vcpu": "2MiB", "working_set": hot, "skew": skew, "access_order": order})
    pages = pages_of_pass(config, 1)
    inside = [page for page in pages if page < config.pages_in_working_set]
    assert sorted(inside) == list(range(config.pages_in_working_set))
    assert max(pages) < 512
    assert len(inside) * 100 >= skew * len(pages) > (len(inside) - 1) * 100


def test_what_goes_beyond_the_working_set_goes_round_the_rest_from_pass_to_pass() -> None:
    config = make_config({"mem_per_vcpu": "4MiB", "working_set": 50, "skew": 80, "iterations": 4})
    rest = [page for number in range(1, 5) for page in pages_of_pass(config, number) if page >= 512]
    assert rest == [512 + (128 + visit) % 512 for visit in range(512)]


def rows_of(**values: object) -> dict[tuple[str, int | None], Row]:
    return {(row["phase"], row["iteration"]): row for row in simulate(make_config(values))}


def test_populate_touches_all_memory_and_only_the_working_set_is_dirty_afterwards() -> None:
    rows = rows_of(vcpus=2, mem_per_vcpu="8MiB", backing="2M", initially_all_set=False, working_set=25)
    assert rows["populate", None]["pages_written"] == 4096
    assert rows["dirty", 1]["pages_written"] == rows["get", 1]["dirty_pages"] == 1024
    assert rows["enable", None]["splits_2m"] == 8  # eager splitting splits what nobody writes, too


def test_pages_written_twice_by_a_skewed_pass_count_once() -> None:
    """0.8 of the accesses go round the 0.1 of the memory that is no working set, several times a pass."""
    rows = rows_of(mem_per_vcpu="4MiB", initially_all_set=False, working_set=90, skew=20, iterations=1)
    assert rows["dirty", 1]["accesses"] > 4 * 1024
    assert rows["dirty", 1]["pages_written"] == rows["get", 1]["dirty_pages"] == 1024
