"""The text that the kernel selftest dirty_log_perf_test prints (5.17 to 7.x), read into runs with their timings.

A file may hold many runs one after the other, as a shell loop leaves them. Nothing marks the end of a run, and killed
runs end anywhere, so a run ends where the next one begins: at a line of its preamble, a header or a command line, or at
a timing that cannot follow the one before it.

What the test does not print, such as the MMU or the number of vCPUs, the file can say before a run: in a header
`# FIELD=V FIELD=V`, or in the command line itself. Both hold for the runs that follow, until the next one: a header
replaces the fields it names, a command line the former command line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from core.config import FIELDS, parse_field
from core.errors import ConfigError
from sweep.errors import SpecError
from sweep.evidence.measurements import MeasurementError
from sweep.evidence.selftest.command import Command, read_command
from sweep.spec.values import field_value

PHASES: Final = {
    "Populate memory": "populate",
    "Enabling dirty logging": "enable",
    "dirty memory": "dirty",
    "get dirty log": "get",
    "clear dirty log": "clear",
    "Disabling dirty logging": "disable",
}
"""What the test calls the phases, in their order."""

SET_BY_IMPORT: Final = ("engine", "repeat")

_TIMING: Final = re.compile(rf"(?:Iteration ([1-9]\d{{0,8}}) )?({'|'.join(PHASES)}) time: (\d{{1,12}}\.\d{{1,12}})s")
_ITERATIONS: Final = re.compile(r"Test iterations: (\d{1,9})\b.*")
_SEED: Final = re.compile(r"Random seed: (0x[0-9a-f]{1,16}|\d{1,18})")
_MEMORY: Final = re.compile(r"guest physical test memory: \[(0x[0-9a-f]{1,16}), (0x[0-9a-f]{1,16})\)")
_PREAMBLE: Final = re.compile(r"Testing guest mode: .*|guest physical test memory offset: .*")
_SUMMARY: Final = re.compile(r"(?:Get|Clear) dirty log over \d+ iterations took .*")
_WORD: Final = re.compile(r"([A-Za-z_]\w*)=(.*)")


@dataclass(frozen=True, slots=True)
class Timing:
    """One printed time."""

    phase: str
    iteration: int | None
    seconds: float


@dataclass(frozen=True, slots=True)
class TimedRun:
    """One run: its timings, what the test printed about itself, and what the file says about it."""

    place: str  # FILE:LINE of its first line
    timings: tuple[Timing, ...]
    iterations: int
    has_clear: bool
    seed: int | None
    memory: int | None  # bytes of guest memory under test
    header: Mapping[str, object]
    command: Command


@dataclass(frozen=True, slots=True)
class SelftestText:
    """The runs of one file, and how many of its lines say nothing that is known here."""

    runs: tuple[TimedRun, ...]
    unknown_lines: int


def read_selftest_text(file: str, lines: Iterable[str]) -> SelftestText:
    """Every run in the lines of `file`; MeasurementError naming file and line if one cannot be used, or if none is."""
    reader = _Reader(file)
    for number, line in enumerate(lines, start=1):
        try:
            reader.take(number, line.strip())
        except (MeasurementError, ConfigError, SpecError) as error:
            raise MeasurementError(f"{file}:{number}: {error}") from None
    reader.end_run()
    if not reader.runs:
        raise MeasurementError(
            f"{file}: no run of dirty_log_perf_test in it; allowed: what the test prints, with lines like "
            "'Iteration 1 dirty memory time: 0.310786549s'"
        )
    return SelftestText(tuple(reader.runs), reader.unknown_lines)


def is_field_word(word: str) -> bool:
    """Whether a word of a command line is FIELD=V, not a file."""
    return _WORD.fullmatch(word) is not None


def read_field_word(word: str) -> tuple[str, object]:
    """The field and the value that a word FIELD=V states."""
    match = _WORD.fullmatch(word)
    if match is None:
        raise MeasurementError(f"{word!r} is not FIELD=VALUE; write it like vcpus=64")
    name, text = match.groups()
    if name in SET_BY_IMPORT:
        raise MeasurementError(f"{name}: is set by the import; leave it out")
    return name, field_value(name, parse_field(name, text))


@dataclass(slots=True)
class _Reader:
    """The lines so far: finished runs, the one being read, and what was said about those to come."""

    file: str
    runs: list[TimedRun] = field(default_factory=list)
    unknown_lines: int = 0
    first_line: int | None = None
    timings: dict[tuple[str, int | None], float] = field(default_factory=dict)
    last_step: tuple[int, int] = (-1, 0)
    printed: dict[str, int] = field(default_factory=dict)
    header: dict[str, object] = field(default_factory=dict)
    command: Command = field(default_factory=lambda: Command({}))

    def take(self, number: int, line: str) -> None:
        if not line or _SUMMARY.fullmatch(line):
            return
        if timing := _TIMING.fullmatch(line):
            self._take_timing(number, timing)
        elif printed := _printed(line):
            self._open(number)
            self.printed |= printed
        elif _PREAMBLE.fullmatch(line):
            self._open(number)
        elif command := read_command(line):
            self._open(None)
            self.command = command
        elif _is_header(line):
            self._open(None)
            self.header |= _header_fields(line)
        else:
            self.unknown_lines += 1

    def _take_timing(self, number: int, match: re.Match[str]) -> None:
        phase = PHASES[match[2]]
        iteration = int(match[1]) if match[1] else None
        if (iteration is None) == (phase in ("dirty", "get", "clear")):
            self.unknown_lines += 1
            return
        step = _step(phase, iteration)
        if step <= self.last_step:
            self.end_run()
        if self.first_line is None:
            self.first_line = number
        self.last_step = step
        self.timings[phase, iteration] = float(match[3])

    def _open(self, number: int | None) -> None:
        """A line that stands before timings: it belongs to the next run, if this one has any."""
        if self.timings:
            self.end_run()
        if self.first_line is None:
            self.first_line = number

    def end_run(self) -> None:
        """Keep the run that was being read, if there is one."""
        if self.timings:
            self.runs.append(self._run())
        self.first_line, self.timings, self.last_step, self.printed = None, {}, (-1, 0), {}

    def _run(self) -> TimedRun:
        place = f"{self.file}:{self.first_line}"
        iterations = _checked_iterations(place, self.timings, self.printed.get("iterations"))
        return TimedRun(
            place=place,
            timings=tuple(Timing(*key, seconds) for key, seconds in self.timings.items()),
            iterations=iterations,
            has_clear=("clear", 1) in self.timings,
            seed=self.printed.get("seed"),
            memory=self.printed.get("memory"),
            header=dict(self.header),
            command=self.command,
        )


def _step(phase: str, iteration: int | None) -> tuple[int, int]:
    """The place of a timing in its run: populate, enable, the iterations, disable."""
    order = list(PHASES.values()).index(phase)
    if phase == "disable":
        return 10**9, order
    return iteration or 0, order


def _printed(line: str) -> dict[str, int]:
    """What a line of the preamble says in numbers."""
    if match := _ITERATIONS.fullmatch(line):
        return {"iterations": int(match[1])}
    if match := _SEED.fullmatch(line):
        return {"seed": int(match[1], 16 if match[1].startswith("0x") else 10)}
    if match := _MEMORY.fullmatch(line):
        return {"memory": int(match[2], 16) - int(match[1], 16)}
    return {}


def _is_header(line: str) -> bool:
    """A comment made of FIELD=V words, or one that names a field so and may be meant as such."""
    words = line.lstrip("#").split() if line.startswith("#") else []
    if not words:
        return False
    names_field = any("=" in word and word.partition("=")[0] in FIELDS for word in words)
    return names_field or all(is_field_word(word) for word in words)


def _header_fields(line: str) -> dict[str, object]:
    return dict(read_field_word(word) for word in line.lstrip("#").split())


def _checked_iterations(place: str, timings: Mapping[tuple[str, int | None], float], announced: int | None) -> int:
    """The number of iterations, if all of them are there and whole."""
    found = {phase: [k for name, k in timings if name == phase and k] for phase in ("dirty", "get", "clear")}
    complete = list(range(1, len(found["dirty"]) + 1))
    if not complete:
        raise MeasurementError(
            f"{place}: the run has no 'Iteration 1 dirty memory time'; leave a run that broke off out"
        )
    for phase, iterations in found.items():
        if iterations != complete and (phase != "clear" or iterations):
            words = next(words for words, name in PHASES.items() if name == phase)
            missing = min(set(complete) ^ set(iterations))
            raise MeasurementError(
                f"{place}: the run is not whole in iteration {missing} ('{words} time'); leave a run that broke off out"
            )
    if announced is not None and announced != len(complete):
        raise MeasurementError(
            f"{place}: the run has {len(complete)} of {announced} iterations; leave a run that broke off out"
        )
    return len(complete)
