"""The page itself: its parts, one copy of the chart library, the numbers, and the script that draws them.

Everything is in the one file, and a Content-Security-Policy forbids it to ask the network for anything, so that a page
that needed something from elsewhere would fail its test instead of an offline reader. The library is the one that
draws `splitsweep plot` too; its expressions are interpreted, because the policy forbids code made from texts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any, Final

from sweep.errors import QueryError
from sweep.report.section import Section, paragraphs

POLICY: Final = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:"

_PAGE: Final = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="splitsweep">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<a class="skip" href="#charts">Skip to the charts</a>
<header>
<h1>{title}</h1>
{captions}
<nav aria-label="Parts of this page"><ul>{links}</ul></nav>
</header>
<main>
{parts}
</main>
<footer><p>Written by splitsweep on {now:%Y-%m-%d %H:%M} UTC.</p></footer>
<script type="application/json" id="numbers">{numbers}</script>
<script>{library}</script>
<script>{script}</script>
</body>
</html>
"""


def page_html(title: str, captions: Sequence[str], sections: Sequence[Section], numbers: Mapping[str, Any]) -> str:
    """The whole page; `captions` say whose numbers they are, `numbers` is what the charts draw."""
    from vl_convert import javascript_bundle

    return _PAGE.format(
        policy=POLICY,
        title=escape(title),
        style=_static("report.css"),
        captions=paragraphs(captions, "caption"),
        links="".join(f'<li><a href="#{part.anchor}">{escape(part.title)}</a></li>' for part in sections),
        parts="\n".join(_part_html(part) for part in sections),
        now=datetime.now(UTC),
        numbers=json.dumps(numbers, separators=(",", ":"), allow_nan=False).replace("</", "<\\/"),
        library=javascript_bundle("window.vegaEmbed = vegaEmbed;").replace("</script", "<\\/script"),
        script=_static("report.js"),
    )


def charts_section() -> Section:
    """Where the script puts its controls and charts."""
    return Section("charts", "Charts", _static("charts.html"))


def check_page_path(path: Path) -> None:
    """Raise QueryError for a file that cannot be the page, before a minute goes into reading a dataset."""
    if path.suffix.lower() not in (".html", ".htm"):
        raise QueryError(f"-o {path}: a report is a page of HTML; allowed: a name that ends in .html")
    if not path.parent.is_dir():
        raise QueryError(f"-o {path}: there is no folder {path.parent}; make it first, or name another one")


def write_page(html: str, path: Path) -> None:
    """Write the page to its file; QueryError if that cannot be."""
    try:
        path.write_text(html, encoding="utf-8")
    except OSError as error:
        raise QueryError(f"-o {path}: cannot write it: {error.strerror}") from None


def _part_html(part: Section) -> str:
    heading = f'<h2 id="{part.anchor}-title">{escape(part.title)}</h2>'
    return f'<section id="{part.anchor}" aria-labelledby="{part.anchor}-title">{heading}\n{part.html}</section>'


def _static(name: str) -> str:
    return (resources.files("sweep.report") / "static" / name).read_text(encoding="utf-8")
