"""What PML logs, and when it exits: rules of the source that an AMD machine cannot show (docs/model.md says where)."""

from __future__ import annotations

from typing import Any

import pytest

from core.config import make_config
from core.sim.engine import simulate

PAGES = 16_384
"""64 MiB in 32 leaves of 2M: 32 full buffers of 512 entries."""

DEFAULTS = {"mmu": "tdp", "backing": "2M", "mem_per_vcpu": "64MiB", "pml": True, "initially_all_set": False}


def counts(phase: str, iteration: int | None, names: str, **values: Any) -> dict[str, int]:
    """The named counts of a phase of DEFAULTS with `values`."""
    rows = simulate(make_config(DEFAULTS | values))
    row = next(row for row in rows if (row["phase"], row["iteration"]) == (phase, iteration))
    return {name: row[name] for name in names.split()}


def test_enable_clears_the_d_bit_of_huge_leaves_too_on_the_tdp_mmu() -> None:
    for split, kernel in (("lazy", "6.1"), ("fault", "6.12"), ("fault", "7.3")):
        found = counts("enable", None, "dirty_cleared write_protected", split=split, kernel=kernel)
        assert found == {"dirty_cleared": 32, "write_protected": 32}


def test_enable_clears_the_d_bit_of_tracked_leaves_alone_on_the_mmus_with_rmaps() -> None:
    found = counts("enable", None, "dirty_cleared write_protected", mmu="legacy_tdp", split="lazy")
    assert found == {"dirty_cleared": 0, "write_protected": 32}
    found = counts("enable", None, "dirty_cleared write_protected", mmu="legacy_tdp", split="eager")
    assert found == {"dirty_cleared": PAGES, "write_protected": 0}


def test_a_page_split_at_fault_time_costs_a_fast_fault_and_then_an_entry() -> None:
    """The children inherit D = 0, the lock-free fix leaves it so; each fault is an exit, which empties the buffer."""
    found = counts("dirty", 1, "faults_write_protect faults_fast pml_entries pml_exits splits_2m", split="fault")
    assert found == {
        "faults_write_protect": PAGES,
        "faults_fast": PAGES - 32,
        "pml_entries": PAGES - 32,  # the slow fault that splits sets D itself
        "pml_exits": 0,
        "splits_2m": 32,
    }
    again = counts("dirty", 2, "faults pml_entries pml_exits", split="fault")
    assert again == {"faults": 0, "pml_entries": PAGES, "pml_exits": 31}


def test_without_d_bit_cleared_a_fast_fault_is_all() -> None:
    """Children of a leaf whose D-bit enable left set: fault-time splitting as it would be with rmaps."""
    found = counts("dirty", 1, "faults_fast pml_entries", mmu="legacy_tdp", split="fault")
    assert found == {"faults_fast": PAGES - 32, "pml_entries": 0}


def test_initially_all_set_leaves_d_bits_to_the_first_clear() -> None:
    values = {"split": "fault", "initially_all_set": True}
    assert counts("enable", None, "dirty_cleared write_protected", **values) == {
        "dirty_cleared": 0,
        "write_protected": 0,
    }
    assert counts("dirty", 1, "faults pml_entries", **values) == {"faults": 0, "pml_entries": 0}
    assert counts("clear", 1, "dirty_cleared write_protected", **values) == {"dirty_cleared": 0, "write_protected": 32}
    second = counts("dirty", 2, "faults_write_protect faults_fast pml_entries", **values)
    assert second == {"faults_write_protect": PAGES, "faults_fast": 0, "pml_entries": 0}  # slow faults, which set D


@pytest.mark.parametrize("mmu", ["tdp", "legacy_tdp"])
def test_the_exit_comes_with_the_entry_that_finds_the_buffer_full(mmu: str) -> None:
    values: dict[str, Any] = {"split": "eager", "mmu": mmu}
    assert counts("dirty", 1, "pml_entries pml_exits", **values) == {"pml_entries": PAGES, "pml_exits": 31}
    one_buffer = counts("dirty", 1, "pml_entries pml_exits", **values, mem_per_vcpu="2MiB")
    assert one_buffer == {"pml_entries": 512, "pml_exits": 0}
    four_vcpus = counts("dirty", 1, "pml_entries pml_exits", **values, vcpus=4)
    assert four_vcpus == {"pml_entries": 4 * PAGES, "pml_exits": 4 * 31}


def test_sparse_writes_fill_the_buffer_later() -> None:
    found = counts("dirty", 1, "pml_entries pml_exits", split="eager", write_percent=20)
    assert found == {"pml_entries": 3277, "pml_exits": 6}


def test_tracking_at_2m_logs_one_entry_a_leaf() -> None:
    values: dict[str, Any] = {"granularity": "2M", "split": "fault"}
    assert counts("enable", None, "dirty_cleared write_protected", **values) == {
        "dirty_cleared": 32,
        "write_protected": 0,
    }
    assert counts("dirty", 1, "faults pml_entries", **values) == {"faults": 0, "pml_entries": 32}


def test_tracking_at_2m_splits_a_1g_leaf_into_children_without_d_bit() -> None:
    values: dict[str, Any] = {"granularity": "2M", "split": "fault", "backing": "1G", "mem_per_vcpu": "1GiB"}
    assert counts("enable", None, "dirty_cleared write_protected", **values) == {
        "dirty_cleared": 1,
        "write_protected": 1,
    }
    found = counts("dirty", 1, "faults_write_protect faults_fast pml_entries splits_1g", **values)
    assert found == {"faults_write_protect": 512, "faults_fast": 511, "pml_entries": 511, "splits_1g": 1}


@pytest.mark.parametrize("mmu", ["tdp", "legacy_tdp"])
@pytest.mark.parametrize(
    ("split", "pml", "times"), [("eager", True, 3), ("lazy", True, 2), ("eager", False, 2), ("lazy", False, 1)]
)
def test_enable_takes_the_lock_to_split_to_clear_d_bits_and_to_write_protect(
    mmu: str, split: str, pml: bool, times: int
) -> None:
    values: dict[str, Any] = {"mmu": mmu, "split": split, "pml": pml, "kernel": "6.1", "mem_per_vcpu": "4MiB"}
    assert counts("enable", None, "lock_acquisitions", **values) == {"lock_acquisitions": times}
    two = counts("enable", None, "lock_acquisitions", **values, slots=2)
    assert two == {"lock_acquisitions": 2 * times}
