"""What was run, where, with which profile and how far: from the dataset's own status and origins. And what failed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from core.config import FIELDS, field_text
from sweep.dataset.origin import Origin, origins
from sweep.report.section import Section, paragraphs, table_html
from sweep.running.status import Status
from sweep.showing.points import Facts
from sweep.showing.tables import value_order

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

LISTED_VALUES: Final = 16
"""Of a field with more values than this, as of a sample, the range is named."""


def run_section(connection: DuckDBPyConnection, status: Status, found: Sequence[Facts]) -> Section:
    """What was run: how far it is, on which hosts, whose numbers they are, and the values of every field."""
    html = paragraphs(_progress(status))
    html += _origins_html(origins(connection))
    fields = _fields(found)
    varied = [(name, values) for name, values in fields.items() if len(values) > 1]
    same = [(name, values) for name, values in fields.items() if len(values) == 1]
    html += table_html("What was varied", ["field", "values"], [(name, _listed(values)) for name, values in varied])
    table = table_html("What was the same in all configs", ["field", "value"], [(name, *value) for name, value in same])
    html += f"<details><summary>What was the same in all configs</summary>{table}</details>"
    return Section("run", "What was run", html)


def failures_section(status: Status) -> Section | None:
    """The failed configs by reason; none if there are none."""
    if not status.failures:
        return None
    rows = [
        (f"{group.count:,}", group.error_type, group.error, f"{group.attempts}", f"splitsweep explain {group.config}")
        for group in status.failures
    ]
    heads = ["configs", "error", "message of one of them", "attempts", "to see it"]
    return Section("failures", "What failed", table_html("Failed configs by the kind of their error", heads, rows))


def _progress(status: Status) -> Iterator[str]:
    of = f" of {status.total:,}" if status.total is not None else ""
    missing = f", {status.total - status.done - status.failed:,} missing" if status.total is not None else ""
    yield f"{status.done:,}{of} configs done, {status.failed:,} failed{missing}; {status.phase_rows:,} phases."
    if status.other:
        yield f"{status.other:,} configs more, of another spec, profile or engine version."
    if status.first and status.last:
        yield f"Started {status.first:%Y-%m-%d %H:%M:%S} to {status.last:%Y-%m-%d %H:%M:%S} UTC."
    if status.hosts:
        yield "Hosts: " + ", ".join(f"{host} ({count:,} configs)" for host, count in status.hosts.items()) + "."


def _origins_html(found: Sequence[Origin]) -> str:
    heads = ["origin", "engine", "profile", "profile digest", "engine version", "host", "kernel", "configs"]
    rows = [
        [
            origin.origin,
            origin.engine,
            *(str(value or "-") for value in (origin.profile, origin.profile_digest, origin.engine_version)),
            *(str(value or "any") for value in (origin.host, origin.kernel_release)),
            f"{origin.configs:,}",
        ]
        for origin in found
    ]
    return table_html("Whose numbers they are", heads, rows)


def _fields(found: Sequence[Facts]) -> dict[str, list[str]]:
    """The values of each field that has any, in words and in order."""
    values = {
        name: sorted({facts[name] for facts in found} - {None, ""}, key=value_order(name))
        for name in FIELDS
        if name != "repeat"
    }
    return {name: [field_text(name, value) for value in of_field] for name, of_field in values.items() if of_field}


def _listed(texts: Sequence[str]) -> str:
    if len(texts) <= LISTED_VALUES:
        return ", ".join(texts)
    return f"{texts[0]} to {texts[-1]}, {len(texts):,} values"
