"""`splitsweep submit`."""

from __future__ import annotations

import secrets
import shlex
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from sweep.commands import Overrides

if TYPE_CHECKING:
    from sweep.spec.configs import Spec

LONGEST: Final = 100_000
"""Bytes of a command: the kernel takes no word over 128 KiB."""

_END_OF_SPEC: Final = "END-OF-SPEC"


def submit(
    address: Annotated[str, typer.Option(metavar="HOST:8265", help="The job server of the cluster's head.")],
    spec: Annotated[Path | None, typer.Argument(metavar="SPEC", help="A sweep spec (TOML) of this machine.")] = None,
    overrides: Overrides = None,
    results: Annotated[
        str | None,
        typer.Option(metavar="URI", help="Where the dataset is: s3://bucket/folder, or a folder all nodes share."),
    ] = None,
    rejoin: Annotated[str | None, typer.Option(metavar="JOB", help="Follow a job that was left.")] = None,
) -> None:
    """Send a sweep to a Ray cluster as a job, follow its log, and end with its exit code.

    The sweep's driver runs on the cluster, so this machine may be switched off: Ctrl-C leaves the job running and says
    how to come back to it. The cluster has splitsweep installed already, and the token if it asks for one.

    \b
    Example:
      splitsweep submit examples/large_vm.toml --address head:8265 --results s3://bucket/large-vm
      splitsweep submit --rejoin splitsweep-large-vm-20260102-030405-1a2b --address head:8265
    """
    from cluster.jobs import job_server, submit_job
    from sweep.errors import SweepError

    server = job_server(address)
    if (spec is None) == (rejoin is None):
        raise SweepError("submit: give either SPEC, to start a sweep, or --rejoin JOB")
    name = rejoin
    if spec is not None:
        from sweep.spec.configs import load_spec

        sweep = load_spec(spec, overrides or [])
        command = job_command(sweep, _shared(results))
        name = f"splitsweep-{sweep.name}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
        submit_job(server, name, command)
        print(f"splitsweep: sent as {name}", file=sys.stderr)
    assert name is not None
    again = shlex.join(["splitsweep", "submit", "--rejoin", name, "--address", address])
    raise typer.Exit(_followed(server, name, again))


def job_command(sweep: Spec, results: str) -> str:
    """The shell command that runs the sweep on the head, with the spec in it; SweepError if it cannot work there."""
    from sweep.errors import SweepError
    from sweep.spec.configs import resolved_text

    for config, _ in sweep.configs.alike():
        if config.profile.endswith(".toml") and not Path(config.profile).is_absolute():
            raise SweepError(
                f"profile: {config.profile!r} is a file of this machine; allowed in a job: profiles that come with "
                "splitsweep, and absolute paths that all nodes have"
            )
    run = shlex.join(["splitsweep", "run", f"{sweep.name}.toml", "--results", results, "--address", "auto"])
    command = (
        f"cd \"$(mktemp -d)\" && cat > {sweep.name}.toml <<'{_END_OF_SPEC}' && exec {run}\n"
        f"{resolved_text(sweep)}{_END_OF_SPEC}\n"
    )
    if len(command.encode()) > LONGEST:
        raise SweepError(
            f"{sweep.source}: is too long to be sent ({LONGEST:,} bytes are allowed, its overrides included); put it "
            f"on the head, and send the command alone: ray job submit -- {run}"
        )
    return command


def _shared(results: str | None) -> str:
    """Where the job may write; SweepError for what is another place on each machine, or has credentials in it."""
    from sweep.errors import SweepError
    from sweep.secrets import has_secrets

    if results is None or not ("://" in results or Path(results).is_absolute()):
        raise SweepError(
            "--results: the job runs on the cluster; allowed: s3://bucket/folder, or the absolute path of a folder "
            "that all its nodes share"
        )
    if has_secrets(results):
        raise SweepError(
            "--results: whoever sees the cluster's jobs would see these credentials; leave them out, and give them to "
            "the nodes, as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or by a role"
        )
    return results


def _followed(server: str, name: str, rejoin: str) -> int:
    """Show the job's log until it ends, or a signal says to leave; the exit code."""
    from cluster.errors import BrokenClusterError
    from cluster.interrupts import noticed_signals
    from cluster.jobs import follow_job

    def show(text: str) -> None:
        print(text, end="", flush=True)

    with noticed_signals() as interrupts:
        try:
            end = follow_job(server, name, show, lambda: interrupts.number is not None)
        except BrokenClusterError as error:
            raise BrokenClusterError(f"{error}; if the job runs, come back to it with: {rejoin}") from None
        number = interrupts.number or signal.SIGINT
    if end is None:
        print(f"splitsweep: {name} goes on without you; come back to it with: {rejoin}", file=sys.stderr)
        return 128 + number
    if end.exit_code is None:
        said = f": {end.message.splitlines()[0]}" if end.message else ""
        raise BrokenClusterError(f"{name}: {end.status.lower()}{said}; what is done is kept, submit the same again")
    return end.exit_code
