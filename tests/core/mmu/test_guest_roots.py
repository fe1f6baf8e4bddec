"""Several guest roots over the same memory: below a guest's huge page they share the tables."""

from __future__ import annotations

from typing import Any

import pytest

from core.config import make_config
from core.sim.engine import simulate

DEFAULTS = {"mmu": "shadow", "backing": "2M", "mem_per_vcpu": "64MiB", "initially_all_set": False, "iterations": 1}


def counts(phase: str, names: str, **values: Any) -> dict[str, int]:
    """The named counts of the first `phase` of DEFAULTS with `values`."""
    row = next(row for row in simulate(make_config(DEFAULTS | values)) if row["phase"] == phase)
    return {name: row[name] for name in names.split()}


@pytest.mark.parametrize("mmu", ["shadow", "nested"])
def test_an_eager_split_makes_each_table_once_and_links_it_for_every_root(mmu: str) -> None:
    names = "splits_2m tables_allocated pages_2m pages_4k write_protected"
    assert counts("enable", names, mmu=mmu, guest_page="2M", split="eager", guest_roots=4) == {
        "splits_2m": 128,
        "tables_allocated": 32,
        "pages_2m": 0,
        "pages_4k": 16_384,
        "write_protected": 16_384,
    }


def test_1g_leaves_are_split_for_every_root_and_the_2m_leaves_below_them_once() -> None:
    values: dict[str, Any] = {"backing": "1G", "mem_per_vcpu": "1GiB", "split": "eager", "guest_roots": 3}
    assert counts("enable", "splits_1g splits_2m tables_allocated pages_4k write_protected", **values) == {
        "splits_1g": 3,
        "splits_2m": 512,
        "tables_allocated": 513,
        "pages_4k": 262_144,
        "write_protected": 262_144,
    }


def test_the_first_clear_of_initially_all_set_splits_alike() -> None:
    values: dict[str, Any] = {"split": "eager", "guest_roots": 4, "initially_all_set": True}
    names = "splits_2m tables_allocated pages_4k write_protected"
    assert counts("clear", names, **values) == {
        "splits_2m": 128,
        "tables_allocated": 32,
        "pages_4k": 16_384,
        "write_protected": 16_384,
    }


def test_a_guest_that_maps_4k_pages_has_all_of_it_once_a_root() -> None:
    values: dict[str, Any] = {"guest_page": "4K", "split": "eager", "guest_roots": 3, "mem_per_vcpu": "2MiB"}
    assert counts("populate", "faults_not_present pages_4k", **values) == {
        "faults_not_present": 1536,
        "pages_4k": 1536,
    }
    assert counts("enable", "splits_2m write_protected", **values) == {"splits_2m": 0, "write_protected": 1536}


def test_leaves_below_a_larger_guest_page_are_mapped_once_and_linked_by_the_other_roots() -> None:
    """An L1 that maps its L2s with 1G pages, on 2M pages of the host: one fault for each other root."""
    values: dict[str, Any] = {"mmu": "nested", "guest_page": "1G", "split": "eager", "guest_roots": 4}
    names = "faults_not_present faults_spurious tables_allocated pages_2m"
    assert counts("populate", names, **values) == {
        "faults_not_present": 32 + 3,
        "faults_spurious": 3,
        "tables_allocated": 1,
        "pages_2m": 32,
    }
    assert counts("enable", "splits_2m tables_allocated", **values) == {"splits_2m": 32, "tables_allocated": 32}


def test_small_host_pages_below_a_guests_huge_page_are_shared_too() -> None:
    values: dict[str, Any] = {"backing": "4K", "guest_page": "2M", "guest_roots": 2, "mem_per_vcpu": "2MiB"}
    assert counts("populate", "faults_not_present pages_4k", **values) == {"faults_not_present": 513, "pages_4k": 512}


def test_lazy_splitting_drops_the_leaf_of_the_root_that_writes_and_no_other() -> None:
    values: dict[str, Any] = {"split": "lazy", "guest_roots": 2, "vcpus": 2, "mem_per_vcpu": "2MiB"}
    assert counts("enable", "write_protected", **values) == {"write_protected": 4}
    names = "zapped_2m tables_allocated pages_2m pages_4k faults_not_present faults_write_protect"
    assert counts("dirty", names, **values) == {
        "zapped_2m": 2,
        "tables_allocated": 2,
        "pages_2m": 2,
        "pages_4k": 1024,
        "faults_not_present": 1022,
        "faults_write_protect": 2,
    }


@pytest.mark.parametrize(("split", "dropped", "split_leaves"), [("lazy", 2, 0), ("fault", 0, 2)])
def test_roots_that_write_the_same_2m_meet_in_one_table(split: str, dropped: int, split_leaves: int) -> None:
    values: dict[str, Any] = {"split": split, "guest_roots": 2, "vcpus": 2, "mem_per_vcpu": "1MiB"}
    names = "zapped_2m splits_2m tables_allocated pages_2m pages_4k"
    assert counts("dirty", names, **values, partitioned=False) == {
        "zapped_2m": dropped,
        "splits_2m": split_leaves,
        "tables_allocated": 1,
        "pages_2m": 0,
        "pages_4k": 512,
    }
    found = counts("dirty", "faults faults_spurious", **values, partitioned=False)
    assert 512 <= found["faults"] - found["faults_spurious"] <= 514  # each page once, and each root's leaf


def test_tables_that_disable_emptied_are_unlinked_and_stay_with_kvm() -> None:
    values: dict[str, Any] = {"split": "eager", "guest_roots": 4, "vcpus": 4, "mem_per_vcpu": "2MiB"}
    assert counts("disable", "zapped_4k tables_freed pages_4k", **values) == {
        "zapped_4k": 2048,
        "tables_freed": 0,
        "pages_4k": 0,
    }
    assert counts("after_disable", "faults_not_present pages_2m tables_freed", **values) == {
        "faults_not_present": 4,
        "pages_2m": 4,
        "tables_freed": 0,
    }
