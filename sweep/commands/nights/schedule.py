"""`splitsweep schedule`: a command with commands of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sweep.errors import QueryError

schedule = typer.Typer(
    name="schedule",
    rich_markup_mode=None,
    help="""Run nightly by itself, every day at a time.

\b
Example:
  splitsweep schedule install examples/live.toml --at 02:30 --tz Europe/Berlin --history history/live
  splitsweep schedule list
""",
)


@schedule.command()
def install(
    spec: Annotated[Path, typer.Argument(metavar="SPEC", help="The sweep of every night (TOML).")],
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="FIELD=V1,V2 [-- OPTIONS]", help="Values, and after -- options of nightly."),
    ] = None,
    at: Annotated[str, typer.Option(metavar="HH:MM", help="Time of day.")] = "02:30",
    zone: Annotated[
        str | None, typer.Option("--tz", help="Its time zone, like Europe/Berlin.", show_default="this machine's")
    ] = None,
    history: Annotated[
        str | None,
        typer.Option(metavar="DIR|URI", help="Where the nights are kept.", show_default="history/ and the spec's name"),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Of the job.", show_default="the spec's")] = None,
    by: Annotated[
        str | None, typer.Option(help="systemd, cron or serve.", show_default="the first of them that is there")
    ] = None,
    kubernetes: Annotated[bool, typer.Option("--kubernetes", help="Print a CronJob and install nothing.")] = False,
    image: Annotated[str, typer.Option(help="With --kubernetes: the image that has splitsweep.")] = "splitsweep",
    ray_job: Annotated[bool, typer.Option("--ray-job", help="Print what submits to Ray and install nothing.")] = False,
) -> None:
    """Install a nightly run: once a day, also on days with a change of the clock; a missed night is caught up.

    A timer of the user's systemd where that runs, else entries in the crontab, else a job for `schedule serve`.
    Installing a job again replaces it.

    \b
    Example:
      splitsweep schedule install examples/live.toml --at 02:30 --history history/live -- --repeats 15
    """
    import os
    from datetime import UTC, datetime

    from sweep.schedule.control import CRON, SERVE, SYSTEMD, mechanism
    from sweep.schedule.control import install as install_job
    from sweep.schedule.jobs import NAME, Job
    from sweep.schedule.templates import cron_job_lines, ray_job_lines
    from sweep.schedule.times import next_run, parse_daily
    from sweep.secrets import has_secrets
    from sweep.spec.configs import load_spec

    daily = parse_daily(at, zone)
    fields = [word for word in words or [] if "=" in word and not word.startswith("-")]
    sweep = load_spec(spec, fields if len(fields) == len(words or []) else [])
    place = history or f"history/{sweep.name}"
    job_name = name or sweep.name
    if not NAME.fullmatch(job_name):
        raise QueryError(f"--name: {job_name!r} is not allowed; allowed: up to 61 letters, digits and . _ -")
    if by not in (None, SYSTEMD, CRON, SERVE):
        raise QueryError(f"--by: {by!r} is not allowed; allowed: {SYSTEMD}, {CRON}, {SERVE}")
    arguments = [str(spec), *(words or []), "--history", place]
    _check_options(arguments)
    if any(map(has_secrets, arguments)):
        raise QueryError(
            "schedule: a job keeps its words where others may read them, and starts them where ps shows them; leave "
            "credentials out of its URIs, and put them where the store's client looks, such as ~/.aws/credentials"
        )
    if kubernetes or ray_job:
        lines = cron_job_lines(job_name, daily, arguments, image) if kubernetes else ray_job_lines(daily, arguments)
        for line in lines:
            print(line)
        return
    now = datetime.now(UTC)
    job = Job(
        name=job_name,
        at=f"{daily.hour:02}:{daily.minute:02}",
        zone=daily.zone,
        folder=os.getcwd(),
        arguments=(str(spec.absolute()), *arguments[1:]),
        history=place,
        by=by or mechanism(),
        installed_at=now.isoformat(),
        path=os.environ.get("PATH", "/usr/bin:/bin"),
    )
    install_job(job, now)
    print(f"{job.name}: daily at {daily.text}, by {job.by}; next run {next_run(daily, now):%Y-%m-%d %H:%M} UTC")
    if job.by == SERVE:
        print("neither systemd nor cron is there: keep `splitsweep schedule serve` running")


@schedule.command("list")
def list_() -> None:
    """List the jobs with their next run and last verdict, and say which nights were missed.

    \b
    Example:
      splitsweep schedule list
    """
    from datetime import UTC, datetime

    from sweep.schedule.control import list_lines

    for line in list_lines(datetime.now(UTC)):
        print(line)


@schedule.command()
def remove(name: Annotated[str, typer.Argument(help="Of the job.")]) -> None:
    """Remove a job; its history stays.

    \b
    Example:
      splitsweep schedule remove live
    """
    from sweep.schedule.control import remove as remove_job

    remove_job(name)
    print(f"{name}: removed; its history stays")


@schedule.command()
def run(
    name: Annotated[str, typer.Argument(help="Of the job.")],
    due: Annotated[bool, typer.Option("--due", help="Only if it has not been started since its time.")] = False,
) -> None:
    """Run a job now, with the exit code of nightly; 75 if it runs already.

    \b
    Example:
      splitsweep schedule run live
    """
    from datetime import UTC, datetime

    from sweep.schedule.control import run as run_job

    raise typer.Exit(run_job(name, datetime.now(UTC), only_if_due=due))


@schedule.command()
def serve() -> None:
    """Start jobs at their time from here, until interrupted: for machines with neither systemd nor cron.

    \b
    Example:
      splitsweep schedule serve
    """
    from sweep.schedule.control import serve as serve_jobs

    try:
        serve_jobs()
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def _check_options(arguments: list[str]) -> None:
    """Raise the error that nightly would, now and not at night."""
    from sweep.commands.nights.nightly import nightly

    parser = typer.Typer(add_completion=False)
    parser.command()(nightly)
    typer.main.get_command(parser).make_context("nightly", list(arguments))
