"""Sizes read back as they are written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.sizes import format_size, parse_size


@given(st.integers(1, 2**46))
def test_a_size_reads_back_as_it_was_written(size: int) -> None:
    assert parse_size(format_size(size)) == size


@pytest.mark.parametrize(
    ("size", "text"),
    [(2**30, "1GiB"), (59 * 2**29, "29.5GiB"), (64 * 2**20, "64MiB"), (2**30 + 4096, "1048580KiB"), (7, "7B")],
)
def test_sizes_are_written_in_the_largest_unit_that_stays_exact(size: int, text: str) -> None:
    assert format_size(size) == text


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512MB", 2**29),
        ("20m", 20 * 2**20),
        ("3g", 3 * 2**30),
        ("1T", 2**40),
        ("64mib", 2**26),
        ("4096", 4096),
        ("1.5 G", 3 * 2**29),
    ],
)
def test_units_are_powers_of_two_however_they_are_written(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["1PB", "GiB", "-1GiB", "1.5B", "1GG", "0x10M", "1e3", "1,5G", "\u0661GiB", ""])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"size|whole number of bytes"):
        parse_size(text)
