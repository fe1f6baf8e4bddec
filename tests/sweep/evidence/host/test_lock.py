"""What the lock costs between two CPUs, computed from turns that are given here."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle

import pytest

import sweep.evidence.host.lock as host_lock
from core.live.processes.errors import LiveError


def give_turns(monkeypatch: pytest.MonkeyPatch, turns: Iterator[float]) -> None:
    """The next turn takes so many nanoseconds: without the lock, as a reader, as a writer, and so on."""
    monkeypatch.setattr(host_lock, "_turn_ns", lambda turns_told, calibration: next(turns))


def test_turns_without_the_lock_are_subtracted_and_a_reader_moves_the_line_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    give_turns(monkeypatch, cycle([100.0, 140.0, 130.0]))
    assert host_lock.measure_lock(5) == host_lock.LockCosts(line=20, hand_over=30)


def test_what_was_disturbed_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    disturbed, quiet = [9000.0, 7000.0, 8000.0], [100.0, 140.0, 130.0]
    give_turns(monkeypatch, cycle([*disturbed, *disturbed, *disturbed, *quiet, *quiet]))
    assert host_lock.measure_lock(10) == host_lock.LockCosts(line=20, hand_over=30)


def test_a_busy_machine_is_tried_again_with_all_that_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    give_turns(monkeypatch, iter([300.0, 140.0, 130.0, 100.0, 900.0, 900.0]))
    assert host_lock.measure_lock(1) == host_lock.LockCosts(line=20, hand_over=30)


def test_a_lock_that_seems_to_cost_nothing_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    give_turns(monkeypatch, cycle([300.0, 140.0, 130.0]))
    with pytest.raises(LiveError, match="the lock between two CPUs cannot be measured while the machine is so busy"):
        host_lock.measure_lock(2)
