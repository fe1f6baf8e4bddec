"""`splitsweep status`."""

from __future__ import annotations

from typing import Annotated

import typer

from sweep.commands.dataset import Directory
from sweep.errors import QueryError


def status(
    directory: Directory,
    form: Annotated[str, typer.Option("--format", help="text or json.")] = "text",
) -> None:
    """Say how far a sweep is: configs done, failed and missing, where it ran, and why configs failed.

    \b
    Example:
      splitsweep status results/cover-letter
      splitsweep status results/cover-letter --format json
    """
    from sweep.running.status import dataset_status, status_json, status_text

    if form not in ("text", "json"):
        raise QueryError(f"--format: {form!r} is not allowed; allowed: text, json")
    found = dataset_status(directory)
    if form == "json":
        print(status_json(found))
        return
    for line in status_text(found):
        print(line)
