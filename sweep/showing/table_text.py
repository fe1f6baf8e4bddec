"""Tables as text: `lkml` as in the cover letters of the kernel mailing list, `markdown`, and `csv`.

lkml is the form that the eager page splitting series used, so that a prediction can be pasted beside a measurement.
With published values each column has three parts: predicted, published, and the error of the prediction in percent.
csv has one line per cell, with every heading in a column of its own: the form that spreadsheets and plots take.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from core.config import field_text
from sweep.dataset.query import markdown_line
from sweep.errors import QueryError
from sweep.showing.origin import CAPTION_FACTS, captions, trust_notes
from sweep.showing.points import NUMBER_KINDS, Metric
from sweep.showing.tables import Cell, Table, accuracy

FORMATS: Final = ("lkml", "markdown", "csv")

ROW_WIDTH: Final = 12
COLUMN_WIDTH: Final = 20
"""Least widths, those of the thread's tables."""

INTERVAL_NOTE: Final = "+-: 90% interval, from the value divided to the value multiplied by as much"

SECONDS_TITLES: Final = {
    "populate": "Populate memory time",
    "enable": "Enabling dirty logging time",
    "dirty": "Iteration {} dirty memory time",
    "get": "Iteration {} get dirty log time",
    "clear": "Iteration {} clear dirty log time",
    "disable": "Disabling dirty logging time",
    "after_disable": "Memory time after disabling dirty logging",
}
"""What dirty_log_perf_test, and after it the thread, call the phases."""


def tables_text(tables: Sequence[Table], form: str) -> Iterator[str]:
    """The lines of the tables, without line ends."""
    if form not in FORMATS:
        raise QueryError(f"--format: {form!r} is not allowed; allowed: {', '.join(FORMATS)}")
    if form == "csv":
        yield from _csv_lines(tables)
        return
    for table in tables:
        yield from _lkml_lines(table) if form == "lkml" else _markdown_lines(table)
        yield ""
    if len(tables) > 1 and any(table.with_published for table in tables):
        yield _accuracy_text(f"All {len(tables)} tables", tables)


def metric_title(metric: Metric) -> str:
    """What the table shows, in the words of the benchmark."""
    title = SECONDS_TITLES[metric.phase].format(metric.iteration)
    if metric.column == "seconds":
        return title
    return f"{title.removesuffix(' time')}: {metric.column}"


def number_text(value: float | None, column: str) -> str:
    """A value of a column with its unit, times in seconds as the thread writes them; a dash for none."""
    if value is None:
        return "-"
    if column.endswith("_ns"):
        return f"{value:.0f}ns"
    if NUMBER_KINDS[column] is float:
        return f"{value:.9f}s"
    return f"{value:.0f}" if value == int(value) else f"{value:.1f}"


def _lkml_lines(table: Table) -> Iterator[str]:
    heading = heading_text(table)
    if heading:
        yield from (heading, "")
    labels = [column_label(table, value) for value in table.column_values]
    parts = [[cell_parts(table, row, column) for row in table.row_values] for column in table.column_values]
    columns = [_joined(table, cells) for cells in parts]
    width = [max(COLUMN_WIDTH, len(label), *map(len, cells)) for label, cells in zip(labels, columns, strict=True)]
    rows = [row_label(table, value) for value in table.row_values]
    first = max(ROW_WIDTH, len(row_title(table)), *map(len, rows))
    inner = max(sum(width) + 3 * (len(width) - 1), len(metric_title(table.metric)) + 2)
    width[-1] += inner - sum(width) - 3 * (len(width) - 1)
    yield f"{'':{first}} | {_quoted_title(table):{inner}} |"
    yield f"{'':{first}} | {'-' * inner} |"
    if table.with_published:
        yield _lkml_line("", labels, first, width)
        yield _lkml_line(row_title(table), [cells.pop(0) for cells in columns], first, width)
    else:
        yield _lkml_line(row_title(table), labels, first, width)
    yield _lkml_line("-" * first, ["-" * w for w in width], first, width)
    for position, row in enumerate(rows):
        yield _lkml_line(row, [cells[position] for cells in columns], first, width)
    yield from table_notes(table)


def _lkml_line(row: str, cells: Sequence[str], first: int, width: Sequence[int]) -> str:
    padded = (f"{cell:{w}}" for cell, w in zip(cells, width, strict=True))
    return f"{row:{first}} | {' | '.join(padded)} |"


def _quoted_title(table: Table) -> str:
    return f'"{metric_title(table.metric)}"'


def part_names(table: Table) -> tuple[str, ...]:
    """What the parts of a cell are."""
    interval = ("90%",) if table.with_interval else ()
    return ("predicted", *interval, table.beside, "error") if table.with_published else ("", *interval)


def _joined(table: Table, cells: Sequence[Sequence[str]]) -> list[str]:
    """The cells of one column with their parts aligned; beside published values a first line names the parts."""
    if len(part_names(table)) == 1:
        return [cell[0] for cell in cells]
    lines = [part_names(table), *cells] if table.with_published else cells
    widths = [max(map(len, part)) for part in zip(*lines, strict=True)]
    return ["  ".join(f"{part:>{w}}" for part, w in zip(line, widths, strict=True)) for line in lines]


def _markdown_lines(table: Table) -> Iterator[str]:
    heading = heading_text(table)
    yield f"### {metric_title(table.metric)}" + (f": {heading}" if heading else "")
    yield ""
    labels = [column_label(table, value) for value in table.column_values]
    names = part_names(table)
    yield markdown_line([row_title(table), *(f"{label} {name}".strip() for label in labels for name in names)])
    yield markdown_line(["---:"] * (1 + len(labels) * len(names)))
    for row in table.row_values:
        parts = [part for column in table.column_values for part in cell_parts(table, row, column)]
        yield markdown_line([row_label(table, row), *parts])
    notes = list(table_notes(table))
    if notes:
        yield ""
        yield "  \n".join(notes)


def _csv_lines(tables: Sequence[Table]) -> Iterator[str]:
    """One line per cell, with its origin; the columns of a heading that a table lacks stay empty."""
    headings = list(dict.fromkeys(name for table in tables for name in table.heading))
    interval = ["seconds_lo", "seconds_hi"] if any(table.with_interval for table in tables) else []
    published = ["published", "error_percent"] if any(table.with_published for table in tables) else []
    laid_out = [tables[0].rows, tables[0].columns]
    known = any(cell.facts for table in tables for cell in table.cells.values())
    facts = [name for name in CAPTION_FACTS if known and name not in (*headings, *laid_out)]
    yield _csv_line(["phase", "iteration", "column", *headings, *laid_out, "value", *interval, *published, *facts])
    for table in tables:
        metric = [table.metric.phase, table.metric.iteration, table.metric.column]
        named = [field_text(name, table.heading[name]) if name in table.heading else "" for name in headings]
        for row in table.row_values:
            for column in table.column_values:
                cell = table.cells.get((row, column), Cell(None))
                ends = [cell.low, cell.high][: len(interval)]
                numbers = [cell.value, *ends, *[cell.published, cell.error_percent][: len(published)]]
                place = [field_text(table.rows, row), field_text(table.columns, column)]
                yield _csv_line([*metric, *named, *place, *numbers, *_fact_words(cell, facts)])


def _fact_words(cell: Cell, names: Sequence[str]) -> list[str]:
    found = ((name, cell.facts.get(name)) for name in names)
    return ["" if value is None else field_text(name, value) for name, value in found]


def _csv_line(cells: Iterable[object]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(cells)
    return text.getvalue()


def cell_parts(table: Table, row: object, column: object) -> tuple[str, ...]:
    cell = table.cells.get((row, column), Cell(None))
    parts = [number_text(cell.value, table.metric.column)]
    if table.with_interval:
        parts.append("-" if cell.margin_percent is None else f"+-{cell.margin_percent:.0f}%")
    if table.with_published:
        error = "-" if cell.error_percent is None else f"{cell.error_percent:+.1f}%"
        parts += [number_text(cell.published, table.metric.column), error]
    return tuple(parts)


def heading_text(table: Table) -> str:
    words = " ".join(f"{name}={field_text(name, value)}" for name, value in table.heading.items())
    return f"{words} (published in: {table.source})" if table.source else words


def row_title(table: Table) -> str:
    return "vCPU Count" if table.rows == "vcpus" else table.rows


def row_label(table: Table, value: object) -> str:
    return field_text(table.rows, value)


def column_label(table: Table, value: object) -> str:
    """`eager_page_split=N` and `=Y`, the thread's words, where the columns are no more than those two."""
    if table.columns == "split" and set(table.column_values) <= {"lazy", "eager"}:
        return f"eager_page_split={'Y' if value == 'eager' else 'N'}"
    return f"{table.columns}={field_text(table.columns, value)}"


def table_notes(table: Table) -> Iterator[str]:
    """What a reader must know about a table: gaps, what varies in it, how good it is, whose numbers they are."""
    total = len(table.row_values) * len(table.column_values)
    failed = sum(cell.failed and cell.value is None for cell in table.cells.values())
    null = sum(cell.value is None for cell in table.cells.values()) - failed
    absent = total - len(table.cells)
    reasons = ((failed, "failed"), (null, "without such a phase"), (absent, "not in the dataset"))
    if failed or null or absent:
        said = ", ".join(f"{count} {reason}" for count, reason in reasons if count)
        yield f"- : {failed + null + absent} of {total} cells have no value: {said}"
    if table.with_interval:
        yield INTERVAL_NOTE
    if table.varying:
        yield f"not the same in all cells: {', '.join(table.varying)}"
    yield from trust_notes([table])
    if table.with_published:
        yield _accuracy_text("Errors", [table])
    yield from captions([table])


def _accuracy_text(what: str, tables: Sequence[Table]) -> str:
    found = accuracy(tables)
    if found is None:
        return f"{what}: nothing published for these configs"
    values = f"{found.values} {tables[0].beside} {'value' if found.values == 1 else 'values'}"
    tail = f", 90th percentile {found.p90:.1f}%" if len(tables) > 1 else ""
    return f"{what}: {values}, median error {found.median:.1f}%{tail}, worst {found.worst:.1f}%"
