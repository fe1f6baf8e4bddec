"""`splitsweep status`."""

from __future__ import annotations

from typing import Annotated

import typer

from sweep.running.status import dataset_status, status_text


def status(
    directory: Annotated[str, typer.Argument(metavar="DIR", help="A dataset: a folder or a URI like s3://bucket/key.")],
) -> None:
    """Say how far a sweep is: configs done, failed and missing, where it ran, and why configs failed.

    \b
    Example:
      splitsweep status results/cover-letter
    """
    for line in status_text(dataset_status(directory)):
        print(line)
