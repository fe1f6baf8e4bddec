"""What holds in every run, whatever the configuration: pages are conserved, counts agree, time adds up."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings

from core.config import Config
from core.rows import PHASE_COLUMNS, PROVENANCE_COLUMNS, Row
from core.sim.engine import simulate
from core.sizes import LEVELS, PAGES_PER_1G, PAGES_PER_2M
from tests.core.configurations import configurations

many = settings(max_examples=120)


def pages_mapped(row: Row) -> int:
    """4K pages covered by the leaves of all levels."""
    return int(row["pages_4k"] + PAGES_PER_2M * row["pages_2m"] + PAGES_PER_1G * row["pages_1g"])


def accesses_of_a_pass(config: Config) -> int:
    return config.vcpus * config.visits_per_pass


ADDED_BY_THE_WORKER = {column.name for column in PROVENANCE_COLUMNS}
"""Where a row comes from, which the engine does not know."""


@many
@given(configurations())
def test_every_column_is_filled_and_no_other(config: Config) -> None:
    for row in simulate(config):
        assert set(row) == {column.name for column in PHASE_COLUMNS} - ADDED_BY_THE_WORKER


@many
@given(configurations())
def test_leaves_of_all_levels_cover_exactly_what_was_touched(config: Config) -> None:
    """Each root has leaves of its own at the guest's page size and above; smaller ones are in tables that all share."""
    rows = simulate(config)
    leaves_are_shared = config.guest_page is not None and config.leaf_level < LEVELS[config.guest_page]
    everything = config.pages * (1 if leaves_are_shared else config.guest_roots)
    for row in rows:
        if row["phase"] == "populate" or (row["phase"] == "enable" and row["splits_1g"] + row["splits_2m"] == 0):
            assert pages_mapped(row) == everything
        elif row["phase"] == "enable":
            assert pages_mapped(row) == config.pages
        assert pages_mapped(row) <= everything
    touched = rows[-1]
    if config.guest_roots == 1 and config.working_set == 100:
        assert touched["phase"] == "after_disable"
        assert pages_mapped(touched) == everything


@many
@given(configurations(guest_roots=1))
def test_leaves_and_tables_change_only_by_mapping_splitting_and_dropping(config: Config) -> None:
    before: Row = dict.fromkeys(("pages_1g", "pages_2m", "pages_4k"), 0)
    for row in simulate(config):
        made_2m = PAGES_PER_2M * row["splits_1g"]
        made_4k = PAGES_PER_2M * row["splits_2m"]
        mapped_1g = row["pages_1g"] - before["pages_1g"] + row["splits_1g"] + row["zapped_1g"]
        mapped_2m = row["pages_2m"] - before["pages_2m"] - made_2m + row["splits_2m"] + row["zapped_2m"]
        mapped_4k = row["pages_4k"] - before["pages_4k"] - made_4k + row["zapped_4k"]
        assert min(mapped_1g, mapped_2m, mapped_4k) >= 0
        if row["phase"] == "disable" or row["faults"] == 0:
            collapsed = mapped_1g + mapped_2m  # 7.3 puts huge leaves in the place of tables
            assert mapped_4k == 0
            assert collapsed == 0 or (row["phase"] == "disable" and config.kernel == "7.3" and config.mmu == "tdp")
        else:
            dropped_and_mapped_again = row["zapped_4k"] + row["zapped_2m"] + row["zapped_1g"]
            assert mapped_1g + mapped_2m + mapped_4k <= row["faults_not_present"] + dropped_and_mapped_again
        assert row["tables_allocated"] >= row["splits_1g"] + row["splits_2m"]
        before = row


@many
@given(configurations(backing="1G", split="eager", mmu="tdp", granularity="4K", populate_writes="all"))
def test_every_split_of_a_1g_leaf_adds_512_2m_leaves_and_one_table(config: Config) -> None:
    splitting = next(row for row in simulate(config) if row["splits_1g"])
    gigs = config.pages // PAGES_PER_1G
    assert splitting["splits_1g"] == gigs
    assert splitting["splits_2m"] == gigs * PAGES_PER_2M
    assert splitting["tables_allocated"] == gigs * (1 + PAGES_PER_2M)
    assert splitting["pages_4k"] == config.pages


@many
@given(configurations())
def test_get_reports_at_least_the_pages_written(config: Config) -> None:
    rows = simulate(config)
    for dirty, get in itertools.pairwise(rows):
        if dirty["phase"] == "dirty":
            assert get["phase"] == "get"
            assert get["dirty_pages"] >= dirty["pages_written"]
            assert get["dirty_pages"] <= config.pages
            assert get["dirty_2m_regions"] * PAGES_PER_2M >= get["dirty_pages"]


@many
@given(configurations(split="fault", granularity="4K", initially_all_set=False, populate_writes="all"))
def test_splitting_at_fault_time_reports_the_written_pages_alone(config: Config) -> None:
    rows = simulate(config)
    for dirty, get in itertools.pairwise(rows):
        if dirty["phase"] == "dirty":
            assert get["dirty_pages"] == dirty["pages_written"]


@many
@given(configurations())
def test_accesses_are_those_of_the_workload(config: Config) -> None:
    for row in simulate(config):
        expected = 0
        if row["phase"] in ("dirty", "after_disable"):
            expected = accesses_of_a_pass(config)
        elif row["phase"] == "populate":
            expected = config.vcpus * config.pages_in_share * config.guest_roots
        assert row["accesses"] == expected
        assert row["reads"] + row["writes"] == row["accesses"]
        assert row["pages_written"] <= row["writes"] * (config.guest_roots if row["phase"] == "populate" else 1)


@many
@given(configurations())
def test_faults_are_sorted_into_kinds_without_rest(config: Config) -> None:
    for row in simulate(config):
        assert row["faults"] == row["faults_not_present"] + row["faults_write_protect"]
        assert row["faults_not_present_read"] <= row["faults_not_present"]
        assert row["faults_fast"] <= row["faults_write_protect"]
        if config.mmu in ("shadow", "nested"):
            assert row["faults_fast"] == 0
        if row["accesses"]:
            assert row["lock_acquisitions"] == row["faults"] - row["faults_fast"]


@many
@given(configurations())
def test_the_time_of_every_thread_adds_up(config: Config) -> None:
    for row in simulate(config):
        parts = sum(row[f"{part}_seconds"] for part in ("guest", "exit", "lock_wait", "lock_hold", "other"))
        threads = row["vcpu_seconds_mean"] * config.vcpus if row["accesses"] else row["seconds"]
        assert parts == pytest.approx(threads, abs=1e-11)


@many
@given(configurations())
def test_a_lock_held_for_write_is_held_or_free_all_the_time(config: Config) -> None:
    for row in simulate(config):
        if config.mmu != "tdp" or not row["accesses"]:
            free = row["seconds"] - row["lock_hold_seconds"]
            assert free >= -1e-12
        assert 0 <= row["lock_contended"] <= row["lock_acquisitions"]


@many
@given(configurations())
def test_stalls_rise_with_their_quantile_and_exist_only_with_accesses(config: Config) -> None:
    for row in simulate(config):
        stalls = [row[f"stall_{name}_ns"] for name in ("p50", "p90", "p99", "p999")]
        if not row["accesses"]:
            assert stalls == [None] * 4
            continue
        assert stalls == sorted(stalls)
        assert stalls[-1] <= row["stall_max_ns"]
        assert (row["stall_max_ns"] == 0) == (row["faults"] + row["pml_entries"] == 0)


@settings(max_examples=40)
@given(configurations())
def test_the_same_config_twice_gives_identical_rows(config: Config) -> None:
    assert simulate(config) == simulate(config)
