"""A plan covers what is missing, once, in batches that come in a useful order."""

from __future__ import annotations

import itertools
from pathlib import Path

import hypothesis.strategies as st
from hypothesis import given

from core.config import Config, make_config
from core.identity import config_id
from core.run import estimated_seconds
from sweep.running.plan import BATCH_SECONDS, LAST_BATCH_SECONDS, LIVE_BATCH_CONFIGS, make_plan, split_batch
from sweep.spec.configs import load_spec
from tests.sweep.engines import some_configs

GRID = [
    make_config({"vcpus": vcpus, "mmu": mmu, "split": split, "write_percent": percent})
    for vcpus, mmu, split, percent in itertools.product(
        (1, 2, 8, 64), ("tdp", "legacy_tdp"), ("lazy", "eager"), (5, 20, 100)
    )
]

LIVE_GRID = [
    make_config({"engine": "live", "vcpus": vcpus, "mem_per_vcpu": "2MiB", "repeat": repeat})
    for vcpus, repeat in itertools.product((1, 2, 8), range(40))
]

configs = st.lists(st.sampled_from(GRID))
any_configs = st.lists(st.sampled_from(GRID + LIVE_GRID))


@given(any_configs, st.sets(st.sampled_from([config_id(config) for config in GRID + LIVE_GRID])))
def test_a_plan_covers_each_missing_config_exactly_once(configs: list[Config], finished: set[str]) -> None:
    plan = make_plan(configs, finished)
    wanted = {config_id(config) for config in configs}
    planned = [task.config_id for batch in plan.batches for task in batch.tasks]
    assert sorted(planned) == sorted(wanted - finished)
    assert (plan.configs_to_run, plan.already_done) == (len(planned), len(wanted & finished))


@given(any_configs)
def test_the_order_of_the_configs_makes_no_difference(configs: list[Config]) -> None:
    assert tuple(make_plan(configs, set()).batches) == tuple(make_plan(configs[::-1], set()).batches)


@given(configs)
def test_expensive_configs_come_first_and_batches_stay_small(configs: list[Config]) -> None:
    batches = make_plan(configs, set()).batches
    costs = [task.estimated_seconds for batch in batches for task in batch.tasks]
    assert costs == sorted(costs, reverse=True)
    assert all(batch.estimated_seconds <= BATCH_SECONDS or len(batch.tasks) == 1 for batch in batches)


def test_batches_grow_with_the_sweep_and_shrink_towards_its_end() -> None:
    batches = make_plan(some_configs(*range(1, 10_001), mem_per_vcpu="64MiB"), set()).batches
    sizes = [batch.estimated_seconds for batch in batches]
    assert sizes[0] > 0.9 * BATCH_SECONDS
    assert sizes[:-1] == sorted(sizes[:-1], reverse=True)
    assert 0.9 * LAST_BATCH_SECONDS < sizes[-2] <= LAST_BATCH_SECONDS


def test_a_few_small_configs_occupy_more_than_one_worker() -> None:
    assert len(make_plan(some_configs(*range(1, 101), mem_per_vcpu="64MiB"), set()).batches) > 1


def test_estimates_add_up() -> None:
    plan = make_plan(GRID, set())
    assert abs(plan.estimated_seconds - sum(map(estimated_seconds, GRID))) < 1e-6


def test_the_name_of_a_batch_follows_from_its_configs() -> None:
    (batch,) = make_plan(GRID[:2], set()).batches
    again, other = make_plan(GRID[1::-1], set()).batches[0], make_plan(GRID[:1], set()).batches[0]
    assert batch.name == again.name != other.name


def test_a_batch_splits_into_its_configs() -> None:
    (batch,) = make_plan(GRID[:2], set()).batches
    assert [single.tasks for single in split_batch(batch)] == [(task,) for task in batch.tasks]


def test_live_configs_of_equal_vcpus_make_small_batches_that_ask_for_as_many_cpus() -> None:
    batches = make_plan(GRID + LIVE_GRID, set()).batches
    for batch in batches:
        if any(task.config.engine == "live" for task in batch.tasks):
            assert {(task.config.engine, task.config.vcpus) for task in batch.tasks} == {("live", batch.cpus)}
            assert len(batch.tasks) <= LIVE_BATCH_CONFIGS
        else:
            assert batch.cpus == 1
    assert len(batches[0].tasks) == LIVE_BATCH_CONFIGS


def test_the_widest_batches_come_first_and_among_equals_the_most_expensive() -> None:
    batches = make_plan(GRID + LIVE_GRID, set()).batches
    order = [(batch.cpus, batch.tasks[0].estimated_seconds) for batch in batches]
    assert order == sorted(order, reverse=True)
    assert {cpus for cpus, _ in order} == {1, 2, 8}


def test_live_batches_that_may_share_cpus_ask_for_one() -> None:
    shared = make_plan(LIVE_GRID, set(), share_cpus=True).batches
    assert {batch.cpus for batch in shared} == {1}
    assert {batch.name for batch in shared} == {batch.name for batch in make_plan(LIVE_GRID, set()).batches}


def test_a_plan_counts_the_time_of_all_cores() -> None:
    plan = make_plan(LIVE_GRID, set())
    assert abs(plan.estimated_seconds - sum(estimated_seconds(config) * config.vcpus for config in LIVE_GRID)) < 1e-6


def test_the_configs_of_a_split_batch_need_as_many_cpus() -> None:
    batch = make_plan(LIVE_GRID, set()).batches[0]
    assert [single.cpus for single in split_batch(batch)] == [8] * LIVE_BATCH_CONFIGS


def test_a_plan_of_a_spec_is_that_of_its_configs(tmp_path: Path) -> None:
    spec_file = tmp_path / "spec.toml"
    spec_file.write_text(
        'name = "s"\n[fixed]\nmem_per_vcpu = "2MiB"\naccess_order = "random"\n'
        "[[grid]]\nseed = [1, 2, 3]\nvcpus = [1, 2]\n[[grid]]\nvcpus = [3]\nengine = 'live'\nrepeat = [1, 2]\n"
    )
    configs = load_spec(spec_file).configs
    finished = {config_id(configs[0]), config_id(configs[4]), config_id(configs[6])}
    plan, listed = make_plan(configs, finished), make_plan(list(configs), finished)
    assert tuple(plan.batches) == tuple(listed.batches)
    assert (plan.configs_to_run, plan.already_done) == (listed.configs_to_run, listed.already_done) == (5, 3)
    assert plan.count({config_id(config) for config in configs}) == 5
    assert [config.engine for config in plan.examples] == ["sim", "live"]
