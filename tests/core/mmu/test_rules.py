"""Rules of KVM that no recorded count shows: what follows from how the host and the guest map a page."""

from __future__ import annotations

import pytest

from core.config import make_config
from core.costs.laws import costs_of
from core.costs.profile import load_profile
from core.rows import Row
from core.sim.engine import simulate

MIXED = {"populate_writes": "same", "write_pattern": "random", "write_percent": 20, "mem_per_vcpu": "64MiB"}


def phase(rows: list[Row], name: str, iteration: int | None = None) -> Row:
    return next(row for row in rows if (row["phase"], row["iteration"]) == (name, iteration))


def test_the_first_write_of_a_page_that_was_only_read_faults_twice() -> None:
    """The host replaces its zero page, drops the SPTE and lets the guest fault again, on nothing."""
    dirty = phase(simulate(make_config(MIXED | {"backing": "4K", "pml": False})), "dirty", 1)
    assert dirty["faults_write_protect"] == 2568
    assert dirty["faults_not_present"] == 2568
    assert dirty["faults_not_present_read"] == 0
    assert dirty["zapped_4k"] == dirty["tlb_flushes"] == 2568


def test_the_zero_page_is_dropped_under_every_root() -> None:
    values = {
        "mmu": "nested",
        "backing": "4K",
        "guest_page": "4K",
        "guest_roots": 3,
        "populate_writes": "same",
        "write_percent": 50,
    }
    populate = phase(simulate(make_config(values | {"mem_per_vcpu": "2MiB"})), "populate")
    assert populate["zapped_4k"] == 0  # every root finds the pages as the pattern left them: written or only read
    values["write_pattern"] = "random"
    populate = phase(simulate(make_config(values | {"mem_per_vcpu": "2MiB"})), "populate")
    assert populate["zapped_4k"] > populate["tlb_flushes"] > 0


def test_a_shadowed_page_stays_read_only_until_the_guest_sets_its_d_bit() -> None:
    config = make_config(MIXED | {"mmu": "shadow", "backing": "2M", "guest_page": "4K"})
    assert phase(simulate(config), "dirty", 1)["faults_write_protect"] == 2568


def test_eager_splitting_does_not_split_in_faults_where_the_kernel_does_not() -> None:
    values = {"backing": "2M", "populate_writes": "same", "write_pattern": "random", "write_percent": 1}
    old = phase(simulate(make_config(values | {"kernel": "6.1", "mem_per_vcpu": "512MiB"})), "dirty", 1)
    assert (old["splits_2m"], old["zapped_2m"], old["tlb_flushes"]) == (0, 4, 4)
    new = phase(simulate(make_config(values | {"kernel": "6.12", "mem_per_vcpu": "512MiB"})), "dirty", 1)
    assert (new["splits_2m"], new["zapped_2m"]) == (4, 0)


def test_populate_goes_in_order_even_where_later_passes_do_not() -> None:
    values = MIXED | {"backing": "2M"}
    in_order = phase(simulate(make_config(values)), "populate")
    shuffled = phase(simulate(make_config(values | {"access_order": "random"})), "populate")
    assert shuffled["faults_write_protect"] == in_order["faults_write_protect"]
    assert shuffled["faults_not_present_read"] == in_order["faults_not_present_read"]


def test_a_reader_that_waits_for_the_locks_cache_line_is_counted_as_contended() -> None:
    values = {"mmu": "tdp", "split": "lazy", "kernel": "6.1", "backing": "2M", "mem_per_vcpu": "4MiB", "iterations": 1}
    alone = phase(simulate(make_config(values | {"initially_all_set": False})), "dirty", 1)
    assert (alone["lock_acquisitions"], alone["lock_contended"]) == (1024, 0)
    many = phase(simulate(make_config(values | {"initially_all_set": False, "vcpus": 16})), "dirty", 1)
    assert 0 < many["lock_contended"] <= many["lock_acquisitions"] == 16 * 1024


def test_disable_flushes_table_by_table_up_to_6_12_and_once_a_slot_in_7_3() -> None:
    values = {"mmu": "tdp", "split": "eager", "backing": "2M", "mem_per_vcpu": "64MiB", "slots": 2}
    for kernel, flushes in (("6.1", 32), ("6.12", 32), ("7.3", 2)):
        disable = phase(simulate(make_config(values | {"kernel": kernel})), "disable")
        assert (disable["tlb_flushes"], disable["zapped_4k"]) == (flushes, 16384)


def test_every_change_of_a_slots_flags_waits_for_a_grace_period() -> None:
    costs = costs_of(make_config({}), load_profile("cascade-lake-2022"))
    values = {"mmu": "tdp", "split": "lazy", "kernel": "6.1", "backing": "2M", "mem_per_vcpu": "64MiB"}
    one, eight = (simulate(make_config(values | {"slots": slots})) for slots in (1, 8))
    for name in ("enable", "disable"):
        more = phase(eight, name)["other_seconds"] - phase(one, name)["other_seconds"]
        assert more == pytest.approx(7 * int(costs.slot) / 1e12)
