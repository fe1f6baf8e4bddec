"""The stall histogram: three percent wide, whatever the size of the stall."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from core.stalls import BUCKETS, bucket_of, bucket_value


@given(st.integers(0, 2**62))
def test_a_stall_is_known_to_within_a_thirty_second(stall: int) -> None:
    bucket = bucket_of(stall)
    assert 0 <= bucket < BUCKETS
    assert abs(bucket_value(bucket) - stall) <= stall / 32


@given(st.integers(0, 2**62), st.integers(0, 2**62))
def test_longer_stalls_are_never_in_earlier_buckets(one: int, other: int) -> None:
    assert (bucket_of(one) <= bucket_of(other)) or one > other


def test_small_stalls_are_exact() -> None:
    assert [bucket_value(bucket_of(stall)) for stall in range(64)] == list(range(64))
