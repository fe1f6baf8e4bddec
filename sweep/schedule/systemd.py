"""A timer of the user's own systemd, with the service that it starts."""

from __future__ import annotations

import os
import shutil
import subprocess
from datetime import datetime
from pathlib import Path
from typing import Final

from sweep.errors import QueryError
from sweep.schedule.jobs import Job, place_variables
from sweep.schedule.times import utc_times

_RUNNING: Final = ("running", "degraded", "starting")


def is_there() -> bool:
    """Whether this user has a systemd that runs."""
    if shutil.which("systemctl") is None:
        return False
    found = subprocess.run(
        ["systemctl", "--user", "is-system-running"], capture_output=True, text=True, check=False, timeout=20
    )
    return found.stdout.strip() in _RUNNING


def units(job: Job, now: datetime) -> dict[str, str]:
    """The unit files of a job by name. Persistent: a night that was missed is run when the machine is up again.

    systemd never starts a service that still runs, and leaves out a night whose clock has no such time; so the times
    are all those in UTC at which the job may be due, and the command asks whether it is.
    """
    calendar = "\n".join(f"OnCalendar=*-*-* {hour:02}:{minute:02}:00 UTC" for hour, minute in utc_times(job.daily, now))
    command = " ".join(_quoted(word).replace("$", "$$") for word in (*job.command, "--due"))
    variables = "".join(f"Environment={_quoted(f'{name}={value}')}\n" for name, value in place_variables().items())
    service = (
        "[Unit]\n"
        f"Description=splitsweep nightly {job.name}\n\n"
        "[Service]\n"
        "Type=oneshot\n"
        f"{variables}"
        f"ExecStart={command}\n"
    )
    timer = (
        "[Unit]\n"
        f"Description=splitsweep nightly {job.name} at {job.daily.text}\n\n"
        "[Timer]\n"
        f"{calendar}\n"
        "Persistent=true\n"
        "AccuracySec=1s\n\n"
        "[Install]\n"
        "WantedBy=timers.target\n"
    )
    return {f"{unit_name(job.name)}.service": service, f"{unit_name(job.name)}.timer": timer}


def install(job: Job, now: datetime) -> None:
    """Write the units and start the timer."""
    folder = units_folder()
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in units(job, now).items():
        (folder / name).write_text(text)
    _systemctl("daemon-reload")
    _systemctl("enable", "--now", f"{unit_name(job.name)}.timer")
    _systemctl("restart", f"{unit_name(job.name)}.timer")


def remove(name: str) -> None:
    """Stop the timer and delete the units."""
    if not has(name):
        return
    _systemctl("disable", "--now", f"{unit_name(name)}.timer")
    for ending in ("service", "timer"):
        (units_folder() / f"{unit_name(name)}.{ending}").unlink(missing_ok=True)
    _systemctl("daemon-reload")


def has(name: str) -> bool:
    """Whether there is a timer of this job."""
    return (units_folder() / f"{unit_name(name)}.timer").exists()


def unit_name(name: str) -> str:
    return f"splitsweep-{name}"


def units_folder() -> Path:
    """Where a user's own units are."""
    home = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(home) / "systemd" / "user"


def _systemctl(*words: str) -> None:
    found = subprocess.run(["systemctl", "--user", *words], capture_output=True, text=True, check=False)
    if found.returncode:
        raise QueryError(f"schedule: systemctl {' '.join(words)}: {found.stderr.strip() or 'failed'}")


def _quoted(word: str) -> str:
    """A word of a unit file: quotes, backslashes and % escaped, which mean something there."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'
