"""What this host cannot hold is refused before anything starts."""

from __future__ import annotations

import pytest

from core.config import make_config
from sweep.errors import SweepError
from sweep.running.fits import check_fits, live_bytes


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
