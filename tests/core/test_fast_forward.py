"""Fast-forward gives what stepping gives, bit for bit: rows, page tables and bitmaps, in every configuration."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import core.sim.engine
from core.compiled.records import Record
from core.config import Config, make_config
from core.costs.laws import costs_of
from core.costs.profile import load_profile
from core.errors import ConfigError
from core.rows import Row
from core.sim.engine import simulate
from core.tables import Memory, bitmap_in_order, machine_of
from tests.core.configurations import MEBIBYTE, configurations

States = list[npt.NDArray[Any]]


def run(config: Config, *, fast_forward: bool) -> tuple[list[Row], States]:
    """The rows of a config, and guest memory after every phase."""
    machine = machine_of(config)
    states: States = []

    def keep(phase: str, iteration: int | None, memory: Memory) -> None:
        small = memory.sptes[: machine.level2].reshape(machine.blocks, -1)
        huge = memory.sptes[machine.level2 : machine.level3].reshape(machine.blocks, -1)
        states.extend([small[memory.block_of], huge[memory.block_of], memory.sptes[machine.level3 :].copy()])
        states.extend(bitmap_in_order(machine, memory, words) for words in (memory.dirty, memory.reported))

    return simulate(config, observe=keep, fast_forward=fast_forward), states


def assert_same(config: Config) -> None:
    fast, fast_states = run(config, fast_forward=True)
    stepped, stepped_states = run(config, fast_forward=False)
    assert fast == stepped
    for one, other in zip(fast_states, stepped_states, strict=True):
        assert np.array_equal(one, other)


@st.composite
def repetitive_configurations(draw: st.DrawFn) -> Config:
    """Passes in order over enough chunks that periods repeat, and shares that need not be whole chunks."""
    backing = draw(st.sampled_from(["4K", "2M", "2M"]))
    chunks = draw(st.integers(6, 60))
    pages = chunks * 512 + (64 * draw(st.integers(0, 7)) if backing == "4K" else 0)
    manual = draw(st.booleans())
    values: dict[str, Any] = {
        "vcpus": draw(st.integers(1, 9)),
        "mem_per_vcpu": pages * 4096,
        "backing": backing,
        "write_percent": draw(st.sampled_from([0, 5, 14, 25, 33, 50, 80, 100, 100])),
        "write_pattern": draw(st.sampled_from(["stride", "stride", "stride", "random"])),
        "working_set": draw(st.sampled_from([100, 100, 71, 40])),
        "mmu": draw(st.sampled_from(["tdp", "legacy_tdp", "shadow", "nested"])),
        "split": draw(st.sampled_from(["eager", "lazy", "fault"])),
        "pml": draw(st.booleans()),
        "manual_protect": manual,
        "initially_all_set": manual and draw(st.booleans()),
        "granularity": draw(st.sampled_from(["4K", "4K", "2M"])) if backing == "2M" else "4K",
        "guest_page": draw(st.sampled_from([None, "4K", "2M", "1G"])),
        "guest_roots": draw(st.sampled_from([1, 1, 2])),
        "slots": draw(st.sampled_from([1, 1, 2])),
        "iterations": draw(st.integers(1, 2)),
        "populate_writes": draw(st.sampled_from(["all", "same"])),
        "kernel": draw(st.sampled_from(["6.1", "6.12", "7.3"])),
    }
    try:
        return make_config(values)
    except ConfigError:  # 2M tracking needs huge leaves, and slots whole words of the bitmap
        return make_config(values | {"granularity": "4K", "slots": 1})


@given(repetitive_configurations())
@settings(max_examples=150, deadline=None)
def test_passes_that_repeat_themselves_give_the_same(config: Config) -> None:
    assert_same(config)


@st.composite
def straddling_configurations(draw: st.DrawFn) -> Config:
    """Shares that begin and end within a leaf, or a page of the backing, that a neighbour visits, too."""
    backing = draw(st.sampled_from(["2M", "1G", "1G"]))
    if backing == "1G":
        vcpus, mebibytes = draw(
            st.sampled_from([(2, 512), (2, 1536), (4, 256), (4, 768), (8, 128), (8, 384), (16, 64)])
        )
        memory = mebibytes * MEBIBYTE
    else:
        vcpus, part = draw(st.sampled_from([(2, 256), (4, 128), (8, 64), (8, 192)]))
        memory = (draw(st.integers(6, 40)) * 512 + part) * 4096
    values: dict[str, Any] = {
        "vcpus": vcpus,
        "mem_per_vcpu": memory,
        "backing": backing,
        "write_percent": draw(st.sampled_from([0, 14, 33, 50, 100, 100])),
        "write_pattern": draw(st.sampled_from(["stride", "stride", "stride", "random"])),
        "access_order": draw(st.sampled_from(["sequential", "sequential", "sequential", "random"])),
        "mmu": draw(st.sampled_from(["tdp", "legacy_tdp", "shadow", "nested"])),
        "split": draw(st.sampled_from(["eager", "lazy", "fault"])),
        "pml": draw(st.booleans()),
        "initially_all_set": draw(st.booleans()),
        "granularity": draw(st.sampled_from(["4K", "4K", "2M"])),
        "guest_page": draw(st.sampled_from([None, "4K", "2M", "1G"])),
        "guest_roots": draw(st.sampled_from([1, 1, 2])),
        "iterations": 1,
        "populate_writes": draw(st.sampled_from(["all", "same"])),
        "kernel": draw(st.sampled_from(["6.1", "6.12", "7.3"])),
    }
    try:
        return make_config(values)
    except ConfigError:  # 2M tracking needs huge leaves
        return make_config(values | {"granularity": "4K"})


@given(straddling_configurations())
@settings(max_examples=100, deadline=None)
def test_shares_that_straddle_a_leaf_or_a_page_of_the_backing_give_the_same(config: Config) -> None:
    assert_same(config)


@given(st.one_of(straddling_configurations(), repetitive_configurations()))
@settings(max_examples=50, deadline=None)
def test_it_makes_no_difference_which_pages_a_vcpu_has_to_itself(config: Config) -> None:
    """A vCPU runs ahead on pages of its own; where it is taken to have none, all vCPUs see every change at its time."""

    def machine_without_own_pages(config: Config) -> Record:
        machine = machine_of(config)
        if config.vcpus > 1:
            machine.share_unit, machine.vcpus_disjoint = 2**40, 0
        return machine

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(core.sim.engine, "machine_of", machine_without_own_pages)
        together = run(config, fast_forward=False)
    alone = run(config, fast_forward=False)
    assert together[0] == alone[0]
    for one, other in zip(together[1], alone[1], strict=True):
        assert np.array_equal(one, other)


@given(configurations())
@settings(max_examples=100, deadline=None)
def test_small_configurations_of_every_kind_give_the_same(config: Config) -> None:
    assert_same(config)


@pytest.mark.parametrize(
    "values",
    [
        {"mmu": "legacy_tdp", "split": "lazy", "backing": "1G", "vcpus": 3, "initially_all_set": False},
        {"mmu": "tdp", "split": "eager", "backing": "1G", "vcpus": 2, "write_percent": 30, "pml": False},
        {"mmu": "shadow", "split": "eager", "backing": "1G", "guest_page": "4K", "populate_writes": "same"},
        {"mmu": "nested", "split": "fault", "backing": "1G", "guest_roots": 2, "write_percent": 1},
        {"mmu": "tdp", "split": "fault", "backing": "1G", "granularity": "2M", "kernel": "7.3"},
    ],
)
def test_gigabytes_give_the_same(values: dict[str, Any]) -> None:
    assert_same(make_config(values | {"mem_per_vcpu": "2GiB", "iterations": 1}))


def blocks_used(values: dict[str, Any]) -> int:
    """How many blocks a config ever needed at a time."""
    used: list[int] = []
    simulate(make_config(values), observe=lambda phase, iteration, memory: used.append(int(memory.block_counts[1])))
    return used[-1]


@pytest.mark.parametrize(
    "values",
    [
        {"mmu": "legacy_tdp", "split": "lazy", "backing": "2M", "vcpus": 4, "initially_all_set": False},
        {"mmu": "shadow", "split": "eager", "backing": "2M", "vcpus": 2, "write_percent": 33},
        {"mmu": "tdp", "split": "eager", "backing": "4K"},
        {"mmu": "tdp", "split": "eager", "backing": "1G", "write_percent": 50, "vcpus": 3},
    ],
)
def test_memory_does_not_grow_with_the_pages_of_the_guest(values: dict[str, Any]) -> None:
    small, large = blocks_used(values | {"mem_per_vcpu": "1GiB"}), blocks_used(values | {"mem_per_vcpu": "4GiB"})
    chunks_added = 3 * 512 * values.get("vcpus", 1)
    assert large - small < chunks_added / 20


def test_a_terabyte_is_a_matter_of_its_chunks() -> None:
    """Stepped through it would be 268 million faults; that it is done in no time shows that it is not."""
    config = make_config(
        {"vcpus": 64, "mem_per_vcpu": 16 * 1024 * MEBIBYTE, "backing": "2M", "mmu": "legacy_tdp", "split": "lazy"}
        | {"initially_all_set": False, "iterations": 1}
    )
    dirty = next(row for row in simulate(config) if row["phase"] == "dirty")
    assert dirty["faults"] == dirty["lock_acquisitions"] == config.pages
    assert dirty["zapped_2m"] == config.pages // 512
    assert dirty["pages_4k"] == dirty["pages_written"] == config.pages


def test_times_that_do_not_add_up_in_64_bits_are_refused() -> None:
    config = make_config({"vcpus": 64, "mem_per_vcpu": "2MiB", "mmu": "legacy_tdp"})
    costs = costs_of(config, load_profile(config.profile))
    costs.map_hold = 10**13  # ten seconds a fault
    with pytest.raises(OverflowError, match="populate takes 327,680 s, and its 64 vCPUs together longer than"):
        simulate(config, costs)
