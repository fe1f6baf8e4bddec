"""The cycle counter and its calibration."""

from __future__ import annotations

import time

import pytest

from core.live.clock import Calibration, calibrate_cycles, counter_is_steady, spin_for


def test_cycles_and_nanoseconds_convert_both_ways() -> None:
    calibration = Calibration(2.5)
    assert calibration.cycles(1_000) == 2_500
    assert calibration.nanoseconds(2_500) == 1_000


def test_a_calibrated_spin_takes_as_long_as_it_should() -> None:
    if not counter_is_steady():
        pytest.skip("this machine's cycle counter is no clock")
    calibration = calibrate_cycles()
    assert calibrate_cycles().cycles_per_nanosecond == pytest.approx(calibration.cycles_per_nanosecond, rel=0.01)
    spin_for(1)
    start = time.monotonic_ns()
    spin_for(calibration.cycles(3e6))
    assert time.monotonic_ns() - start >= 2.9e6
