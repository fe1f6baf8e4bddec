"""report.html of a night: its dataset, what it was compared with, and how its sweep went over the nights."""

from __future__ import annotations

from sweep.dataset.views import open_dataset
from sweep.history.levels import read_levels
from sweep.history.nights import night_location, read_nights, write_file
from sweep.history.sections import comparison_section, history_section
from sweep.history.text import metric_series
from sweep.nightly.night import Result
from sweep.report.contents import report_html
from sweep.running.status import dataset_status


def write_report(history: str, result: Result) -> None:
    """Write the page; none if nothing was measured."""
    night = result.night
    if not night.measured:
        return
    further = [] if result.evidence.comparison is None else [comparison_section(result.evidence.comparison)]
    earlier = [old for old in read_nights(history) if (old.spec, old.hosts) == (night.spec, night.hosts)]
    levels = read_levels(history, [*earlier, night])
    if levels.by_metric:
        further.append(history_section(metric_series(levels)))
    location = night_location(history, night.name)
    with open_dataset(location) as dataset:
        html = report_html(dataset, dataset_status(location), None, further)
    write_file(history, night.name, "report.html", html.encode())
