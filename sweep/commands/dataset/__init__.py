"""Commands about a dataset itself; and the dataset that any command reads, with what is said of it on stderr first."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Directory = Annotated[str, typer.Argument(metavar="DIR", help="A dataset: a folder or a URI like s3://bucket/key.")]

Current = Annotated[
    bool, typer.Option("--current", help="Of each profile only what its newest content and engine version gave.")
]


@contextmanager
def dataset_of(directory: str, current: bool) -> Iterator[DuckDBPyConnection]:
    """The opened dataset, with a note on stderr if rows in it are of several origins that bear the same name."""
    from sweep.dataset.origin import origins, origins_note
    from sweep.dataset.views import open_dataset

    with open_dataset(directory, current=current) as dataset:
        note = None if current else origins_note(origins(dataset))
        if note:
            print(f"splitsweep: {directory}: {note}", file=sys.stderr)
        yield dataset
