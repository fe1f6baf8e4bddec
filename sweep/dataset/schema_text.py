"""The result columns as a document: docs/schema.md, and what `splitsweep schema` prints."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from core.rows import FORMER_NAMES, PHASE_COLUMNS, RUN_COLUMNS, SCHEMA_VERSION, TIMELINE_COLUMNS, Column

TYPES: Final = {
    int: "integer",
    float: "number",
    str: "text",
    bool: "truth value",
    datetime: "timestamp, UTC",
    list: "list of bins",
}


INTRODUCTION: Final = """\
# Schema

Version {version} of the columns, as `splitsweep schema` prints them. A dataset is a folder of Parquet files, which
pandas and DuckDB read as they are: `runs/` has a row for each config, `phases/` one for each phase and iteration of a
config that went well. The same meanings and units stand in the files' field metadata, and with the runs the version of
schema and engine and the text of the profiles. Any value may be null; a text out of few is a dictionary (a category in
pandas).

The views of `splitsweep query` have one more column, `origin`: the profile, with what else tells its rows apart.
What version 1 called otherwise: {renamed}."""


def schema_text() -> Iterator[str]:
    """The schema in lines of Markdown."""
    renamed = ", ".join(f"{former} is {name}" for name, former in FORMER_NAMES.items())
    yield from (line.format(version=SCHEMA_VERSION, renamed=renamed) for line in INTRODUCTION.splitlines())
    for name, columns in (("runs", RUN_COLUMNS), ("phases", PHASE_COLUMNS), ("timeline of a phase", TIMELINE_COLUMNS)):
        yield from ("", f"## {name}", "", "| column | type | unit | meaning | in KVM |", "|---|---|---|---|---|")
        yield from (_line(column) for column in columns)


def _line(column: Column) -> str:
    kind = " or ".join(column.choices) if column.choices else TYPES[column.kind]
    return f"| {column.name} | {kind} | {column.unit} | {column.meaning} | {column.kvm} |"
