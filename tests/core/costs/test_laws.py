"""The laws of the costs: what a phase takes follows what KVM does in it, as docs/model.md says."""

from __future__ import annotations

import pytest

from core.config import make_config
from core.costs.laws import COSTS, costs_of
from core.costs.profile import PARAMETERS, Profile, load_profile, profile_of
from core.rows import Row
from core.sim.engine import simulate

PROFILE = load_profile("cascade-lake-2022")
MACHINE = {"machine.cores": 1e6, "machine.cpus": 1e6, "machine.node_gib": 1e6, "ioctl.clear_since_6_4": 1.0}


def only(**costs: float) -> Profile:
    """A profile in which everything is free but `section__name` costs, in nanoseconds."""
    named = {name.replace("__", "."): value for name, value in costs.items()}
    return profile_of("only", dict.fromkeys(PARAMETERS, 0.0) | MACHINE | named, "only")


def phases(profile: Profile, **values: object) -> dict[tuple[str, int | None], Row]:
    config = make_config({"mem_per_vcpu": "8MiB", "backing": "2M", "initially_all_set": False} | values)
    return {(row["phase"], row["iteration"]): row for row in simulate(config, costs_of(config, profile))}


def nanoseconds(profile: Profile, phase: str, iteration: int | None = None, **values: object) -> float:
    seconds: float = phases(profile, **values)[phase, iteration]["seconds"]
    return seconds * 1e9


@pytest.mark.parametrize(("kernel", "flushes"), [("6.1", 4), ("6.12", 4), ("7.3", 1)])
def test_a_disable_flushes_for_every_table_it_drops_and_once_where_it_recovers_in_place(
    kernel: str, flushes: int
) -> None:
    assert nanoseconds(only(ioctl__flush_ns=1000.0), "disable", kernel=kernel) == pytest.approx(flushes * 1000)


@pytest.mark.parametrize("kernel", ["6.12", "7.3"])
def test_a_disable_pays_for_every_leaf_below_a_table_in_place_or_not(kernel: str) -> None:
    assert nanoseconds(only(ioctl__zap_tdp_ns=10.0), "disable", kernel=kernel) == pytest.approx(2048 * 10)


@pytest.mark.parametrize(("mmu", "questions"), [("tdp", 5), ("legacy_tdp", 2048), ("shadow", 0)])
def test_a_disable_of_4k_backing_drops_nothing_and_walks_all_the_same(mmu: str, questions: int) -> None:
    """The TDP MMU asks the host for each table, five here, as the memory starts a page below a 2M boundary."""
    profile = only(ioctl__host_level_ns=10.0)
    assert nanoseconds(profile, "disable", backing="4K", mmu=mmu) == pytest.approx(questions * 10, abs=10)


@pytest.mark.parametrize(
    ("split", "all_set", "walks"), [("fault", True, 2), ("eager", True, 3), ("fault", False, 1), ("eager", False, 1)]
)
def test_a_clear_walks_from_the_root_for_each_word_and_purpose(split: str, all_set: bool, walks: int) -> None:
    profile = only(ioctl__walk_root_ns=100.0)
    found = nanoseconds(profile, "clear", 1, split=split, initially_all_set=all_set)
    assert found == pytest.approx(walks * 100 * 2048 / 64)


def test_an_eager_split_in_a_clear_costs_what_it_costs_at_enable() -> None:
    profile = only(ioctl__split_rmap_ns=10.0, ioctl__protect_ns=1.0)
    at_enable = nanoseconds(profile, "enable", mmu="legacy_tdp")
    assert at_enable == pytest.approx(2048 * 11)
    assert nanoseconds(profile, "clear", 1, mmu="legacy_tdp", initially_all_set=True) == pytest.approx(at_enable)


@pytest.mark.parametrize("mmu", ["legacy_tdp", "shadow", "nested"])
@pytest.mark.parametrize(("phase", "all_set"), [("enable", False), ("clear", True)])
def test_eager_splits_of_mmus_with_rmaps_pay_for_a_flush_each_up_to_6_12(mmu: str, phase: str, all_set: bool) -> None:
    profile = only(ioctl__flush_ns=100.0)
    values: dict[str, object] = {"mmu": mmu, "initially_all_set": all_set}
    iteration = 1 if all_set else None
    assert nanoseconds(profile, phase, iteration, kernel="6.12", **values) == pytest.approx((4 + 1) * 100)
    assert nanoseconds(profile, phase, iteration, kernel="7.3", **values) == pytest.approx(100)
    assert nanoseconds(profile, phase, iteration, **values | {"mmu": "tdp"}) == pytest.approx(100)


@pytest.mark.parametrize("mmu", ["tdp", "legacy_tdp", "shadow", "nested"])
def test_each_word_of_a_clear_costs_what_it_costs_however_large_the_memory_is(mmu: str) -> None:
    profile = only(ioctl__clear_word_ns=50.0, ioctl__remote_scan=9.0, ioctl__remote_update=9.0)
    found = nanoseconds(profile, "clear", 1, mmu=mmu, initially_all_set=True)
    assert found == pytest.approx(2048 / 64 * 50)
    large = costs_of(make_config({"mmu": mmu, "vcpus": 64}), profile)
    assert int(large.clear_word) == 50_000


def test_a_split_cache_that_is_filled_again_costs_once_for_each_split_of_a_clear() -> None:
    profile = only(ioctl__split_cache_ns=1000.0)
    values: dict[str, object] = {"mmu": "legacy_tdp", "initially_all_set": True}
    assert nanoseconds(profile, "clear", 1, **values) == 0
    assert nanoseconds(profile, "clear", 1, split_cache="refilled", **values) == pytest.approx(4000)
    assert nanoseconds(profile, "clear", 2, split_cache="refilled", **values) == 0


def test_clears_of_the_tdp_mmu_cost_less_since_6_4_and_others_what_they_did() -> None:
    def pages(mmu: str, kernel: str) -> float:
        profile = only(ioctl__clear_page_tdp_ns=10.0, ioctl__clear_page_dbit_ns=10.0, ioctl__clear_since_6_4=0.5)
        return nanoseconds(profile, "clear", 2, mmu=mmu, kernel=kernel) / 2048

    assert (pages("tdp", "6.1"), pages("tdp", "6.12"), pages("tdp", "7.3")) == pytest.approx((10, 5, 5))
    assert (pages("legacy_tdp", "6.1"), pages("legacy_tdp", "6.12")) == pytest.approx((10, 10))


def test_the_first_get_also_gives_user_space_its_bitmap() -> None:
    profile = only(ioctl__get_word_ns=1.0, ioctl__get_first_word_ns=2.0)
    assert nanoseconds(profile, "get", 1) == pytest.approx(3 * 2048 / 64)
    assert nanoseconds(profile, "get", 2) == pytest.approx(2048 / 64)


def test_a_write_lock_costs_by_those_who_are_at_it_and_not_by_the_size_of_the_virtual_machine() -> None:
    """With all 16 at it a hand-over costs three doublings more than between two; one writer at a time pays for none."""
    together = only(lock__hand_log2_ns=1000.0, fault__shadow_fix_ns=100.0)
    apart = only(lock__hand_log2_ns=1000.0, fault__shadow_fix_ns=100.0, guest__stagger_log2_ns=4e6)
    values: dict[str, object] = {"mmu": "shadow", "split": "eager", "vcpus": 16, "iterations": 1}
    crowded = phases(together, **values)["dirty", 1]
    alone = phases(apart, **values | {"write_percent": 1})["dirty", 1]
    assert 2000 < 1e9 * crowded["seconds"] / crowded["faults"] < 3500
    assert 1e9 * alone["lock_wait_seconds"] / alone["faults"] < 200


def test_a_dropped_leaf_interrupts_the_cpus_in_guest_mode_and_ioctls_interrupt_nobody() -> None:
    profile = only(fault__flush_cpu_ns=100.0, guest__stagger_log2_ns=1e9)
    found = phases(profile, mmu="tdp", split="lazy", vcpus=4, kernel="6.1", iterations=1)
    assert found["dirty", 1]["lock_hold_seconds"] * 1e9 == pytest.approx(16 * 3 * 100)  # 16 leaves, 3 other vCPUs
    assert found["enable", None]["seconds"] == found["disable", None]["seconds"] == 0


def test_accesses_through_4k_leaves_cost_a_longer_walk() -> None:
    profile = only(guest__write_ns=10.0, guest__small_leaf_ns=5.0)
    assert nanoseconds(profile, "dirty", 1, initially_all_set=True) == pytest.approx(2048 * 10)
    assert nanoseconds(profile, "dirty", 2, initially_all_set=True, pml=True) == pytest.approx(2048 * 15)


def test_costs_are_whole_picoseconds_that_grow_with_remote_memory() -> None:
    few = costs_of(make_config({"mmu": "shadow", "vcpus": 2}), PROFILE)
    many = costs_of(make_config({"mmu": "shadow", "vcpus": 33}), PROFILE)
    assert few.dtype == COSTS
    assert few.hand_over == many.hand_over
    assert few.scan_head < many.scan_head  # the metadata of 33 GiB lies on two nodes
    assert few.fault_outside == many.fault_outside
