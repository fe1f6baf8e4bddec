"""A comparison for programs: every number as a record, in CSV or JSON, and as test cases of JUnit XML."""

from __future__ import annotations

import csv
import io
import json
import statistics
from collections.abc import Iterator, Sequence
from typing import Any, Final
from xml.etree import ElementTree

from core.config import field_text
from sweep.comparison.compare import Comparison, Outcome
from sweep.comparison.exact import Difference
from sweep.comparison.families import Config
from sweep.comparison.metrics import Mean, metric_text
from sweep.comparison.noisy import FamilyFinding, Finding, Verdict
from sweep.comparison.ranks import Ratio
from sweep.comparison.side import MATCHED
from sweep.comparison.words import change_text, full_words, interval_text, shared_words
from sweep.showing.points import Metric
from sweep.showing.table_text import number_text

COLUMNS: Final = (
    "kind", "config", "phase", "iteration", "column", "base", "base_repeats", "new", "new_repeats", "ratio",
    "ratio_low", "ratio_high", "p_value", "configs", "verdict",
)  # fmt: skip
"""Of each record; kind is config, family or mean of measured numbers, or exact."""

Record = dict[str, Any]


def records(comparison: Comparison) -> Iterator[Record]:
    """Every difference of exact numbers, every pair of measured ones, then families and means."""
    yield from (_exact_record(comparison, found) for found in comparison.exact.differences)
    yield from (_finding_record(found) for found in comparison.noisy.findings)
    yield from (_family_record(found) for found in comparison.noisy.families)
    yield from (_mean_record(mean) for mean in (*comparison.exact.means, *comparison.noisy.means))


def csv_lines(comparison: Comparison) -> Iterator[str]:
    """RFC 4180: the record's columns, then the fields of its config."""
    yield _csv_line([*COLUMNS, *MATCHED])
    for record in records(comparison):
        fields = record.get("fields", {})
        texts = (field_text(name, fields[name]) if name in fields else "" for name in MATCHED)
        yield _csv_line([*(record.get(name) for name in COLUMNS), *texts])


def as_json(comparison: Comparison) -> Record:
    """The whole comparison as plain values."""
    return {
        "outcome": str(comparison.outcome),
        "reason": comparison.reason if comparison.outcome == Outcome.NOT_COMPARED else None,
        "base": comparison.base,
        "new": comparison.new,
        "threshold": comparison.threshold,
        "by_purpose": list(comparison.by_purpose),
        "changes": list(comparison.changes),
        "exact_configs": len(comparison.exact.configs),
        "exact_numbers": comparison.exact.numbers,
        "only_base": [full_words(config) for config in comparison.only_base],
        "only_new": [full_words(config) for config in comparison.only_new],
        "failed": [full_words(config) for config in comparison.failed],
        "mixed": list(comparison.mixed),
        "records": list(records(comparison)),
    }


def json_lines(comparison: Comparison) -> Iterator[str]:
    yield from json.dumps(as_json(comparison), indent=1).splitlines()


def junit_lines(comparison: Comparison) -> Iterator[str]:
    yield from xml_text([junit_suite(comparison)]).splitlines()


def xml_text(suites: Sequence[ElementTree.Element]) -> str:
    """A JUnit report of these suites."""
    root = ElementTree.Element("testsuites")
    root.extend(suites)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode")


def junit_suite(comparison: Comparison) -> ElementTree.Element:
    """A test case for each measured number and each simulated config, under names that stay the same every night.

    Worse and drift are failures, too few repeats is skipped, what could not be compared is an error.
    """
    suite = ElementTree.Element("testsuite", name="splitsweep compare")
    for found in comparison.noisy.findings:
        _finding_case(suite, found)
    for family in comparison.noisy.families:
        case = _case(suite, metric_text(family.metric), f"family: {shared_words(family.shared)}")
        if family.verdict == Verdict.WORSE:
            _add(case, "failure", "worse", f"{change_text(family.ratio.value)} {interval_text(family.ratio)}")
    _exact_cases(suite, comparison)
    for config in comparison.failed:
        _add(_case(suite, "runs", full_words(config)), "error", "failed", f"failed in {comparison.new}")
    if comparison.outcome == Outcome.NOT_COMPARED:
        _add(_case(suite, "comparison", "anything"), "error", "not compared", comparison.reason)
    for attribute, tags in (("tests", None), ("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        cases = [case for case in suite if tags is None or case.find(tags) is not None]
        suite.set(attribute, str(len(cases)))
    return suite


def _finding_case(suite: ElementTree.Element, found: Finding) -> None:
    case = _case(suite, metric_text(found.pair.metric), full_words(found.pair.config))
    if found.verdict == Verdict.WORSE:
        change = change_text(found.ratio.value if found.ratio else None)
        _add(case, "failure", "worse", f"{change} {interval_text(found.ratio)}, p = {found.p_value:.2g}")
    elif found.verdict == Verdict.TOO_FEW:
        repeats = f"{len(found.pair.base)} and {len(found.pair.new)} repeats"
        _add(case, "skipped", "too few", f"too few repeats to show a change: {repeats}")


def _exact_cases(suite: ElementTree.Element, comparison: Comparison) -> None:
    by_config: dict[str, list[Difference]] = {full_words(config): [] for config in comparison.exact.configs}
    for found in comparison.exact.differences:
        by_config[full_words(found.config)].append(found)
    for words, differences in by_config.items():
        case = _case(suite, "simulated", words)
        failures = [found for found in differences if comparison.verdict(found) not in (Verdict.SAME, Verdict.BETTER)]
        if failures:
            told = "; ".join(_difference_text(found) for found in failures[:20])
            _add(case, "failure", comparison.verdict(failures[0]), f"{len(failures)} numbers: {told}")


def _difference_text(found: Difference) -> str:
    base, new = (number_text(value, found.metric.column) for value in (found.base, found.new))
    return f"{metric_text(found.metric)} {base} -> {new}"


def _case(suite: ElementTree.Element, kind: str, name: str) -> ElementTree.Element:
    return ElementTree.SubElement(suite, "testcase", classname=f"splitsweep.{kind}", name=_printable(name))


def _add(case: ElementTree.Element, tag: str, kind: str, message: str) -> None:
    ElementTree.SubElement(case, tag, type=kind, message=_printable(message))


def _printable(text: str) -> str:
    """XML 1.0 has no control characters."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _exact_record(comparison: Comparison, found: Difference) -> Record:
    numbers = {"base": found.base, "new": found.new, "ratio": found.ratio, "verdict": comparison.verdict(found)}
    return {"kind": "exact", **_config_part(found.config), **_metric_part(found.metric), **numbers}


def _finding_record(found: Finding) -> Record:
    pair = found.pair
    return {
        "kind": "config",
        **_config_part(pair.config),
        **_metric_part(pair.metric),
        "base": statistics.median(pair.base),
        "base_repeats": len(pair.base),
        "new": statistics.median(pair.new),
        "new_repeats": len(pair.new),
        **_ratio_part(found.ratio),
        "p_value": found.p_value,
        "verdict": str(found.verdict),
    }


def _family_record(found: FamilyFinding) -> Record:
    words = {"config": shared_words(found.shared), "fields": dict(found.shared), "configs": len(found.configs)}
    told = {"p_value": found.p_value, "verdict": str(found.verdict)}
    return {"kind": "family", **words, **_metric_part(found.metric), **_ratio_part(found.ratio), **told}


def _mean_record(mean: Mean) -> Record:
    return {"kind": "mean", **_metric_part(mean.metric), **_ratio_part(mean.ratio), "configs": mean.configs}


def _config_part(config: Config) -> Record:
    return {"config": full_words(config), "fields": dict(config)}


def _metric_part(metric: Metric) -> Record:
    return {"phase": metric.phase, "iteration": metric.iteration, "column": metric.column}


def _ratio_part(ratio: Ratio | None) -> Record:
    if ratio is None:
        return {}
    return {"ratio": ratio.value, "ratio_low": ratio.low, "ratio_high": ratio.high}


def _csv_line(cells: Sequence[object]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(cells)
    return text.getvalue()
