"""`splitsweep status`."""

from __future__ import annotations

from sweep.commands.dataset import Directory
from sweep.running.status import dataset_status, status_text


def status(
    directory: Directory,
) -> None:
    """Say how far a sweep is: configs done, failed and missing, where it ran, and why configs failed.

    \b
    Example:
      splitsweep status results/cover-letter
    """
    for line in status_text(dataset_status(directory)):
        print(line)
