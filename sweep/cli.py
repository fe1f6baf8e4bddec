"""The command line `splitsweep`: registers the commands and is the one place that turns errors into exit codes.

0: all well. 1: some configs failed, or something unforeseen happened. 2: bad usage or spec, said in one line on
stderr. 69: the cluster went away. 130, 143, 129: interrupted by Ctrl-C, SIGTERM, SIGHUP. What was done is kept. Nothing
heavy is imported here, so that `--help` answers at once.
"""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, Final

import typer

from cluster.errors import BrokenClusterError, ClusterError
from core.errors import CacheError, ConfigError, ProfileError
from sweep.asking import is_asking
from sweep.commands.calibrate import calibrate
from sweep.commands.compare import compare
from sweep.commands.dataset.check import check
from sweep.commands.dataset.compact import compact
from sweep.commands.dataset.schema import schema
from sweep.commands.dataset.status import status
from sweep.commands.explain import explain
from sweep.commands.import_ import import_
from sweep.commands.nights.history import history
from sweep.commands.nights.nightly import nightly
from sweep.commands.nights.schedule import schedule
from sweep.commands.plot import plot
from sweep.commands.query import query
from sweep.commands.report import report
from sweep.commands.run import run
from sweep.commands.submit import submit
from sweep.commands.table import table
from sweep.commands.validate import validate
from sweep.errors import SweepError
from sweep.secrets import hide_secrets, without_secrets

USER_ERRORS: Final = (SweepError, ConfigError, ProfileError, CacheError, ClusterError, typer.TyperException)
"""Errors that the user can put right: their message is enough."""

BROKEN_CLUSTER: Final = os.EX_UNAVAILABLE

_URI: Final = re.compile(r"(--[a-z-]+=)?[A-Za-z][A-Za-z0-9+.-]*://\S+$")

app = typer.Typer(name="splitsweep", add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
COMMANDS: Final = (
    *(run, submit, status, query, table, plot, report, explain, validate, calibrate, compare),
    *(check, compact, schema, nightly, history),
)
for command in COMMANDS:
    app.command()(command)
app.command("import")(import_)  # a word of Python
app.add_typer(schedule)


def main() -> None:
    """The console entry point."""
    code = exit_code(sys.argv[1:])
    if code == BROKEN_CLUSTER or is_asking():  # Ray, or a store's client, would wait at the interpreter's end
        sys.stdout.flush()
        os._exit(code)
    sys.exit(code)


def exit_code(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; errors are one line on stderr."""
    debug = "--debug" in arguments  # wherever it stands: nobody retypes a command to put it in the right place
    try:
        words = [_without_secrets(word) for word in arguments if word != "--debug"]
        code = app(words, prog_name="splitsweep", standalone_mode=False)
    except BrokenPipeError:  # the reader of the output went away: `splitsweep query ... | head`
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  (what is still buffered goes nowhere, without a word)
        return 0
    except (KeyboardInterrupt, typer.Abort):
        print("splitsweep: interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        foreseen = isinstance(error, USER_ERRORS)
        if debug:
            print(without_secrets("".join(traceback.format_exception(error))), end="", file=sys.stderr)
        print(f"splitsweep: {_message(error, foreseen)}", file=sys.stderr)
        if isinstance(error, BrokenClusterError):
            return BROKEN_CLUSTER
        return 2 if foreseen else 1
    return code if isinstance(code, int) else 0


def _message(error: Exception, foreseen: bool) -> str:
    if isinstance(error, typer.TyperException):
        text = f"{error.format_message()} (splitsweep COMMAND --help shows what is allowed)"
    elif foreseen:
        text = str(error)
    else:
        text = f"unexpected {type(error).__name__}: {error} (the option --debug shows where)"
    return without_secrets(" ".join(text.split()))  # one line, whatever the message holds


def _without_secrets(word: str) -> str:
    """A word of the command line as everything after this may see and show it."""
    return hide_secrets(word) if _URI.match(word) else word


def _print_version(wanted: bool) -> None:
    if not wanted:
        return
    from importlib.metadata import PackageNotFoundError, version

    try:
        print(f"splitsweep {version('splitsweep')}")
    except PackageNotFoundError:
        print("splitsweep, run from a checkout that is not installed")
    raise typer.Exit


@app.callback(invoke_without_command=True)
def splitsweep(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Predict what KVM dirty logging and huge-page splitting cost, over a whole sweep of configurations.

    \b
    Example:
      splitsweep run examples/cover_letter.toml
      splitsweep table results/cover-letter --metric dirty --iteration 1 --rows vcpus --columns split
    """
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit(2)
