"""Parts of a report's page: a comparison with another dataset, and the history of a sweep."""

from __future__ import annotations

import io
from collections.abc import Sequence
from html import escape

from sweep.comparison.compare import Comparison
from sweep.comparison.text import HEADER, comparison_tables, conclusion, introduction
from sweep.history.chart import history_chart
from sweep.history.text import Series, series_lines
from sweep.report.section import Section, paragraphs, table_html


def comparison_section(comparison: Comparison) -> Section:
    """What `splitsweep compare` prints."""
    html = paragraphs([*introduction(comparison), *conclusion(comparison)])
    html += "".join(table_html(table.title, HEADER, table.rows) for table in comparison_tables(comparison))
    return Section("comparison", "Comparison", html)


def history_section(series: Sequence[Series]) -> Section:
    """What `splitsweep history` draws, and below it the same as text."""
    drawn = io.StringIO()
    history_chart(series).save(drawn, format="svg")
    label = f"Levels of {len(series)} metrics over {max(len(one.nights) for one in series)} nights; a table follows"
    picture = f'<div class="scroll" tabindex="0" role="img" aria-label="{escape(label)}">{drawn.getvalue()}</div>'
    text = escape("\n".join(series_lines(series)))
    return Section("history", "History", f"{picture}<details><summary>As text</summary><pre>{text}</pre></details>")
