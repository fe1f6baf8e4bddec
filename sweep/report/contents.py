"""`splitsweep report`: the parts of a dataset's page, from the dataset."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sweep.report.facts import failures_section, run_section
from sweep.report.numbers import PhaseNumbers, chart_data, phase_numbers
from sweep.report.page import charts_section, page_html
from sweep.report.published import published_section
from sweep.report.section import Section
from sweep.running.status import Status
from sweep.showing.origin import DISAGREEMENT, extrapolation_notes, facts_captions
from sweep.showing.points import Facts

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def report_html(
    connection: DuckDBPyConnection, status: Status, where: str | None, further: Sequence[Section] = ()
) -> str:
    """The page of an open dataset; `further` sections, as a comparison or a history, stand before what failed."""
    found = phase_numbers(connection, where)
    facts = [one.facts for one in found]
    sections = list(_sections(connection, status, facts, where, further))
    title = f"splitsweep report: {status.spec_name or Path(status.location).name}"
    captions = [*facts_captions(facts), *extrapolation_notes(facts), *_disagreement_notes(found)]
    return page_html(title, captions, sections, chart_data(found))


def _sections(
    connection: DuckDBPyConnection,
    status: Status,
    facts: Sequence[Facts],
    where: str | None,
    further: Sequence[Section],
) -> Iterator[Section]:
    yield run_section(connection, status, facts)
    yield charts_section()
    yield published_section(connection, where)
    yield from further
    failures = failures_section(status)
    if failures is not None:
        yield failures


def _disagreement_notes(found: Sequence[PhaseNumbers]) -> Iterator[str]:
    measured = [one for one in found if one.facts["engine"] != "sim"]
    torn = sum(one.spread > DISAGREEMENT for one in measured)
    if torn:
        yield (
            f"repeats disagree: {torn:,} of {len(measured):,} measured times are medians of repeats more than "
            f"{DISAGREEMENT:g}x apart"
        )
