"""Measured timings, whatever they come from: what a profile is fitted to and predictions are held against.

They are published ones, or a user's own: a CSV in the form of results/published/published.csv, or a dataset, be it
imported (`splitsweep import`) or simulated. What no config predicts is left out where timings are fitted or predicted:
the published timings that say so, and every populate, whose time is mostly that of the host's own work.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import statistics
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from core.config import FIELDS, Config, make_config, parse_field
from core.errors import ConfigError
from core.sizes import parse_size
from sweep.errors import SweepError
from sweep.published.timings import Measurement, iterations_before, published_measurements

CSV_FIELDS: Final = ("mmu", "split", "vcpus", "backing", "write_percent", "initially_all_set")
CSV_COLUMNS: Final = ("source", *CSV_FIELDS, "mem_per_vcpu_gib", "metric", "iteration", "seconds")
CSV_FURTHER: Final = tuple(name for name in FIELDS if name not in (*CSV_FIELDS, "mem_per_vcpu", "engine", "profile"))
CSV_NOTES: Final = ("host", "release", "options", "not_modelled", "role", "notes")
"""Columns that tell about a timing what no config holds."""

COLUMN_NAMES: Final = {"write_pct": "write_percent"}
METRIC_NAMES: Final = {
    "populate_memory": "populate",
    "enable_dirty_logging": "enable",
    "dirty_memory": "dirty",
    "get_dirty_log": "get",
    "clear_dirty_log": "clear",
    "disable_dirty_logging": "disable",
}
"""What dirty_log_perf_test calls the phases: "Iteration 1 dirty memory time" and so on."""

ITERATED_PHASES: Final = ("dirty", "get", "clear")
PHASES: Final = ("populate", "enable", *ITERATED_PHASES, "disable", "after_disable")


class MeasurementError(SweepError):
    """Measurements that cannot be read. The message names the file, the line and what is allowed."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One timing: `seconds` of a phase of a config, its table, what kind of time it is, and what it was taken on."""

    config: Config
    phase: str
    iteration: int | None
    seconds: float
    table: str
    kind: str = "measured"  # or published, or simulated
    host: str = ""  # empty if it is not named
    release: str = ""  # of its kernel, likewise


def published_as_measured(host: str | None = None) -> tuple[Measured, ...]:
    """The published timings that configs predict, of one host or of all, each with the profile of its host.

    A table is what one publication measured of one phase on one kind of machine.
    """
    return tuple(
        measured_of(measurement)
        for measurement in published_measurements()
        if not measurement.not_modelled and host in (None, measurement.host)
    )


def measured_of(measurement: Measurement) -> Measured:
    """A published timing with its config, which has as many iterations as the phase needs."""
    config = dataclasses.replace(measurement.config, profile=measurement.host)
    phase, iteration, source = measurement.phase, measurement.iteration, measurement.source
    timing = _measured(config, phase, iteration, measurement.seconds, source)
    return dataclasses.replace(timing, kind="published", host=measurement.host, release=measurement.release)


def not_modelled() -> tuple[Measurement, ...]:
    """The published timings that no config predicts."""
    return tuple(measurement for measurement in published_measurements() if measurement.not_modelled)


def is_modelled(timing: Measured) -> bool:
    """Whether the timing is one that a profile accounts for: all but populate."""
    return timing.phase != "populate"


def longest_configs(measured: Iterable[Measured]) -> dict[Config, Config]:
    """For each measured config the one with the most iterations of its kind: one run serves them all."""
    longest: dict[Config, Config] = {}
    for timing in measured:
        kind = dataclasses.replace(timing.config, iterations=1)
        if kind not in longest or longest[kind].iterations < timing.config.iterations:
            longest[kind] = timing.config
    return {timing.config: longest[dataclasses.replace(timing.config, iterations=1)] for timing in measured}


def read_measurements(location: str) -> tuple[Measured, ...]:
    """The timings at `location`, a CSV file or a dataset (folder or URI); of repeats, the median.

    Raises MeasurementError, or another SweepError where a dataset cannot be opened.
    """
    if "://" not in location:
        path = Path(location).expanduser()
        if not path.exists():
            raise MeasurementError(
                f"{location}: no such file or folder; allowed: a CSV like published.csv, or a dataset"
            )
        if not path.is_dir():
            return _without_repeats(_read_csv(path, location))
    return _without_repeats(_read_dataset(location))


def _measured(config: Config, phase: str, iteration: int | None, seconds: float, source: str) -> Measured:
    number = f" {iteration}" if iteration else ""
    writes = "" if config.write_percent == 100 else f", {config.write_percent}% writes"
    return Measured(config, phase, iteration, seconds, table=f"{source}: {config.mmu}, {phase}{number}{writes}")


def _without_repeats(measured: Iterable[Measured]) -> tuple[Measured, ...]:
    """One timing for each phase of a config, the median of its repeats, where the first of them stood."""
    repeats: dict[Measured, list[float]] = {}
    for timing in measured:
        config = dataclasses.replace(timing.config, repeat=0)
        repeats.setdefault(dataclasses.replace(timing, config=config, seconds=0.0), []).append(timing.seconds)
    return tuple(dataclasses.replace(timing, seconds=statistics.median(found)) for timing, found in repeats.items())


def _read_csv(path: Path, location: str) -> Iterator[Measured]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise MeasurementError(f"{location}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise MeasurementError(f"{location}: is no text; allowed: a CSV like published.csv, or a dataset") from None
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    lines = 0
    try:
        _check_header(reader.fieldnames or ())
        for line in reader:
            lines += 1
            if not line.get("not_modelled"):
                yield _measured_of_line(line)
    except (MeasurementError, ConfigError, csv.Error) as error:
        raise MeasurementError(f"{location}:{max(reader.reader.line_num, 1)}: {error}") from None
    if not lines:
        raise MeasurementError(f"{location}: holds no measurement; add a line for each below the header")


def _check_header(names: Iterable[str]) -> None:
    listed = [COLUMN_NAMES.get(name, name) for name in names]
    missing = [name for name in CSV_COLUMNS if name not in listed]
    if len(missing) == len(CSV_COLUMNS):
        raise MeasurementError(
            f"not a CSV of measurements; allowed: the columns {', '.join(CSV_COLUMNS)} "
            "(what dirty_log_perf_test prints goes through `splitsweep import`)"
        )
    if missing:
        raise MeasurementError(f"{missing[0]}: the column is missing; needed: {', '.join(CSV_COLUMNS)}")
    for name in listed:
        if name not in (*CSV_COLUMNS, *CSV_FURTHER, *CSV_NOTES):
            allowed = ", ".join((*CSV_FURTHER, *CSV_NOTES))
            raise MeasurementError(f"{name}: no such column; allowed besides those needed: {allowed}")
        if listed.count(name) > 1:
            raise MeasurementError(f"{name}: the column is there twice; name each once")


def _measured_of_line(line: Mapping[str | None, str | None]) -> Measured:
    if None in line or None in line.values():
        raise MeasurementError("the line has more or fewer cells than the header; give it as many")
    cells = {COLUMN_NAMES.get(name, name): text.strip() for name, text in line.items() if name and text is not None}
    cells["initially_all_set"] = {"Y": "true", "N": "false"}.get(cells["initially_all_set"], cells["initially_all_set"])
    phase = METRIC_NAMES.get(cells["metric"], cells["metric"])
    iteration = _iteration(phase, cells["iteration"])
    stated = {name: parse_field(name, cells[name]) for name in CSV_FIELDS}
    stated |= {name: parse_field(name, cells[name]) for name in CSV_FURTHER if cells.get(name)}
    stated["mem_per_vcpu"] = _gib(cells["mem_per_vcpu_gib"])
    config = make_config({"iterations": iterations_before(phase, iteration)} | stated)
    if iteration and iteration > config.iterations:
        raise MeasurementError(f"iteration: {iteration} is beyond the run's iterations, {config.iterations}")
    timing = _measured(config, phase, iteration, _seconds(cells["seconds"]), cells["source"])
    return dataclasses.replace(timing, host=cells.get("host", ""), release=cells.get("release", ""))


def _iteration(phase: str, text: str) -> int | None:
    if phase not in PHASES:
        raise MeasurementError(f"metric: {phase!r} is not allowed; allowed: {', '.join(PHASES)}")
    if phase not in ITERATED_PHASES:
        if text:
            raise MeasurementError(f"iteration: {phase} runs once; leave the cell empty")
        return None
    iteration = parse_field("iterations", text) if text.isdecimal() else 0
    if not isinstance(iteration, int) or iteration < 1:
        raise MeasurementError(f"iteration: {text!r} is not allowed for {phase}; allowed: 1, 2, ...")
    return iteration


def _gib(text: str) -> int:
    try:
        return parse_size(text + "GiB")
    except ValueError:
        raise MeasurementError(f"mem_per_vcpu_gib: {text!r} is not a number of GiB; write it like 1 or 0.5") from None


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise MeasurementError(f"seconds: {text!r} is not allowed; allowed: a number above 0, like 0.310786549")
    return seconds


def _read_dataset(location: str) -> Iterator[Measured]:
    """The phases that took any time: those measured on hosts, or in a dataset without such those of the one profile."""
    from sweep.dataset.query import select
    from sweep.dataset.views import open_dataset

    names = [name for name in FIELDS if name not in ("engine", "profile")]
    told = ("engine = 'kvm' AS measured", "engine", "origin", "host", "kernel_release")
    columns = ", ".join((*told, *names, "phase", "iteration", "seconds"))
    with open_dataset(location) as dataset:
        rows = select(dataset, f"SELECT {columns} FROM phases WHERE seconds > 0 ORDER BY ALL").to_pylist()
    rows = [row for row in rows if row["measured"]] or rows
    if not rows:
        raise MeasurementError(f"{location}: no phase there has a time; allowed: a dataset with finished configs")
    origins = sorted({row["origin"] for row in rows})
    if not rows[0]["measured"] and len(origins) > 1:
        raise MeasurementError(
            f"{location}: holds predictions of several profiles ({', '.join(origins)}); "
            "allowed: those of one, or measurements"
        )
    for row in rows:
        config = make_config({name: row[name] for name in names})
        source = location if len(origins) == 1 else f"{location}, {row['origin']}"  # two hosts do not repeat each other
        timing = _measured(config, row["phase"], row["iteration"], row["seconds"], source)
        if row["engine"] == "sim":
            yield dataclasses.replace(timing, kind="simulated")  # on whatever host: predictions are of their profile's
        else:
            yield dataclasses.replace(timing, host=row["host"] or "", release=row["kernel_release"] or "")
