"""The forms in which a comparison is printed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from sweep.comparison.compare import Comparison
from sweep.comparison.records import csv_lines, json_lines, junit_lines
from sweep.comparison.text import lkml_lines, markdown_lines
from sweep.errors import QueryError

FORMATS: Final[dict[str, Callable[[Comparison], Iterator[str]]]] = {
    "lkml": lkml_lines,
    "markdown": markdown_lines,
    "csv": csv_lines,
    "json": json_lines,
    "junit": junit_lines,
}


def check_format(form: str) -> None:
    """Raise QueryError unless there is such a form."""
    if form not in FORMATS:
        raise QueryError(f"--format: {form!r} is not allowed; allowed: {', '.join(FORMATS)}")


def comparison_text(comparison: Comparison, form: str) -> Iterator[str]:
    """The lines of the comparison, without line ends."""
    check_format(form)
    return FORMATS[form](comparison)
