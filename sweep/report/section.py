"""A part of the page: a heading and ready HTML below it. Whoever has more to report hands over more sections."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final


@dataclass(frozen=True, slots=True)
class Section:
    """One part; `anchor` is its name in links. What it holds must be escaped already."""

    anchor: str
    title: str
    html: str


SCROLL: Final = '<div class="scroll" tabindex="0" role="region" aria-label="{label}">{html}</div>'
"""A wide table scrolls by itself, by keyboard too: the page never does."""


def paragraphs(texts: Iterable[str], kind: str = "") -> str:
    """Plain texts as paragraphs of a class."""
    opening = f'<p class="{kind}">' if kind else "<p>"
    return "".join(f"{opening}{escape(text)}</p>" for text in texts)


def table_html(caption: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of texts whose first column names the row."""
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in heads)
    body = "".join(
        f'<tr><th scope="row">{escape(first)}</th>{"".join(f"<td>{escape(text)}</td>" for text in rest)}</tr>'
        for first, *rest in rows
    )
    table = f"<table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return SCROLL.format(label=escape(caption), html=table)
