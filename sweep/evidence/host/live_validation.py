"""How far simulations are from this host: every config run on the live engine, and simulated, side by side."""

from __future__ import annotations

import csv
import dataclasses
import io
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from core.config import Config, config_text, make_config
from core.live.cpus import usable_cpus
from core.live.processes.errors import LiveError
from core.live.processes.segment import check_host
from core.rows import Row
from core.run import run_config, warm_up
from core.sim.engine import simulate
from sweep.dataset.query import markdown_line
from sweep.errors import SweepError

SHORT: Final = 100e-6
"""Seconds below which a phase is mostly what the simulator does not know: first looks at cold memory, wake-ups."""

COLUMNS: Final = ("phase", "live", "spread", "simulated", "error")
SUMMARY_COLUMNS: Final = ("phase", "values", "median error", "worst", "within 30%")


@dataclass(frozen=True, slots=True)
class LivePhase:
    """A phase of a config: seconds of each live run, and of the simulation."""

    config: Config
    phase: str
    iteration: int | None
    measured: tuple[float, ...]
    simulated: float

    @property
    def name(self) -> str:
        return self.phase if self.iteration is None else f"{self.phase} {self.iteration}"

    @property
    def seconds(self) -> float:
        """The median of the live runs."""
        return statistics.median(self.measured)

    @property
    def spread_percent(self) -> float:
        """From the shortest run to the longest, beside the median."""
        return (max(self.measured) - min(self.measured)) / self.seconds * 100

    @property
    def error_percent(self) -> float:
        """How far the simulation is above (or, negative, below) the live median."""
        return (self.simulated / self.seconds - 1) * 100


def check_configs(configs: Sequence[Config]) -> None:
    """Raise SweepError for what cannot be compared on this host."""
    try:
        check_host()
    except LiveError as error:
        raise SweepError(f"--live: {error}") from error
    cpus = len(usable_cpus())
    for config in configs:
        if config.vcpus > cpus:
            raise SweepError(
                f"--live: vcpus = {config.vcpus}, but this process may use {cpus} CPUs: such a run measures the host's "
                f"scheduler, which nothing simulates; allowed: vcpus up to {cpus}"
            )
        if config.touch_memory:
            raise SweepError(
                "--live: touch_memory = true makes accesses wait for the host's memory, which no profile knows; "
                "allowed: touch_memory = false"
            )


def compare(configs: Sequence[Config], profile: str | None, repeats: int) -> list[LivePhase]:
    """Run each config live so often, and simulate it, with `profile` or its own.

    The repeats of a config lie far apart, so that a disturbance of some seconds does not meet all of them.
    """
    live = list(dict.fromkeys(_with(config, "live", profile) for config in configs))
    check_configs(live)
    warm_up()
    runs: dict[Config, list[list[Row]]] = {config: [] for config in live}
    for _ in range(repeats):
        for config in live:
            try:
                runs[config].append(run_config(config))
            except LiveError as error:
                raise SweepError(f"--live: {config_text(config)}: {error}") from error
    return [phase for config in live for phase in _phases(config, runs[config])]


def live_text(found: Sequence[LivePhase], form: str) -> Iterator[str]:
    """A table for each config, and a summary by kind of phase."""
    if form == "csv":
        yield from _csv_lines(found)
        return
    repeats = len(found[0].measured)
    groups = list(dict.fromkeys(phase.config for phase in found))
    profiles = ", ".join(dict.fromkeys(config.profile for config in groups))
    title = f"Profile {profiles} against {len(groups)} configs on this host, the median of {repeats} live runs"
    yield from (f"# {title}" if form == "markdown" else title, "")
    for config in groups:
        heading = config_text(dataclasses.replace(config, profile=Config().profile))
        yield f"## {heading}" if form == "markdown" else heading
        yield from _table(COLUMNS, [_cells(phase) for phase in found if phase.config == config], form)
        yield ""
    yield "## Summary" if form == "markdown" else "Summary"
    kinds = dict.fromkeys(phase.phase for phase in found)
    yield from _table(SUMMARY_COLUMNS, [_summary(kind, found) for kind in kinds], form)
    short = sum(phase.seconds < SHORT for phase in found)
    if short:
        yield ""
        yield (
            f"*: {short} of {len(found)} phases took less than {SHORT * 1e3:.1f} ms on this host; the summary leaves "
            "them out where longer ones are"
        )


def _with(config: Config, engine: str, profile: str | None) -> Config:
    values = dataclasses.asdict(config) | {"engine": engine, "repeat": 0}
    return make_config(values | ({"profile": profile} if profile else {}))


def _phases(config: Config, runs: Sequence[Sequence[Row]]) -> Iterator[LivePhase]:
    for place, row in enumerate(simulate(_with(config, "sim", None))):
        measured = tuple(run[place]["seconds"] for run in runs)
        yield LivePhase(_with(config, "sim", None), row["phase"], row["iteration"], measured, row["seconds"])


def _cells(phase: LivePhase) -> list[str]:
    mark = "*" if phase.seconds < SHORT else ""
    return [
        phase.name,
        f"{phase.seconds:.6f}s",
        f"{phase.spread_percent:.0f}%",
        f"{phase.simulated:.6f}s",
        f"{phase.error_percent:+.0f}%{mark}",
    ]


def _summary(kind: str, found: Sequence[LivePhase]) -> list[str]:
    of_kind = [phase for phase in found if phase.phase == kind]
    long = [phase for phase in of_kind if phase.seconds >= SHORT] or of_kind
    errors = sorted(abs(phase.error_percent) for phase in long)
    within = sum(error <= 30 for error in errors)
    median = statistics.median(errors)
    return [kind, str(len(errors)), f"{median:.1f}%", f"{errors[-1]:.1f}%", f"{within} of {len(errors)}"]


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], form: str) -> Iterator[str]:
    if form == "markdown":
        yield ""
        yield markdown_line(columns)
        yield markdown_line([":---", *["---:"] * (len(columns) - 1)])
        yield from map(markdown_line, rows)
        return
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    rule = ["-" * width for width in widths]
    for first, *cells in (columns, rule, *rows):
        padded = (f"{cell:>{width}}" for cell, width in zip(cells, widths[1:], strict=True))
        yield f"{first:{widths[0]}} | {' | '.join(padded)} |"


def _csv_lines(found: Sequence[LivePhase]) -> Iterator[str]:
    yield "config,phase,iteration,live,shortest,longest,simulated,error_percent"
    for phase in found:
        text = io.StringIO()
        cells = [config_text(phase.config), phase.phase, phase.iteration, phase.seconds]
        cells += [min(phase.measured), max(phase.measured), phase.simulated, phase.error_percent]
        csv.writer(text, lineterminator="").writerow(cells)
        yield text.getvalue()
