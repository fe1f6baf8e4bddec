"""Shares as people type them."""

from __future__ import annotations

import math

from sweep.errors import QueryError


def parse_percent(option: str, text: str) -> float:
    """The share that `5%` or `0.05` means; QueryError unless it is above 0 and at most 1,000%."""
    number, percent, rest = text.strip().partition("%")
    try:
        value = float(number) / (100 if percent else 1)
    except ValueError:
        value = math.nan
    if rest or not 0 < value <= 10:
        raise QueryError(f"{option}: {text!r} is no share; allowed: above 0%, up to 1000%, written like 5% or 0.05")
    return value
