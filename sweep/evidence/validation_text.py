"""A validation as text: the tables in the layout of `table --published`, what the intervals missed, and summaries.

csv is for spreadsheets and plots: one line per timing with all its numbers and no summary; the lines of a
cross-validation follow, and their column `left_out` says what the profile was fitted without.
"""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from core.config import FIELDS, field_text
from sweep.dataset.query import markdown_line
from sweep.errors import QueryError
from sweep.evidence.validation import (
    Prediction,
    Summary,
    ValidationTable,
    by_host,
    by_table,
    summary,
    validation_tables,
    varying_fields,
)
from sweep.published.timings import PUBLISHED_COLUMNS
from sweep.showing.origin import facts_captions, run_facts
from sweep.showing.table_text import FORMATS, number_text, tables_text
from sweep.showing.tables import value_order

SUMMARY_TITLES: Final = ("values", "median error", "90th percentile", "worst", "inside 90% interval")

CSV_NUMBERS: Final = ("predicted", "seconds_lo", "seconds_hi")


def check_form(form: str) -> None:
    """Raise QueryError for a format that does not exist, before anything runs for minutes."""
    if form not in FORMATS:
        raise QueryError(f"--format: {form!r} is not allowed; allowed: {', '.join(FORMATS)}")


def validation_text(found: Sequence[Prediction], form: str) -> Iterator[str]:
    """The lines of the tables and of the summary by table."""
    kind = found[0].measured.kind
    timings = f"{len(found)} {kind} {'time' if len(found) == 1 else 'times'}"
    profiles = ", ".join(dict.fromkeys(prediction.measured.config.profile for prediction in found))
    title = f"{'Profiles' if ', ' in profiles else 'Profile'} {profiles} against {timings}"
    yield from (f"# {title}" if form == "markdown" else title, "")
    for host, of_host in by_host(found).items():
        if host:
            profile = of_host[0].measured.config.profile
            yield from (f"{'# ' if form == 'markdown' else ''}Host {host}, profile {profile}", "")
        yield from _tables_lines(of_host, form)
    yield from summary_text("Summary", "Table", by_table(found), form)


def _tables_lines(found: Sequence[Prediction], form: str) -> Iterator[str]:
    """The tables of one host, each under its name."""
    name = ""
    for table in validation_tables(found):
        if table.name != name:
            name = table.name
            yield from (f"## {name}" if form == "markdown" else name, "")
        yield from _table_lines(table, form, table.predictions[0].measured.kind)
        yield ""


def summary_text(title: str, groups_title: str, groups: Mapping[str, Sequence[Prediction]], form: str) -> Iterator[str]:
    """A line for each group of predictions, and one for all of them."""
    everything = [prediction for group in groups.values() for prediction in group]
    summaries = [summary(name, group) for name, group in groups.items()]
    lines = [[groups_title, *SUMMARY_TITLES], *map(_summary_cells, [*summaries, summary("All", everything)])]
    if form == "markdown":
        yield from (
            f"## {title}",
            "",
            markdown_line(lines[0]),
            markdown_line([":---", *["---:"] * len(SUMMARY_TITLES)]),
        )
        yield from map(markdown_line, lines[1:])
        return
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rule = ["-" * width for width in widths]
    yield from (title, "")
    for name, *cells in (lines[0], rule, *lines[1:-1], rule, lines[-1]):
        padded = (f"{cell:>{width}}" for cell, width in zip(cells, widths[1:], strict=True))
        yield f"{name:{widths[0]}} | {' | '.join(padded)} |"


def csv_header(found: Sequence[Prediction]) -> str:
    """The first line of the csv; its config fields are those of the publications and any other that varies."""
    beside = "simulated" if found[0].measured.kind == "simulated" else "measured"
    return _csv_line(
        ["left_out", "table", "phase", "iteration", *_csv_fields(found), *CSV_NUMBERS, beside, "error_percent"]
    )


def csv_lines(found: Sequence[Prediction], left_out: str = "") -> Iterator[str]:
    """One line for each prediction; `found` has the same timings as those of the header."""
    names = _csv_fields(found)
    for prediction in found:
        timing = prediction.measured
        fields = (field_text(name, getattr(timing.config, name)) for name in names)
        numbers = (prediction.seconds, prediction.low, prediction.high, timing.seconds, prediction.error_percent)
        yield _csv_line([left_out, timing.table, timing.phase, timing.iteration, *fields, *numbers])


def _table_lines(table: ValidationTable, form: str, kind: str) -> Iterator[str]:
    """One table with its notes."""
    said = dataclasses.replace(table.table, beside=kind)
    yield from list(tables_text([said], form))[:-1]  # without the empty line at the end
    note = _interval_note(table)
    predicted = [run_facts(prediction.measured.config) for prediction in table.predictions]
    for line in (*([note] if note else []), *facts_captions(predicted)):
        if form == "markdown":
            yield ""
        yield line


def _interval_note(table: ValidationTable) -> str:
    """How many values lie inside their intervals, and which do not, in the order of the table."""
    intervals = [prediction for prediction in table.predictions if prediction.inside is not None]
    loose = [prediction for prediction in table.predictions if not prediction.determined]
    if loose and not intervals:
        return "Not determined by what the profile was fitted to: intervals say only what is known of any host"
    if not intervals:
        return ""
    rows, splits = value_order(table.table.rows), value_order("split")
    outside = sorted(
        (prediction for prediction in intervals if not prediction.inside),
        key=lambda prediction: (
            splits(prediction.measured.config.split),
            rows(getattr(prediction.measured.config, table.table.rows)),
        ),
    )
    note = f"Intervals: {len(intervals) - len(outside)} of {len(intervals)} values inside the 90% interval"
    if loose:
        note += f", {len(loose)} more not determined by what the profile was fitted to"
    if not outside:
        return note
    return f"{note}; outside: {', '.join(_outside_text(table.table.rows, prediction) for prediction in outside)}"


def _outside_text(rows: str, prediction: Prediction) -> str:
    config = prediction.measured.config
    interval = f"{number_text(prediction.low, 'seconds')} to {number_text(prediction.high, 'seconds')}"
    return f"{rows}={field_text(rows, getattr(config, rows))} split={config.split} ({interval})"


def _summary_cells(found: Summary) -> list[str]:
    errors = [f"{error:.1f}%" for error in (found.median, found.p90, found.worst)]
    inside = "-"
    if found.intervals:
        inside = f"{found.inside} of {found.intervals} ({found.inside / found.intervals:.0%})"
    if found.undetermined:
        inside += f", {found.undetermined} not determined"
    return [found.name, str(found.values), *errors, inside]


def _csv_fields(found: Iterable[Prediction]) -> list[str]:
    varying = varying_fields(found)
    return [name for name in FIELDS if name in PUBLISHED_COLUMNS or name in varying]


def _csv_line(cells: Iterable[object]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(cells)
    return text.getvalue()
