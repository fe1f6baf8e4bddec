"""The crontab of this user: entries of a job between two marks, all other lines as they are."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sweep.errors import QueryError
from sweep.schedule.jobs import Job, jobs_folder, place_variables
from sweep.schedule.times import machine_times

BEGIN: Final = "# splitsweep schedule {}: begin"
END: Final = "# splitsweep schedule {}: end"


def is_there() -> bool:
    """Whether this machine has crontabs. Whether a cron daemon reads them, nobody can ask."""
    return shutil.which("crontab") is not None


def crontab_lines(job: Job, now: datetime) -> list[str]:
    """The entries of a job: at each time at which it may be due, and when the machine starts, for a missed night.

    Debian's cron knows no time zones, so the times are in that of the machine, and the command itself asks whether the
    job is due. What it prints goes to a log: cron would mail it.
    """
    log = shlex.quote(str(jobs_folder() / f"{job.name}.log"))
    variables = "".join(f"{name}={shlex.quote(value)} " for name, value in place_variables().items())
    command = f"{variables}{shlex.join(job.command)} --due >> {log} 2>&1"
    command = command.replace("%", r"\%")  # cron takes a bare one for the end of the command
    entries = [f"{minute} {hour} * * * {command}" for hour, minute in machine_times(job.daily, now)]
    return [BEGIN.format(job.name), *entries, f"@reboot {command}", END.format(job.name)]


def install(job: Job, now: datetime) -> None:
    """Put the job's entries into the crontab, in place of former ones."""
    _write([*without(_read(), job.name), *crontab_lines(job, now)])


def remove(name: str) -> None:
    """Take the entries of a job out of the crontab."""
    before = _read()
    after = without(before, name)
    if after != before:
        _write(after)


def has(name: str) -> bool:
    """Whether the crontab has entries of a job."""
    return is_there() and BEGIN.format(name) in _read()


def without(lines: Sequence[str], name: str) -> list[str]:
    """A crontab without the entries of a job."""
    kept, inside = [], False
    for line in lines:
        inside = inside or line == BEGIN.format(name)
        if not inside:
            kept.append(line)
        inside = inside and line != END.format(name)
    return kept


def _read() -> list[str]:
    """The lines of the crontab; none where the user has none."""
    found = subprocess.run(["crontab", "-l"], capture_output=True, text=True, check=False)
    if found.returncode and "no crontab" not in found.stderr:
        raise QueryError(f"schedule: crontab cannot be read: {found.stderr.strip() or 'no reason given'}")
    return found.stdout.splitlines()


def _write(lines: Sequence[str]) -> None:
    text = "".join(f"{line}\n" for line in lines)
    found = subprocess.run(["crontab", "-"], input=text, capture_output=True, text=True, check=False)
    if found.returncode:
        raise QueryError(f"schedule: crontab cannot be written: {found.stderr.strip() or 'no reason given'}")
