"""When a nightly run is due: once a day at a time of day in some time zone, daylight saving time or not.

cronsim counts the days as Debian's cron does: on the night that has no 02:30 the run is at 03:00, and on the night that
has it twice the run is at the first one. What starts the runs knows less: Debian's cron ignores CRON_TZ, and systemd
leaves out the night without 02:30. So both are told, in UTC, all times of day at which the run may fall during a year
(for 02:30 in Berlin 00:30, 01:00 and 01:30), and at each of them it is asked here whether a run is due.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from sweep.errors import QueryError

DAYS_LOOKED_AHEAD: Final = 800
"""Two years and more: a zone may change its clock on any day of the year."""


@dataclass(frozen=True, slots=True)
class Daily:
    """A time of day in a time zone."""

    hour: int
    minute: int
    zone: str

    @property
    def text(self) -> str:
        return f"{self.hour:02}:{self.minute:02} {self.zone}"


def parse_daily(at: str, zone: str | None) -> Daily:
    """The time that `02:30` and an IANA zone (None: this machine's) mean; QueryError where they mean none."""
    match = re.fullmatch(r"(\d{1,2}):(\d\d)", at)
    if match is None or int(match[1]) > 23 or int(match[2]) > 59:
        raise QueryError(f"--at: {at!r} is no time of day; allowed: 00:00 to 23:59, like 02:30")
    name = zone or local_zone()
    try:
        ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        raise QueryError(f"--tz: there is no time zone {name!r}; allowed: names like Europe/Berlin or UTC") from None
    return Daily(int(match[1]), int(match[2]), name)


def local_zone() -> str:
    """The name of this machine's time zone; UTC where it does not tell one."""
    named = os.environ.get("TZ", "").removeprefix(":")
    if named:
        return named
    _, found, name = str(Path("/etc/localtime").resolve()).partition("zoneinfo/")
    return name.removeprefix("Etc/") if found and name not in ("Etc/UTC", "UTC") else "UTC"


def runs_after(daily: Daily, moment: datetime) -> Iterator[datetime]:
    """The times at which runs fall after a moment, in UTC, without end."""
    from cronsim import CronSim

    expression = f"{daily.minute} {daily.hour} * * *"
    for run in CronSim(expression, moment.astimezone(ZoneInfo(daily.zone))):
        yield run.astimezone(UTC)


def next_run(daily: Daily, moment: datetime) -> datetime:
    """The first run after a moment."""
    return next(runs_after(daily, moment))


def missed_runs(daily: Daily, last: datetime, now: datetime) -> list[datetime]:
    """The runs that fell after `last`, when the job was last started or installed, and up to now."""
    return list(itertools.takewhile(lambda run: run <= now, runs_after(daily, last)))


def is_due(daily: Daily, last: datetime, now: datetime) -> bool:
    """Whether a run has fallen since the job was last started or installed. Several missed nights are one run."""
    return next_run(daily, last) <= now


def utc_times(daily: Daily, now: datetime) -> list[tuple[int, int]]:
    """All times of day, in UTC, at which a run may fall: one, or a few where the zone changes its clock."""
    return sorted({(run.hour, run.minute) for run in _runs_ahead(daily, now)})


def machine_times(daily: Daily, now: datetime) -> list[tuple[int, int]]:
    """The same in the time of this machine."""
    return sorted({(run.hour, run.minute) for run in map(datetime.astimezone, _runs_ahead(daily, now))})


def _runs_ahead(daily: Daily, now: datetime) -> list[datetime]:
    end = now + timedelta(days=DAYS_LOOKED_AHEAD)
    return list(itertools.takewhile(lambda run: run < end, runs_after(daily, now)))
