"""`splitsweep schema`."""

from __future__ import annotations


def schema() -> None:
    """Print what the columns of a dataset mean: name, type, unit, meaning, and where KVM itself tells the number.

    \b
    Example:
      splitsweep schema > schema.md
    """
    from sweep.dataset.schema_text import schema_text

    for line in schema_text():
        print(line)
