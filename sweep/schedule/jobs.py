"""The jobs of this user: what is run, when, and when it last was. A file each, which every mechanism shares."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from sweep.errors import QueryError
from sweep.schedule.times import Daily

SPLITSWEEP: Final = (sys.executable, "-P", "-m", "sweep")
"""splitsweep by this very Python: no PATH decides which, and no folder called sweep where it is started."""

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,60}")


@dataclass(frozen=True, slots=True)
class Job:
    """A nightly run. Paths are absolute, for whatever starts it starts it from somewhere else."""

    name: str
    at: str  # 02:30
    zone: str
    folder: str  # where the command runs
    arguments: tuple[str, ...]  # of `splitsweep nightly`
    history: str
    by: str  # systemd, cron or serve
    installed_at: str  # UTC, ISO 8601
    path: str  # the PATH that it was installed with, and runs with

    @property
    def daily(self) -> Daily:
        hour, minute = self.at.split(":")
        return Daily(int(hour), int(minute), self.zone)

    @property
    def command(self) -> list[str]:
        """What runs the job, as words."""
        return [*SPLITSWEEP, "schedule", "run", self.name]


def jobs_folder() -> Path:
    """Where the jobs of this user are kept."""
    home = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(home) / "splitsweep" / "schedule"


def place_variables() -> dict[str, str]:
    """The environment that a start needs to find the jobs: cron and systemd give it nearly none."""
    home = os.environ.get("XDG_DATA_HOME")
    return {"XDG_DATA_HOME": home} if home else {}


def jobs() -> list[Job]:
    """All jobs, by name."""
    return [load_job(file.stem) for file in sorted(jobs_folder().glob("*.json"))]


def load_job(name: str) -> Job:
    """The job of this name; QueryError if there is none."""
    file = jobs_folder() / f"{name}.json"
    if not NAME.fullmatch(name) or not file.is_file():
        known = ", ".join(found.stem for found in sorted(jobs_folder().glob("*.json"))) or "none is installed"
        raise QueryError(f"schedule: there is no job {name!r}; there are: {known}")
    try:
        values = json.loads(file.read_text())
        return Job(**{**values, "arguments": tuple(values["arguments"])})
    except (ValueError, TypeError, KeyError):
        raise QueryError(f"schedule: {file} is damaged; install the job again") from None


def save_job(job: Job) -> None:
    """Keep the job; one of the same name is replaced."""
    folder = jobs_folder()
    folder.mkdir(parents=True, exist_ok=True)
    hidden = folder / f".{job.name}.tmp"
    hidden.write_text(json.dumps(dataclasses.asdict(job), indent=1))
    hidden.replace(folder / f"{job.name}.json")


def forget_job(name: str) -> None:
    """Remove the job's files."""
    for ending in ("json", "started", "lock"):
        (jobs_folder() / f"{name}.{ending}").unlink(missing_ok=True)


def last_started(job: Job) -> datetime:
    """When the job was last started, or else when it was installed."""
    file = jobs_folder() / f"{job.name}.started"
    try:
        return datetime.fromisoformat(file.read_text())
    except (OSError, ValueError):
        return datetime.fromisoformat(job.installed_at)


def note_start(job: Job, now: datetime) -> None:
    """Remember that the job is started now."""
    (jobs_folder() / f"{job.name}.started").write_text(now.isoformat())


@contextmanager
def alone(job: Job) -> Iterator[bool]:
    """Whether this is the only run of the job; the lock goes with the process, however that ends."""
    jobs_folder().mkdir(parents=True, exist_ok=True)
    with open(jobs_folder() / f"{job.name}.lock", "a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
