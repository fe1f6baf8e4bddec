"""Installing, listing, removing and running jobs, whatever starts them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from sweep.errors import SweepError
from sweep.history.nights import read_nights
from sweep.schedule import crontab, systemd
from sweep.schedule.jobs import SPLITSWEEP, Job, alone, forget_job, jobs, last_started, load_job, note_start, save_job
from sweep.schedule.times import is_due, missed_runs, next_run

SYSTEMD: Final = "systemd"
CRON: Final = "cron"
SERVE: Final = "serve"

BUSY: Final = 75
"""Exit code where the job runs already: EX_TEMPFAIL of sysexits.h."""

LOOK_SECONDS: Final = 20.0
"""How often `serve` looks at the clock: it may be set, or the machine suspended."""


def mechanism() -> str:
    """What starts jobs here."""
    return SYSTEMD if systemd.is_there() else CRON if crontab.is_there() else SERVE


def install(job: Job, now: datetime) -> None:
    """Install the job, in place of a former one of its name, whatever started that."""
    _uninstall(job.name)
    save_job(job)
    if job.by == SYSTEMD:
        systemd.install(job, now)
    elif job.by == CRON:
        crontab.install(job, now)


def remove(name: str) -> None:
    """Remove the job; its history stays. QueryError if there is none."""
    load_job(name)
    _uninstall(name)
    forget_job(name)


def _uninstall(name: str) -> None:
    systemd.remove(name)
    if crontab.has(name):
        crontab.remove(name)


def list_lines(now: datetime) -> Iterator[str]:
    """Each job with its next run, its last verdict, and what is wrong with it."""
    found = jobs()
    if not found:
        yield "no job is installed; `splitsweep schedule install SPEC --at 02:30` installs one"
    for job in found:
        following = next_run(job.daily, now).astimezone(ZoneInfo(job.zone))
        yield f"{job.name}: daily at {job.daily.text}, by {job.by}"
        yield f"  next run  {following:%Y-%m-%d %H:%M %Z}"
        yield f"  verdict   {_last_verdict(job)}"
        missed = missed_runs(job.daily, last_started(job), now)
        if missed:
            at = missed[-1].astimezone(ZoneInfo(job.zone))
            yield f"  missed    {_nights(len(missed))}, the last at {at:%Y-%m-%d %H:%M}; run it: {_shown(job)}"
        gone = (job.by == SYSTEMD and not systemd.has(job.name)) or (job.by == CRON and not crontab.has(job.name))
        if gone:
            yield f"  missing   {job.by} no longer has it; install it again"
        if job.by == SERVE:
            yield "  needs     splitsweep schedule serve, running"


def run(name: str, now: datetime, *, only_if_due: bool) -> int:
    """Run the job unless it runs already; returns its exit code. With `only_if_due`: unless it was started in time."""
    job = load_job(name)
    with alone(job) as free:
        if only_if_due and not is_due(job.daily, last_started(job), now):
            return 0
        if not free:
            print(f"splitsweep: schedule: {name} runs already; this start is left out", file=sys.stderr)
            return BUSY
        note_start(job, now)
        if not Path(job.folder).is_dir():
            raise SweepError(f"schedule: {name}: there is no folder {job.folder} any more; install the job again")
        command = [*SPLITSWEEP, "nightly", *job.arguments]
        return subprocess.run(command, cwd=job.folder, env=os.environ | {"PATH": job.path}, check=False).returncode


def serve(once: bool = False) -> None:
    """Start the jobs that nothing else starts when they are due, until interrupted; missed nights at once."""
    while True:
        now = datetime.now(UTC)
        for job in jobs():
            if job.by == SERVE and is_due(job.daily, last_started(job), now):
                print(f"{now:%Y-%m-%d %H:%M:%S}Z {job.name}: started", flush=True)
                code = run(job.name, now, only_if_due=True)
                print(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}Z {job.name}: exit code {code}", flush=True)
        if once:
            return
        time.sleep(LOOK_SECONDS)


def _last_verdict(job: Job) -> str:
    try:
        nights = read_nights(_location(job))
    except SweepError as error:
        return f"unknown: {error}"
    return f"{nights[-1].verdict} ({nights[-1].name})" if nights else "none yet"


def _location(job: Job) -> str:
    return job.history if "://" in job.history else str(Path(job.folder) / job.history)


def _shown(job: Job) -> str:
    return f"splitsweep schedule run {job.name}"


def _nights(count: int) -> str:
    return "1 night" if count == 1 else f"{count} nights"
