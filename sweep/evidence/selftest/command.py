"""What the command line of dirty_log_perf_test says about a run: its options as fields of Config.

Only options whose meaning is certain are used. The others (pinning, guest modes, offsets) are kept by name, so that the
summary of an import can say what was passed over.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from sweep.evidence.measurements import MeasurementError
from sweep.spec.values import field_value

NUMBERS: Final = {"v": "vcpus", "i": "iterations", "x": "slots", "r": "seed"}
"""Options with a number that is the field's value."""

FLAGS: Final[dict[str, dict[str, object]]] = {
    "a": {"access_order": "random"},
    "g": {"manual_protect": False, "initially_all_set": False},  # initially-all-set exists with manual protection only
    "n": {"mmu": "nested"},
    "o": {"partitioned": False},
}

BACKINGS: Final = {
    "anonymous": "4K",  # the test asks for no transparent huge pages there
    "anonymous_thp": "2M",
    "anonymous_hugetlb_2mb": "2M",
    "anonymous_hugetlb_1gb": "1G",
}
"""Backing sources (-s) that leave no doubt about the size of the host's pages."""

_UNUSED_FLAGS: Final = "eh"
_UNITS: Final = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30}
_NAME: Final = re.compile(r"(?:^|[\s/])dirty_log_perf_test(?=\s|$)")
_SHELL: Final = re.compile(r"\s\d?>|[|;&]")


@dataclass(frozen=True, slots=True)
class Command:
    """The fields that a command line states, and what it says beyond them."""

    fields: dict[str, object]
    unclear_source: str | None = None  # the backing source, if it does not tell the page size
    unused: tuple[str, ...] = ()  # options that no field stands for


def read_command(line: str) -> Command | None:
    """The command of a line that holds one, as `set -x` or a copied prompt leaves it; None for any other line.

    Raises MeasurementError or SpecError for a value that no run can have. A line with shell variables tells nothing.
    """
    name = _NAME.search(line)
    if name is None or re.search(r"\$\S", line):
        return None
    try:
        words = shlex.split(_SHELL.split(line[name.end() :])[0])
    except ValueError:
        return None
    if words and not re.match(r"-[A-Za-z]", words[0]):
        return None  # a sentence about the test, or its usage
    return _command(dict(_options(words)))


def _command(options: dict[str, str]) -> Command:
    fields: dict[str, object] = {}
    unclear = None
    for letter, value in options.items():
        if letter in FLAGS:
            fields |= FLAGS[letter]
        elif letter in NUMBERS:
            fields[NUMBERS[letter]] = _number(letter, value)
        elif letter == "b":
            fields["mem_per_vcpu"] = _size(value)
        elif letter == "f":
            fields |= {"write_percent": _share(value), "write_pattern": "stride"}
        elif letter == "w":
            fields |= {"write_percent": _number(letter, value), "write_pattern": "random"}
        elif letter == "s" and value in BACKINGS:
            fields["backing"] = BACKINGS[value]
        elif letter == "s":
            unclear = value
    known = {*FLAGS, *NUMBERS, *"bfsw"}
    checked = {name: field_value(name, value) for name, value in fields.items()}
    return Command(checked, unclear, tuple(f"-{letter}" for letter in options if letter not in known))


def _options(words: list[str]) -> Iterator[tuple[str, str]]:
    """Letters with their values as getopt pairs them; the value of an option not known here is a guess, and unused."""
    flags = {*FLAGS, *_UNUSED_FLAGS}
    left = list(words)
    while left:
        word = left.pop(0)
        if not re.match(r"-[A-Za-z]", word):
            continue
        cluster = word[1:]
        while cluster and cluster[0] in flags:
            yield cluster[0], ""
            cluster = cluster[1:]
        if cluster:
            has_next = bool(left) and not left[0].startswith("-")
            yield cluster[0], cluster[1:] or (left.pop(0) if has_next else "")


def _number(letter: str, text: str) -> int:
    if not re.fullmatch(r"\d{1,18}", text):
        raise MeasurementError(f"-{letter} {text}: is not a whole number")
    return int(text)


def _size(text: str) -> int:
    """Bytes as the selftests write them: 512M, 1G, 3g."""
    match = re.fullmatch(r"(\d{1,18})([kmg]?)", text.lower())
    if match is None:
        raise MeasurementError(f"-b {text}: is not a size; allowed: a number with K, M or G, like 512M or 1G")
    return int(match[1]) * _UNITS[match[2]]


def _share(text: str) -> int:
    """Percent of the pages that `-f N` writes: one in N."""
    fraction = _number("f", text)
    if fraction == 0 or 100 % fraction:
        raise MeasurementError(f"-f {text}: is no whole percentage of writes; allowed: divisors of 100, like 5")
    return 100 // fraction
