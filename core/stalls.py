"""Histogram of stalls: how long accesses took beyond a plain one, in buckets 3% wide.

A stall of x picoseconds falls into a bucket by its leading six bits: exact below 64 ps, within 1/32 above.
"""

from __future__ import annotations

from core.compiled.atomics import highest_one
from core.compiled.kernel import inlined

_LEADING = 5
BUCKETS = (64 - _LEADING) << _LEADING


@inlined
def bucket_of(stall):
    """Index of the bucket that holds a stall of that many picoseconds."""
    if stall < 1 << (_LEADING + 1):
        return stall
    shift = highest_one(stall) - _LEADING
    return (shift << _LEADING) + (stall >> shift)


def bucket_value(bucket: int) -> int:
    """The middle of a bucket, in picoseconds."""
    if bucket < 1 << (_LEADING + 1):
        return bucket
    shift = (bucket >> _LEADING) - 1
    leading = bucket - (shift << _LEADING)
    return (leading << shift) + (1 << shift) // 2
