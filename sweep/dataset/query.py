"""`splitsweep query`: one SELECT over a dataset's views, and its result as text or Parquet.

The SQL comes from the command line and is run with nothing but the dataset in reach (see sweep.dataset.views). Only a
single SELECT is let through: everything else either changes something or would write files into the dataset.
"""

from __future__ import annotations

import csv
import io
import json
import re
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from core.rows import FORMER_NAMES
from sweep.dataset.views import VIEWS, explained, open_dataset
from sweep.errors import QueryError

if TYPE_CHECKING:
    import pyarrow
    from duckdb import DuckDBPyConnection

TEXT_FORMATS: Final = ("table", "csv", "json", "markdown")
FORMATS: Final = (*TEXT_FORMATS, "parquet")

PIVOT: Final = re.compile(r"\bPIVOT\b", re.IGNORECASE)
"""DuckDB makes two statements of a pivot whose columns it has to look up first."""

EXPLAIN: Final = re.compile(r"^\s*EXPLAIN\s+(ANALYZE\s+)?", re.IGNORECASE)

MISSING_TABLE: Final = re.compile(r"Table with name (\S+) does not exist")


def query(location: str, sql: str) -> pyarrow.Table:
    """The rows that `sql` selects from the dataset at `location`; QueryError when either cannot be read."""
    with open_dataset(location) as connection:
        return select(connection, sql)


def select(connection: DuckDBPyConnection, sql: str, seconds: float | None = None) -> pyarrow.Table:
    """The rows of one SELECT (or DESCRIBE, SUMMARIZE, PIVOT, EXPLAIN) on an open dataset, within this time."""
    import duckdb

    limit = threading.Timer(seconds or 0, connection.interrupt)
    limit.daemon = True
    try:
        statements = connection.extract_statements(EXPLAIN.sub("", sql))
        kinds = [statement.type for statement in statements]
        if kinds != [duckdb.StatementType.SELECT] and not (kinds == [duckdb.StatementType.MULTI] and PIVOT.search(sql)):
            raise QueryError(f"SQL: {_shortened(sql)!r} is not allowed; allowed: one SELECT over {', '.join(VIEWS)}")
        if seconds is not None:
            limit.start()
        return connection.sql(sql).to_arrow_table()
    except duckdb.InterruptException:
        raise QueryError(f"SQL: not done after {seconds:g} s; ask for less, or allow more with --timeout") from None
    except duckdb.Error as error:
        raise QueryError(f"SQL: {_explained(error)}") from None
    finally:
        limit.cancel()


def result_text(result: pyarrow.Table, form: str) -> Iterator[str]:
    """The lines of a result in one of TEXT_FORMATS, without line ends."""
    writers = {"table": _table_lines, "csv": _csv_lines, "json": _json_lines, "markdown": _markdown_lines}
    if form not in writers:
        raise QueryError(f"--format: {form!r} is not allowed; allowed: {', '.join(FORMATS)}")
    return writers[form](result)


def write_parquet(result: pyarrow.Table, file: BinaryIO) -> None:
    """The result as a Parquet file."""
    import pyarrow.parquet

    pyarrow.parquet.write_table(result, file)


def _explained(error: Exception) -> str:
    """DuckDB's message on one line: what is wrong and what it offers instead, without the excerpt."""
    message = explained(error)
    missing = MISSING_TABLE.search(message)
    if missing:
        return f"there is no table {missing[1]}; allowed: {', '.join(VIEWS)}"
    renamed = [new for new, former in FORMER_NAMES.items() if f'"{former}"' in message]
    return f"{FORMER_NAMES[renamed[0]]} is called {renamed[0]} now" if renamed else message


def _shortened(sql: str) -> str:
    line = " ".join(sql.split())
    return line if len(line) <= 60 else line[:57] + "..."


def _rows(result: pyarrow.Table) -> Iterator[tuple[Any, ...]]:
    """The rows as tuples, a batch at a time: a dataset of a million rows is never held twice."""
    for batch in result.to_batches():
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _table_lines(result: pyarrow.Table) -> Iterator[str]:
    """Aligned columns, numbers to the right, then the number of rows."""
    names = result.column_names
    cells = [[_shown(value) for value in row] for row in _rows(result)]
    widths = [max(map(len, column)) for column in zip(names, *cells, strict=True)]
    numeric = [_is_number(kind) for kind in result.schema.types]
    yield _aligned(names, widths, numeric)
    yield "  ".join("-" * width for width in widths)
    for row in cells:
        yield _aligned(row, widths, numeric)
    yield f"({len(cells)} {'row' if len(cells) == 1 else 'rows'})"


def _aligned(cells: Sequence[str], widths: Sequence[int], numeric: Sequence[bool]) -> str:
    padded = (
        cell.rjust(width) if right else cell.ljust(width)
        for cell, width, right in zip(cells, widths, numeric, strict=True)
    )
    return "  ".join(padded).rstrip()


def _is_number(kind: pyarrow.DataType) -> bool:
    import pyarrow.types

    is_decimal = pyarrow.types.is_decimal(kind)
    return bool(pyarrow.types.is_integer(kind) or pyarrow.types.is_floating(kind) or is_decimal)


def _csv_lines(result: pyarrow.Table) -> Iterator[str]:
    """RFC 4180 with a header; a null is an empty cell, a truth value true or false."""
    yield _csv_line(result.column_names)
    for row in _rows(result):
        yield _csv_line([_lower_truth(value) for value in row])


def _csv_line(cells: Sequence[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(cells)
    return text.getvalue()


def _json_lines(result: pyarrow.Table) -> Iterator[str]:
    """One JSON array, one object a line."""
    names = result.column_names
    yield "["
    for number, row in enumerate(_rows(result), start=1):
        comma = "," if number < result.num_rows else ""
        yield "  " + json.dumps(dict(zip(names, row, strict=True)), default=str, ensure_ascii=False) + comma
    yield "]"


def _markdown_lines(result: pyarrow.Table) -> Iterator[str]:
    numeric = (_is_number(kind) for kind in result.schema.types)
    yield markdown_line(result.column_names)
    yield markdown_line(["---:" if right else "---" for right in numeric])
    for row in _rows(result):
        yield markdown_line([_shown(value) for value in row])


def markdown_line(cells: Sequence[str]) -> str:
    """One line of a Markdown table."""
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _shown(value: object) -> str:
    """A value as people read it: nine significant digits, lower-case truth values, a dash for null."""
    if value is None:
        return "-"
    return f"{value:.9g}" if isinstance(value, float) else str(_lower_truth(value))


def _lower_truth(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value
