"""What this host cannot hold is refused before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.config import make_config
from sweep.errors import SweepError
from sweep.running.fits import check_fits, check_memory, live_bytes, usable_memory


def test_guest_memory_counts_where_it_is_touched() -> None:
    config = make_config({"engine": "live", "mem_per_vcpu": "1GiB", "vcpus": 2, "backing": "2M", "touch_memory": True})
    assert live_bytes(config) == 2 * 2**30
    check_fits([config], memory=2 * 2**30)
    with pytest.raises(SweepError, match=r"needs at least 2GiB of memory on this host, of which 1\.0 GiB are free"):
        check_fits([config], memory=2**30)


def test_page_tables_of_4k_pages_count() -> None:
    config = make_config({"engine": "live", "mem_per_vcpu": "1GiB", "backing": "4K"})
    assert live_bytes(config) == 2**18 * 8


def test_a_simulation_of_more_memory_than_there_is_is_no_matter() -> None:
    check_fits([make_config({"mem_per_vcpu": "16GiB", "vcpus": 8})], memory=2**20)


def test_a_simulation_that_needs_more_than_there_is_is_refused() -> None:
    config = make_config({"mem_per_vcpu": "64GiB", "access_order": "random"})
    check_memory(config, 2**30, "this machine")
    with pytest.raises(SweepError, match=r"^mem_per_vcpu=64GiB .*needs about 198 MiB of memory, and the largest"):
        check_memory(config, 100 * 2**20, "the largest node")


def test_a_control_group_bounds_what_may_be_used(tmp_path: Path) -> None:
    machine = usable_memory(tmp_path)
    (tmp_path / "memory.max").write_text("max\n")
    assert usable_memory(tmp_path) == machine
    (tmp_path / "memory.max").write_text("1048576\n")
    assert usable_memory(tmp_path) == 1048576
