"""Jobs as a user installs, lists, runs and removes them; with a real crontab, a real cron and systemd's own verifier.

The crontab of the user who runs the tests is put back as it was.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sweep.cli import exit_code
from sweep.schedule.control import BUSY, run, serve
from sweep.schedule.crontab import crontab_lines, without
from sweep.schedule.jobs import Job, alone, jobs_folder, load_job, note_start, save_job
from sweep.schedule.systemd import units

SPEC = 'name = "small"\n[fixed]\nmem_per_vcpu = "1MiB"\n'

needs_crontab = pytest.mark.skipif(shutil.which("crontab") is None, reason="Debian's package cron is not installed")
needs_cron = pytest.mark.skipif(
    shutil.which("cron") is None or os.getuid() != 0, reason="a cron daemon needs Debian's package cron, and root"
)
needs_analyze = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a spec, and a home for jobs of its own."""
    (tmp_path / "small.toml").write_text(SPEC)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def crontab() -> Iterator[None]:
    """The user's crontab may be changed meanwhile."""
    before = subprocess.run(["crontab", "-l"], capture_output=True, text=True, check=False)
    yield
    if before.returncode:
        subprocess.run(["crontab", "-r"], capture_output=True, check=False)
    else:
        subprocess.run(["crontab", "-"], input=before.stdout, text=True, check=True)


def crontab_text() -> str:
    return subprocess.run(["crontab", "-l"], capture_output=True, text=True, check=False).stdout


def job(folder: Path, **values: str) -> Job:
    fields = {
        "name": "small",
        "at": "02:30",
        "zone": "Europe/Berlin",
        "folder": str(folder),
        "history": "h",
        "by": "serve",
        "installed_at": datetime.now(UTC).isoformat(),
        "path": os.environ["PATH"],
    }
    return Job(arguments=("missing.toml", "--history", "h"), **{**fields, **values})  # type: ignore[arg-type]


@needs_crontab
@pytest.mark.usefixtures("crontab")
def test_installing_twice_equals_once_and_removing_leaves_the_other_lines(capsys: pytest.CaptureFixture[str]) -> None:
    subprocess.run(["crontab", "-"], input="# mine\n5 4 * * * true\n", text=True, check=True)
    words = ["schedule", "install", "small.toml", "--at", "02:30", "--tz", "Europe/Berlin", "--by", "cron"]
    assert exit_code(words) == 0
    once = crontab_text()
    assert exit_code(words) == 0
    assert crontab_text() == once
    assert once.startswith("# mine\n5 4 * * * true\n# splitsweep schedule small: begin\n30 0 * * * ")
    assert exit_code(["schedule", "remove", "small"]) == 0
    assert crontab_text() == "# mine\n5 4 * * * true\n"
    assert exit_code(["schedule", "list"]) == 0
    assert "no job is installed" in capsys.readouterr().out


def test_entries_of_other_jobs_stay(folder: Path) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    lines = ["# mine", *crontab_lines(job(folder), now), *crontab_lines(job(folder, name="other"), now)]
    assert without(lines, "small") == ["# mine", *crontab_lines(job(folder, name="other"), now)]


def test_list_shows_the_next_run_the_verdict_and_missed_nights(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    installed = datetime.now(UTC) - timedelta(days=3)
    save_job(job(folder, zone="UTC", installed_at=installed.isoformat()))
    assert exit_code(["schedule", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "small: daily at 02:30 UTC, by serve"
    assert lines[1].strip().endswith("02:30 UTC")
    assert lines[2] == "  verdict   none yet"
    assert lines[3].startswith("  missed    3 nights, the last at ")


def test_a_run_has_the_exit_code_of_nightly_and_is_the_only_one(folder: Path) -> None:
    save_job(job(folder))
    assert run("small", datetime.now(UTC), only_if_due=False) == 2  # there is no missing.toml
    with alone(load_job("small")):
        assert run("small", datetime.now(UTC), only_if_due=False) == BUSY


def test_a_run_that_is_not_due_does_nothing(folder: Path) -> None:
    save_job(job(folder))
    assert run("small", datetime.now(UTC), only_if_due=True) == 0


def test_serve_catches_up_a_missed_night_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_job(job(folder, installed_at=(datetime.now(UTC) - timedelta(days=2)).isoformat()))
    serve(once=True)
    assert "small: exit code 2" in capsys.readouterr().out
    serve(once=True)
    assert capsys.readouterr().out == ""


@needs_analyze
def test_systemds_own_verifier_accepts_the_units(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", f'{folder}/50% of "$HOME"')
    now = datetime(2026, 1, 1, tzinfo=UTC)
    files = []
    for name, text in units(job(folder), now).items():
        (folder / name).write_text(text)
        files.append(str(folder / name))
    found = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *files], capture_output=True, text=True, check=False
    )
    assert [line for line in found.stderr.splitlines() if "splitsweep" in line] == []
    calendar = [line.partition("=")[2] for line in text.splitlines() if line.startswith("OnCalendar=")]
    assert calendar == ["*-*-* 00:30:00 UTC", "*-*-* 01:00:00 UTC", "*-*-* 01:30:00 UTC"]
    subprocess.run(["systemd-analyze", "calendar", *calendar], capture_output=True, check=True)


@needs_crontab
@needs_cron
@pytest.mark.cron
@pytest.mark.usefixtures("crontab")
def test_a_real_cron_daemon_runs_the_job_on_its_minute(folder: Path) -> None:
    soon = datetime.now(UTC) + timedelta(minutes=1, seconds=5)
    words = ["--at", f"{soon:%H:%M}", "--tz", "UTC", "--by", "cron", "--history", "h"]
    assert exit_code(["schedule", "install", "small.toml", *words]) == 0
    (folder / "small.toml").unlink()  # the run fails at once, which is all that is to be seen
    daemon = subprocess.Popen(["cron", "-f"])
    try:
        started = jobs_folder() / "small.started"
        log = jobs_folder() / "small.log"
        ends = time.monotonic() + 130
        while time.monotonic() < ends and not (started.exists() and "no such file" in log.read_text()):
            time.sleep(1)
    finally:
        daemon.terminate()
        daemon.wait()
    begun = datetime.fromisoformat(started.read_text())
    assert (begun.hour, begun.minute) == (soon.hour, soon.minute)
    assert "small.toml: no such file" in log.read_text()


def test_kubernetes_gets_a_cron_job_and_ray_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["schedule", "install", "small.toml", "--at", "2:05", "--tz", "Europe/Berlin", "--image", "registry/x:1"]
    assert exit_code([*words, "--kubernetes", "--", "--repeats", "5"]) == 0
    printed = capsys.readouterr().out
    assert '  schedule: "5 2 * * *"\n  timeZone: "Europe/Berlin"\n' in printed
    command = json.loads(printed.partition("command: ")[2])
    assert command == ["splitsweep", "nightly", "small.toml", "--repeats", "5", "--history", "history/small"]
    assert exit_code([*words, "--ray-job"]) == 0
    assert "ray job submit --address" in capsys.readouterr().out
    assert not jobs_folder().exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["install", "missing.toml"], "missing.toml: no such file"),
        (["install", "small.toml", "--at", "25:00"], "--at: '25:00' is no time of day"),
        (["install", "small.toml", "--tz", "Mars/Base"], "--tz: there is no time zone 'Mars/Base'"),
        (["install", "small.toml", "--by", "at"], "--by: 'at' is not allowed; allowed: systemd, cron, serve"),
        (["install", "small.toml", "--name", "a/b"], "--name: 'a/b' is not allowed"),
        (["install", "small.toml", "vcpus=none"], "override vcpus=none"),
        (["install", "small.toml", "--", "--repeats", "none"], "Invalid value for '--repeats'"),
        (["install", "small.toml", "--", "--no-such-option"], "No such option: --no-such-option"),
        (["remove", "other"], "schedule: there is no job 'other'; there are: none is installed"),
        (["run", "../../etc"], "schedule: there is no job '../../etc'"),
    ],
)
def test_bad_usage_is_one_line_and_installs_nothing(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(["schedule", *words]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith(f"splitsweep: {told}")
    assert printed.count("\n") == 1
    assert not jobs_folder().exists()


def test_a_job_that_was_started_is_due_again_the_next_day(folder: Path) -> None:
    save_job(job(folder))
    note_start(load_job("small"), datetime.now(UTC) - timedelta(days=1, minutes=1))
    assert run("small", datetime.now(UTC), only_if_due=True) == 2
