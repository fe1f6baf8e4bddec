"""Once a day, also where the clock changes, whatever the time zone of the machine."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweep.errors import QueryError
from sweep.schedule.times import Daily, is_due, missed_runs, next_run, parse_daily, runs_after, utc_times

BERLIN = Daily(2, 30, "Europe/Berlin")


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_the_night_without_half_past_two_has_one_run_at_three() -> None:
    runs = runs_after(BERLIN, utc("2026-03-28T12:00"))
    assert [next(runs), next(runs)] == [utc("2026-03-29T01:00"), utc("2026-03-30T00:30")]


def test_the_night_with_two_of_them_has_one_run_at_the_first() -> None:
    runs = runs_after(BERLIN, utc("2026-10-24T12:00"))
    assert [next(runs), next(runs)] == [utc("2026-10-25T00:30"), utc("2026-10-26T01:30")]


@given(
    st.integers(0, 23),
    st.integers(0, 59),
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"]),
)
def test_every_local_day_of_a_year_has_exactly_one_run(hour: int, minute: int, zone: str) -> None:
    start = datetime(2026, 1, 1, tzinfo=ZoneInfo(zone))
    runs = missed_runs(Daily(hour, minute, zone), start - timedelta(seconds=1), start + timedelta(days=364))
    days = [run.astimezone(ZoneInfo(zone)).date() for run in runs]
    assert len(days) == len(set(days))
    assert len(days) >= 363


@pytest.mark.parametrize(
    ("daily", "expected"),
    [
        (Daily(2, 30, "UTC"), [(2, 30)]),
        (Daily(2, 30, "Asia/Kolkata"), [(21, 0)]),
        (BERLIN, [(0, 30), (1, 0), (1, 30)]),
    ],
)
def test_the_times_in_utc_are_all_that_a_run_may_fall_on(daily: Daily, expected: list[tuple[int, int]]) -> None:
    assert utc_times(daily, utc("2026-01-01T00:00")) == expected


def test_of_the_starts_of_a_night_exactly_one_is_due() -> None:
    last = utc("2026-07-01T00:30")  # 02:30 in summer
    starts = [utc(f"2026-07-02T{time}") for time in ("00:30", "01:00", "01:30")]
    due = []
    for start in starts:
        if is_due(BERLIN, last, start):
            due.append(start)
            last = start
    assert due == starts[:1]


def test_missed_nights_are_counted_and_are_one_run() -> None:
    last, now = utc("2026-07-01T00:30"), utc("2026-07-04T09:00")
    assert len(missed_runs(BERLIN, last, now)) == 3
    assert is_due(BERLIN, last, now)
    assert not is_due(BERLIN, now, now + timedelta(hours=2))
    assert next_run(BERLIN, now) == utc("2026-07-05T00:30")


@pytest.mark.parametrize("at", ["", "2", "24:00", "02:60", "2:5", "02:30:00", "half past two", "-1:30"])
def test_what_is_no_time_of_day_is_refused(at: str) -> None:
    with pytest.raises(QueryError, match="is no time of day"):
        parse_daily(at, "UTC")


@pytest.mark.parametrize("zone", ["Mars/Base", "../etc/passwd", "/etc/localtime", "CEST7", "Europe"])
def test_what_is_no_time_zone_is_refused(zone: str) -> None:
    with pytest.raises(QueryError, match="--tz: there is no time zone"):
        parse_daily("02:30", zone)


def test_a_zone_that_is_not_given_is_the_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    assert parse_daily("2:30", None) == Daily(2, 30, "Asia/Tokyo")
