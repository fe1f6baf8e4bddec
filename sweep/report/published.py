"""The thread's tables, published values beside predicted ones, as HTML."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING

from sweep.errors import QueryError
from sweep.report.section import SCROLL, Section, paragraphs
from sweep.showing.table_text import (
    cell_parts,
    column_label,
    heading_text,
    metric_title,
    part_names,
    row_label,
    row_title,
    table_notes,
)
from sweep.showing.tables import Table, published_tables

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def published_section(connection: DuckDBPyConnection, where: str | None) -> Section:
    """Every published table that the dataset can answer, or a word that it can answer none."""
    try:
        tables = published_tables(connection, where)
    except QueryError:
        none = "No config of this dataset is one that was published, so there is nothing to hold it against."
        return Section("published", "Published and predicted", paragraphs([none]))
    html = "".join(_table_html(table) for table in tables)
    return Section("published", "Published and predicted", html)


def _table_html(table: Table) -> str:
    title = metric_title(table.metric)
    heading = heading_text(table)
    caption = f"<caption>{escape(title)}<br><small>{escape(heading)}</small></caption>"
    body = f"<table>{caption}{''.join(_head(table))}<tbody>{''.join(_rows(table))}</tbody></table>"
    return SCROLL.format(label=escape(f"{title}, {heading}"), html=body) + paragraphs(table_notes(table), "note")


def _head(table: Table) -> Iterator[str]:
    names = part_names(table)
    labels = [escape(column_label(table, value)) for value in table.column_values]
    groups = "".join(f'<th scope="colgroup" colspan="{len(names)}">{label}</th>' for label in labels)
    parts = "".join(f'<th scope="col">{escape(name)}</th>' for name in names) * len(labels)
    yield f'<thead><tr><th scope="col" rowspan="2">{row_title(table)}</th>{groups}</tr><tr>{parts}</tr></thead>'


def _rows(table: Table) -> Iterator[str]:
    for row in table.row_values:
        parts = [part for column in table.column_values for part in cell_parts(table, row, column)]
        cells = "".join(f"<td>{escape(part)}</td>" for part in parts)
        yield f'<tr><th scope="row">{escape(row_label(table, row))}</th>{cells}</tr>'
