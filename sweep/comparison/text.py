"""A comparison as text: the table that readers of LKP and MMTests know, and the same as Markdown.

A table for each metric: base and new with their spread, the change with its interval, the verdict; the geometric mean
below. First comes what the reader must know: families of configs that changed together, drift and its reason.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from sweep.comparison.compare import Comparison, Outcome
from sweep.comparison.exact import Difference
from sweep.comparison.metrics import SECONDS, Mean, metric_text
from sweep.comparison.noisy import FamilyFinding, Finding, Verdict
from sweep.comparison.words import (
    change_text,
    common_words,
    config_words,
    interval_text,
    shared_words,
    spread_text,
    varying_fields,
)
from sweep.dataset.query import markdown_line
from sweep.showing.points import Metric
from sweep.showing.table_text import metric_title, number_text

MOST_DIFFERENCES: Final = 100
"""Exact differences that tables list; csv and json have all of them."""

HEADER: Final = ("config", "base", "+-", "new", "+-", "change", "95% interval", "verdict")


@dataclass(frozen=True, slots=True)
class TextTable:
    """Rows under HEADER that belong to one metric."""

    title: str
    rows: tuple[tuple[str, ...], ...]


def lkml_lines(comparison: Comparison) -> Iterator[str]:
    """The comparison as it is pasted into a mail."""
    yield from introduction(comparison)
    tables = comparison_tables(comparison)
    rows = [HEADER, *(row for table in tables for row in table.rows)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for table in tables:
        yield ""
        yield f'"{table.title}"'
        yield _aligned(HEADER, widths)
        yield _aligned(["-" * width for width in widths], widths)
        yield from (_aligned(row, widths) for row in table.rows)
    yield ""
    yield from conclusion(comparison)


def markdown_lines(comparison: Comparison) -> Iterator[str]:
    """The same for a merge request or the summary of a job."""
    yield from (f"- {line}" for line in introduction(comparison))
    for table in comparison_tables(comparison):
        yield from ("", f"### {table.title}", "", markdown_line(HEADER))
        yield markdown_line(["---", *["---:"] * 6, "---"])
        yield from (markdown_line(row) for row in table.rows)
    yield ""
    yield from (f"**{line}**" if place == 0 else f"- {line}" for place, line in enumerate(conclusion(comparison)))


def comparison_tables(comparison: Comparison) -> list[TextTable]:
    """The tables of all metrics: exact differences first, counts before times."""
    listed = _listed(comparison)
    findings = comparison.noisy.findings
    names = varying_fields([found.config for found in listed] + [found.pair.config for found in findings])
    tables = [
        TextTable(f"{metric_title(metric)}{'' if comparison.by_purpose else ' (simulated: exact)'}", rows)
        for metric in dict.fromkeys(found.metric for found in listed)
        if (rows := tuple(_exact_rows(comparison, metric, listed, names)))
    ]
    for metric in dict.fromkeys(found.pair.metric for found in findings):
        measured = [_row(found, names) for found in findings if found.pair.metric == metric]
        measured += [_mean_row(mean) for mean in comparison.noisy.means if mean.metric == metric]
        tables.append(TextTable(metric_title(metric), tuple(measured)))
    return tables


def family_text(found: FamilyFinding) -> str:
    """What changed, in one line."""
    change = f"{change_text(found.ratio.value)} {interval_text(found.ratio)}".rstrip()
    return (
        f"{found.verdict}: {metric_text(found.metric)} of {shared_words(found.shared)}, {change} over "
        f"{len(found.configs)} configs together"
    )


def conclusion(comparison: Comparison) -> Iterator[str]:
    """The outcome in one line, then what else must be known: what could not be judged, or has no match."""
    yield f"{comparison.outcome}: {_outcome_text(comparison)}"
    counts = dict.fromkeys(Verdict, 0)
    for found in comparison.noisy.findings:
        counts[found.verdict] += 1
    if counts[Verdict.TOO_FEW]:
        yield (
            f"too few: {counts[Verdict.TOO_FEW]} numbers have too few repeats to show a change by themselves; "
            f"each side needs {comparison.noisy.repeats} (repeat=0,1,2,... makes them)"
        )
    if counts[Verdict.NOT_SHOWN]:
        yield (
            f"not shown: {counts[Verdict.NOT_SHOWN]} numbers may have changed by {comparison.threshold:.0%} or not; "
            "more repeats would tell"
        )
    hidden = len(comparison.exact.differences) - len(_listed(comparison))
    if hidden:
        yield f"{hidden:,} differences more, of other columns or configs: --format csv lists all"
    yield from comparison.mixed
    for configs, where in ((comparison.only_base, comparison.base), (comparison.only_new, comparison.new)):
        if configs:
            yield f"{len(configs)} configs are in {where} only"


def introduction(comparison: Comparison) -> Iterator[str]:
    """What is compared, and what was found at once."""
    yield f"base {comparison.base}"
    yield f"new  {comparison.new}"
    configs = [found.pair.config for found in comparison.noisy.findings]
    configs += [found.config for found in comparison.exact.differences]
    if configs:
        yield f"all  {common_words(configs)}"
    for change in comparison.changes:
        yield f"changed: {change}"
    for failed in comparison.failed[:MOST_DIFFERENCES]:
        yield f"failed: {config_words(failed, varying_fields(comparison.failed) or ['mmu'])}"
    for family in comparison.noisy.families:
        yield family_text(family)


def _listed(comparison: Comparison) -> list[Difference]:
    """The exact differences that the tables show: counts and lengths of phases, from which the other times follow."""
    differences = comparison.exact.differences
    shown = [found for found in differences if found.is_count or found.metric.column == SECONDS]
    return (shown or list(differences))[:MOST_DIFFERENCES]


def _outcome_text(comparison: Comparison) -> str:
    if comparison.outcome == Outcome.NOT_COMPARED:
        return comparison.reason
    parts = []
    exact = comparison.exact
    if exact.numbers:
        counts = sum(found.is_count for found in exact.differences)
        differ = f"{len(exact.differences):,} of {exact.numbers:,} simulated numbers differ"
        parts.append(f"{differ}, {counts:,} of them counts" if exact.differences else f"{differ}")
    findings = comparison.noisy.findings
    if findings:
        worse = sum(found.verdict == Verdict.WORSE for found in findings)
        better = sum(found.verdict == Verdict.BETTER for found in findings)
        families = f" and {len(comparison.noisy.families)} families" if comparison.noisy.families else ""
        parts.append(f"of {len(findings):,} measured numbers{families} {worse} worse, {better} better by themselves")
    if comparison.failed:
        parts.append(f"{len(comparison.failed)} configs failed that ran before")
    return "; ".join(parts)


def _row(found: Finding, names: Sequence[str]) -> tuple[str, ...]:
    pair = found.pair
    sides = []
    for values in (pair.base, pair.new):
        sides += [number_text(statistics.median(values), pair.metric.column), spread_text(values)]
    change = change_text(found.ratio.value if found.ratio else None)
    return (config_words(pair.config, names) or "-", *sides, change, interval_text(found.ratio), str(found.verdict))


def _mean_row(mean: Mean) -> tuple[str, ...]:
    return ("geometric mean", "", "", "", "", change_text(mean.ratio.value), interval_text(mean.ratio), "")


def _exact_rows(
    comparison: Comparison, metric: Metric, differences: Sequence[Difference], names: Sequence[str]
) -> Iterator[tuple[str, ...]]:
    for found in differences:
        if found.metric == metric:
            base, new = (number_text(value, metric.column) for value in (found.base, found.new))
            verdict = comparison.verdict(found)
            yield config_words(found.config, names) or "-", base, "", new, "", change_text(found.ratio), "", verdict
    yield from (_mean_row(mean) for mean in comparison.exact.means if mean.metric == metric)


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *numbers, last = zip(cells, widths, strict=True)
    padded = [f"{first[0]:{first[1]}}", *(f"{cell:>{width}}" for cell, width in numbers), last[0]]
    return "  ".join(padded).rstrip()
