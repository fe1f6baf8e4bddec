"""What dirty_log_perf_test prints (Linux 5.10 to 7.x): each line by itself, and the lines of one run put together.

A run is not marked: it begins with a line of its preamble, or with a timing that cannot follow the one before it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from core.kvm.errors import SelftestError

PHASES: Final = {
    "Populate memory": "populate",
    "Enabling dirty logging": "enable",
    "dirty memory": "dirty",
    "get dirty log": "get",
    "clear dirty log": "clear",
    "Disabling dirty logging": "disable",
}
"""What the test calls the phases, in their order."""

_TIMING: Final = re.compile(rf"(?:Iteration ([1-9]\d{{0,8}}) )?({'|'.join(PHASES)}) time: *(\S+)")
_SECONDS: Final = re.compile(r"(\d{1,12}\.\d{1,12})s")
_ITERATIONS: Final = re.compile(r"Test iterations: (\d{1,9})\b.*")
_SEED: Final = re.compile(r"Random seed: (0x[0-9a-f]{1,16}|\d{1,18})")
_MEMORY: Final = re.compile(r"guest physical test memory: \[(0x[0-9a-f]{1,16}), (0x[0-9a-f]{1,16})\)")
_OFFSET: Final = re.compile(r"guest physical test memory offset: (0x[0-9a-f]{1,16})")
_MODE: Final = re.compile(r"Testing guest mode: (.*)")
_X86_MODE: Final = re.compile(r"PA-bits:ANY, +VA-bits:\d+(?: or \d+)?, +4K pages")
_NESTED: Final = re.compile(r"Configuring vCPUs to run in L2 \(nested\)\.?")
_SUMMARY: Final = re.compile(r"(?:Get|Clear) dirty log over \d+ iterations took .*")

OWN_LINE: Final = re.compile(
    rf"(?:Iteration [1-9]\d{{0,8}} )?\b(?:{'|'.join(PHASES)}) time: *\S+$|Test iterations: \d|Testing guest mode: "
    r"|guest physical test memory(?: offset)?: |Random seed: "
)
"""Where a line of the test begins in a longer line."""


@dataclass(frozen=True, slots=True)
class Timing:
    """One printed time."""

    phase: str
    iteration: int | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Preamble:
    """What one line says that the test prints before its timings."""

    iterations: int | None = None
    seed: int | None = None
    start: int | None = None  # guest-physical address of the memory under test
    memory: int | None = None  # its bytes
    nested: bool = False
    old: bool = False  # only tests older than 5.18 print it so


@dataclass(frozen=True, slots=True)
class Summary:
    """A line that repeats in sums what others said."""


@dataclass(frozen=True, slots=True)
class PrintedRun:
    """One whole run: its timings, and what the test printed about itself."""

    timings: tuple[Timing, ...]
    iterations: int
    has_clear: bool
    preamble: Preamble


def read_line(line: str) -> Timing | Preamble | Summary | None:
    """What a line of the test says; None if it is not the test's.

    Raises SelftestError for a time that is none, and for a guest that is not one of x86 with pages of 4K.
    """
    if match := _TIMING.fullmatch(line):
        return _timing(*match.groups())
    if match := _ITERATIONS.fullmatch(line):
        return Preamble(iterations=int(match[1]))
    if match := _SEED.fullmatch(line):
        return Preamble(seed=int(match[1], 16 if match[1].startswith("0x") else 10))
    if match := _MEMORY.fullmatch(line):
        start, end = int(match[1], 16), int(match[2], 16)
        if start >= end:
            raise SelftestError(f"guest physical test memory: [{match[1]}, {match[2]}) ends before it begins")
        return Preamble(start=start, memory=end - start)
    if match := _OFFSET.fullmatch(line):
        return Preamble(start=int(match[1], 16), old=True)
    if match := _MODE.fullmatch(line):
        if not _X86_MODE.fullmatch(match[1].strip()):
            raise SelftestError(
                f"guest mode: {match[1].strip()!r} is of another architecture or page size; "
                "allowed: x86 with 4K pages, 'PA-bits:ANY, VA-bits:48,  4K pages'"
            )
        return Preamble()
    if _NESTED.fullmatch(line):
        return Preamble(nested=True)
    return Summary() if _SUMMARY.fullmatch(line) else None


def _timing(iteration: str | None, words: str, text: str) -> Timing | None:
    phase = PHASES[words]
    if (iteration is None) == (phase in ("dirty", "get", "clear")) or "%" in text:
        return None  # the test prints no such line: it is source code, or talk about one
    seconds = _SECONDS.fullmatch(text)
    if seconds is None:
        raise SelftestError(f"{words} time: {text!r} is no time; allowed: seconds like 0.310786549s, not negative")
    return Timing(phase, int(iteration) if iteration else None, float(seconds[1]))


@dataclass(slots=True)
class RunReader:
    """The lines of one run so far."""

    timings: dict[tuple[str, int | None], float] = field(default_factory=dict)
    preamble: Preamble = field(default_factory=Preamble)
    last_step: tuple[int, int] = (-1, 0)

    def belongs(self, line: Timing | Preamble) -> bool:
        """Whether a line can follow those taken; if not, another run begins with it."""
        return _step(line) > self.last_step if isinstance(line, Timing) else not self.timings

    def take(self, line: Timing | Preamble) -> None:
        """A line that belongs to the run."""
        if isinstance(line, Timing):
            self.last_step = _step(line)
            self.timings[line.phase, line.iteration] = line.seconds
        else:
            self.preamble = _both(self.preamble, line)

    def whole_run(self) -> PrintedRun:
        """The run, if all of its iterations are there and whole; SelftestError if not."""
        iterations = _checked_iterations(self.timings, self.preamble.iterations)
        timings = tuple(Timing(*key, seconds) for key, seconds in self.timings.items())
        return PrintedRun(timings, iterations, ("clear", 1) in self.timings, self.preamble)


def _both(first: Preamble, second: Preamble) -> Preamble:
    """Two lines of a preamble as one; of what both say, the second holds: the test prints the seed it uses last."""

    def latest(name: str) -> int | None:
        value = getattr(second, name)
        return getattr(first, name) if value is None else value  # type: ignore[no-any-return]

    return Preamble(
        latest("iterations"),
        latest("seed"),
        latest("start"),
        latest("memory"),
        nested=first.nested or second.nested,
        old=first.old or second.old,
    )


def _step(timing: Timing) -> tuple[int, int]:
    """The place of a timing in its run: populate, enable, the iterations, disable."""
    order = list(PHASES.values()).index(timing.phase)
    if timing.phase == "disable":
        return 10**9, order
    return timing.iteration or 0, order


def _checked_iterations(timings: Mapping[tuple[str, int | None], float], announced: int | None) -> int:
    """The number of iterations, if all of them are there and whole."""
    found = {phase: [k for name, k in timings if name == phase and k] for phase in ("dirty", "get", "clear")}
    complete = list(range(1, len(found["dirty"]) + 1))
    if not complete:
        raise SelftestError("the run has no 'Iteration 1 dirty memory time'; leave a run that broke off out")
    for phase, iterations in found.items():
        if iterations != complete and (phase != "clear" or iterations):
            words = next(words for words, name in PHASES.items() if name == phase)
            missing = min(set(complete) ^ set(iterations))
            raise SelftestError(
                f"the run is not whole in iteration {missing} ('{words} time'); leave a run that broke off out"
            )
    if announced is not None and announced != len(complete):
        raise SelftestError(f"the run has {len(complete)} of {announced} iterations; leave a run that broke off out")
    return len(complete)
