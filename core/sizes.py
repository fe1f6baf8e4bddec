"""Sizes as people write them (64MiB, 1GiB, 512M, 3g) and as KVM counts them (pages of 4 KiB)."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final

PAGE_BYTES: Final = 4096
PAGES_PER_2M: Final = 512
PAGES_PER_1G: Final = 512 * 512

PAGE_SIZES: Final = {"4K": 1, "2M": PAGES_PER_2M, "1G": PAGES_PER_1G}
"""Pages of 4 KiB in a leaf of each size."""

LEVELS: Final = {"4K": 1, "2M": 2, "1G": 3}
"""The page-table level at which a leaf of each size lives."""

_UNITS: Final = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_SIZE: Final = re.compile(r"(\d{1,20}(?:\.\d{1,20})?)\s*(?:([kmgt])(?:i?b)?|b)?", re.IGNORECASE | re.ASCII)


def parse_size(text: str) -> int:
    """Bytes meant by a text such as "64MiB" or "29.5GiB"; ValueError when it is not one.

    A unit is a power of two however it is written, as in KVM's selftests: 512M, 512MB and 512mib are one size, and a
    bare number is bytes.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a size; write it like 64MiB, 1GiB, 512M or 29.5GiB")
    number, unit = match.groups()
    size = Fraction(number) * _UNITS[f"{unit.upper()}iB" if unit else "B"]
    if size.denominator != 1:
        raise ValueError(f"{text!r} is not a whole number of bytes")
    return size.numerator


def format_size(size: int) -> str:
    """The shortest exact text of a number of bytes: 1073741824 -> "1GiB", 1610612736 -> "1.5GiB"."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        scaled = size / _UNITS[unit]
        if scaled >= 1 and scaled * 4 == int(scaled * 4):
            return f"{scaled:.2f}".rstrip("0").rstrip(".") + unit
    return f"{size}B"
