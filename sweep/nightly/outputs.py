"""What a night leaves for people and robots: summary.md, verdict.json, junit.xml and report.html by its dataset."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final
from xml.etree import ElementTree

from sweep.comparison.compare import Comparison
from sweep.comparison.metrics import metric_text
from sweep.comparison.noisy import Verdict as Change
from sweep.comparison.records import as_json, junit_suite, xml_text
from sweep.comparison.text import HEADER, comparison_tables, family_text
from sweep.comparison.words import change_text, shared_words
from sweep.dataset.query import markdown_line
from sweep.history.nights import Night, write_file
from sweep.history.series import Alarm
from sweep.nightly.night import Result
from sweep.nightly.verdict import EXIT_CODES, Verdict

MOST_ROWS: Final = 200
"""Of the summary's tables: GitHub refuses a job's summary above 1 MiB."""

MEANING: Final = {
    Verdict.OK: "nothing is worse",
    Verdict.FIRST: "the first night: nothing to compare with yet",
    Verdict.REGRESSED: "something measured is worse than the baseline",
    Verdict.DRIFTED: "simulated numbers differ from the baseline",
    Verdict.CREEPING: "the last nights together are worse, though no single comparison shows it",
    Verdict.INCOMPLETE: "not all configs have numbers; those that have are not worse",
    Verdict.OTHER_HOST: "measured on machines that the baseline was not measured on",
    Verdict.TOO_FEW: "too few repeats to judge anything",
    Verdict.NOTHING: "no config has numbers",
}


def headline(result: Result) -> str:
    """The night in one line."""
    night = result.night
    verdict = Verdict(night.verdict)
    against = f" against {night.baseline}" if night.baseline else ""
    of = f" of {night.revision}" if night.revision else ""
    return f"{night.spec}{of}: {verdict}{against}: {reason(result)}"


def reason(result: Result) -> str:
    """Why the verdict is what it is."""
    evidence, verdict = result.evidence, Verdict(result.night.verdict)
    told = MEANING[verdict]
    if verdict in (Verdict.REGRESSED, Verdict.DRIFTED):
        shown = evidence.comparison
        told = next(changes_text(shown), told) if shown is not None else told
        again = " (again when run again)" if evidence.confirmed is not None else ""
        return f"{told}{again}"
    if verdict == Verdict.CREEPING:
        return alarm_text(evidence.alarms[0])
    if verdict in (Verdict.INCOMPLETE, Verdict.NOTHING):
        return f"{told} ({evidence.measured} of {evidence.wanted} runs)"
    if verdict == Verdict.OTHER_HOST:
        here = ", ".join(result.night.hosts)
        there = ", ".join(evidence.other_hosts) or "several at once"
        return f"{told} (tonight {here}; before {there})"
    return told


def changes_text(comparison: Comparison) -> Iterator[str]:
    """What is worse or drifted, the clearest first."""
    for family in comparison.noisy.families:
        if family.verdict == Change.WORSE:
            yield family_text(family)
    worse = [found for found in comparison.noisy.findings if found.verdict == Change.WORSE and found.ratio]
    for found in sorted(worse, key=lambda found: -(found.ratio.value if found.ratio else 0)):
        ratio = found.ratio.value if found.ratio else None
        yield f"worse: {metric_text(found.pair.metric)}, {change_text(ratio)} in one config"
    if comparison.exact.differences:
        counts = sum(found.is_count for found in comparison.exact.differences)
        differ = f"{len(comparison.exact.differences):,} of {comparison.exact.numbers:,} simulated numbers differ"
        because = f"; {comparison.changes[0]}" if comparison.changes else ""
        yield f"{differ}, {counts:,} of them counts{because}"


def alarm_text(alarm: Alarm) -> str:
    """What the history shows, in one line."""
    where = f"{metric_text(alarm.metric)} of {shared_words(alarm.shared)}"
    return f"{alarm.kind}: {where}, {change_text(1 + alarm.change)} over {alarm.configs} configs in the last nights"


def write_outputs(history: str, result: Result) -> None:
    """Write all files of the night."""
    name = result.night.name
    write_file(history, name, "summary.md", ("\n".join(summary_lines(result)) + "\n").encode())
    write_file(history, name, "verdict.json", json.dumps(verdict_record(result), indent=1).encode())
    write_file(history, name, "junit.xml", xml_text(_suites(result)).encode())


def summary_lines(result: Result) -> Iterator[str]:
    """The night in Markdown, for a merge request or the summary of a job."""
    night, evidence = result.night, result.evidence
    yield f"## {headline(result)}"
    yield ""
    yield from (f"- {line}" for line in facts(night))
    yield from (f"- {alarm_text(alarm)}" for alarm in evidence.alarms)
    if result.suspects:
        yield "- suspects were run again, and were not worse then"
    for comparison in (evidence.comparison, evidence.confirmed):
        if comparison is not None:
            title = "Run again" if comparison is evidence.confirmed else f"Against {comparison.base}"
            yield from ("", f"### {title}", "")
            yield from (f"- {line}" for line in changes_text(comparison))
            yield from (f"- changed: {change}" for change in comparison.changes)
            yield from _tables(comparison)


def facts(night: Night) -> Iterator[str]:
    """What was run, where, of what."""
    yield f"night {night.name}, {night.measured} of {night.wanted} runs have numbers"
    for name, values in (("host", night.hosts), ("kernel", night.kernels), ("label", night.labels)):
        if values:
            yield f"{name} {', '.join(values)}"
    if night.revision:
        yield f"revision {night.revision}"
    if night.splitsweep_revision:
        yield f"splitsweep {night.splitsweep_revision}"


def _tables(comparison: Comparison) -> Iterator[str]:
    """The rows of the comparison that changed."""
    left = MOST_ROWS
    for table in comparison_tables(comparison):
        rows = [row for row in table.rows if row[-1] in (Change.WORSE, Change.BETTER, "drift")][: max(0, left)]
        left -= len(rows)
        if rows:
            yield from ("", f"#### {table.title}", "", markdown_line(HEADER))
            yield markdown_line(["---", *["---:"] * (len(HEADER) - 2), "---"])
            yield from (markdown_line(row) for row in rows)
    if left <= 0:
        yield f"\nMore than {MOST_ROWS} rows changed; `splitsweep compare` lists all."


def verdict_record(result: Result) -> dict[str, Any]:
    """The verdict for programs: what a script needs first, and everything it follows from."""
    night, evidence = result.night, result.evidence
    verdict = Verdict(night.verdict)
    return {
        "verdict": str(verdict),
        "exit_code": EXIT_CODES[verdict],
        "reason": reason(result),
        "night": night.name,
        "baseline": night.baseline,
        "spec": night.spec,
        "revision": night.revision,
        "splitsweep_revision": night.splitsweep_revision,
        "hosts": list(night.hosts),
        "labels": list(night.labels),
        "wanted": evidence.wanted,
        "measured": evidence.measured,
        "alarms": [alarm_text(alarm) for alarm in evidence.alarms],
        "comparison": None if evidence.comparison is None else as_json(evidence.comparison),
        "confirmed": None if evidence.confirmed is None else as_json(evidence.confirmed),
    }


def _suites(result: Result) -> list[ElementTree.Element]:
    """A suite for the night as such, and one for the comparison that counts."""
    verdict = Verdict(result.night.verdict)
    suite = ElementTree.Element("testsuite", name="splitsweep nightly", tests="1")
    case = ElementTree.SubElement(suite, "testcase", classname="splitsweep.nightly", name=result.night.spec)
    tag = {0: None, 1: "failure"}.get(EXIT_CODES[verdict], "error")
    for kind in ("failure", "error"):
        suite.set(f"{kind}s", str(int(kind == tag)))
    if tag is not None:
        ElementTree.SubElement(case, tag, type=str(verdict), message=reason(result))
    shown = result.evidence.confirmed or result.evidence.comparison
    return [suite] if shown is None else [suite, junit_suite(shown)]
