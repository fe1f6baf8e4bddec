"""What a user can put right, as exceptions: each carries one line that says what, where, and what is allowed.

`sweep.cli.main` prints any of them as `splitsweep: <message>` and exits with 2; nothing else in `sweep` prints errors.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class SweepError(Exception):
    """Base of all errors whose message is meant for the user; no traceback is shown for them."""


class SpecError(SweepError, ValueError):
    """A sweep spec, or a word overriding it, that cannot be run. Raised before anything starts or is written."""


@contextmanager
def spec_place(place: str) -> Iterator[None]:
    """Puts the place (a file, a table, an override) in front of the SpecErrors raised inside."""
    try:
        yield
    except SpecError as error:
        raise SpecError(f"{place}: {error}") from error


class StoreError(SweepError):
    """A results location that cannot be read or written."""


class QueryError(SweepError):
    """A query or a table that the dataset cannot answer."""
