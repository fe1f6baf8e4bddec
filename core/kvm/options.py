"""The options of dirty_log_perf_test, from Linux 5.10 to 7.x: what each means as fields of a config.

They are read as the test reads them (getopt, and strtoul with base 0), and written for the test to read. Each option
either means a field or has a reason why it means none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from core.config import check_field
from core.kvm.errors import SelftestError

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

UNCLEAR_BACKINGS: Final = ("anonymous_hugetlb", "shmem", "shared_hugetlb")
"""Backing sources whose pages are as large as the host's settings make them."""

DEFAULTS: Final[dict[str, object]] = {"vcpus": 1, "mem_per_vcpu": 2**30, "backing": "4K", "slots": 1}
"""What the test does where no option says otherwise, as far as its output may contradict it."""

IGNORED: Final = {
    "c": "pins the vCPUs to CPUs, which changes no operation of the MMU",
    "e": "runs the vCPUs while logging is disabled, which is not modelled: that time is left out",
    "h": "prints the usage and runs nothing",
    "m": "chooses a guest mode, which the test prints and which is checked there",
    "p": "places the memory, which the test has not heeded since 5.17 and whose start it prints",
}
"""Options of the test that mean no field, and why."""

PROPOSED: Final = {
    "j": "lets vCPUs run on through the ioctls, in a patch that was proposed: the times are not those of the phases",
    "k": "clears the log in chunks, in a patch that was proposed: more calls than are modelled",
    "l": "waits between two clears, in a patch that was proposed",
}
"""Options that only patched tests have; they came with a value, except -j."""

_DECIDED: Final = {
    **{letter: (name,) for letter, name in NUMBERS.items()},
    "b": ("mem_per_vcpu",),
    "s": ("backing",),
    "f": ("write_percent", "write_pattern", "populate_writes"),
    "w": ("write_percent", "write_pattern"),
}
"""The fields that an option with a value decides."""

_UNITS: Final = {"": 1, "b": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
_VALUE_LETTERS: Final = (*_DECIDED, "c", "m", "p", "k", "l")
_FLAG_LETTERS: Final = (*FLAGS, "e", "h", "j")


@dataclass(frozen=True, slots=True)
class Options:
    """What a command line of the test says."""

    fields: Mapping[str, object] = field(default_factory=dict)
    unreadable: frozenset[str] = frozenset()  # fields decided by a value that is not there to read, like $N
    all_unreadable: bool = False  # options that are not there to read at all, like "$@"
    unclear_backing: str = ""  # the backing source, if it does not tell the page size
    ignored: Mapping[str, str] = field(default_factory=dict)  # options that mean no field, and why
    disables_while_running: bool = False  # -e

    def default(self, name: str) -> object | None:
        """What the test itself takes for a field that no option names; None if an option may have named it."""
        may_be_named = self.all_unreadable or name in self.unreadable or name in self.fields
        return None if may_be_named or (name == "backing" and self.unclear_backing) else DEFAULTS.get(name)


def read_options(words: Sequence[str]) -> Options:
    """The meaning of the words after the test's name; SelftestError for a value with which it would not run.

    Words with a `$` stand for something that the shell put there.
    """
    fields: dict[str, object] = {}
    unreadable: set[str] = set()
    ignored: dict[str, str] = {}
    unclear = ""
    hidden = False
    for letter, value in _pairs(words):
        if not letter:  # the test has no operands: what is left over the shell put there, or the reader's eye skips it
            hidden = hidden or "$" in value
            continue
        decided = _DECIDED.get(letter, ())
        for name in decided:
            fields.pop(name, None)
            unreadable.discard(name)
        if letter in FLAGS:
            fields |= FLAGS[letter]
        elif not decided:
            ignored[letter] = IGNORED.get(letter) or PROPOSED.get(letter) or "is no option of the tests of 5.10 to 7.x"
        elif "$" in value:
            unreadable.update(decided)
        elif letter == "s" and value in UNCLEAR_BACKINGS:
            unclear = value
        else:
            fields |= _meaning(letter, value)
            unclear = "" if letter == "s" else unclear
    checked = {name: check_field(name, value) for name, value in fields.items()}
    return Options(checked, frozenset(unreadable), hidden, unclear, ignored, "e" in ignored)


def _meaning(letter: str, text: str) -> dict[str, object]:
    """The fields that an option with this value means."""
    if letter == "b":
        return {"mem_per_vcpu": _size(text)}
    if letter == "s":
        if text not in BACKINGS:
            allowed = ", ".join((*BACKINGS, *UNCLEAR_BACKINGS))
            raise SelftestError(f"-s {text}: is no backing source of x86 hosts; allowed: {allowed}")
        return {"backing": BACKINGS[text]}
    if letter == "f":  # tests up to 6.1, which follow it in populate too
        return {"write_percent": _share(text), "write_pattern": "stride", "populate_writes": "same"}
    if letter == "w":
        return {"write_percent": _number(letter, text), "write_pattern": "random"}
    return {NUMBERS[letter]: _number(letter, text)}


def _pairs(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Letters with their values as getopt pairs them, and words that belong to none with the letter "".

    The value of an option not known here is a guess, and not used.
    """
    left = list(words)
    while left:
        word = left.pop(0)
        if not re.match(r"-[A-Za-z]", word):
            yield "", word
            continue
        cluster = word[1:]
        while cluster and cluster[0] in _FLAG_LETTERS:
            yield cluster[0], ""
            cluster = cluster[1:]
        if not cluster:
            continue
        if cluster[1:]:
            yield cluster[0], cluster[1:]
        elif cluster[0] in _VALUE_LETTERS:
            if not left:
                raise SelftestError(f"-{cluster[0]}: its value is missing; give it as the test's usage says")
            yield cluster[0], left.pop(0)
        else:
            yield cluster[0], left.pop(0) if left and not left[0].startswith("-") else ""


def _number(letter: str, text: str) -> int:
    """A whole number as the test takes it: decimal, or hexadecimal after 0x, or octal after 0."""
    number = _c_integer(text)
    if number is None:
        raise SelftestError(f"-{letter} {text}: is not a whole number")
    return number


def _c_integer(text: str) -> int | None:
    if re.fullmatch(r"0[xX][0-9a-fA-F]{1,16}", text):
        return int(text, 16)
    if re.fullmatch(r"0[0-7]{1,18}", text):
        return int(text, 8)
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else None


def _size(text: str) -> int:
    """Bytes as the test's parse_size takes them: a number and the first letter after it, as in 512M, 512MB, 3g, 1T."""
    match = re.fullmatch(r"(0[xX][0-9a-fA-F]+|[0-9]+)(?:([bkmgt])\w*)?", text, re.IGNORECASE | re.ASCII)
    number = _c_integer(match[1]) if match else None
    if match is None or number is None:
        raise SelftestError(f"-b {text}: is not a size; allowed: a whole number with K, M, G or T, like 512M or 1G")
    return number * _UNITS[(match[2] or "").lower()]


def _share(text: str) -> int:
    """Percent of the pages that `-f N` writes, rounded down: one in N."""
    fraction = _number("f", text)
    percent = 100 // fraction if fraction else 0
    if not percent or fraction_of(percent) != fraction:
        raise SelftestError(
            f"-f {text}: no percentage of writes means the same pages; "
            f"allowed: {', '.join(str(100 // share) for share in range(100, 0, -1) if fraction_of(share))}"
        )
    return percent


def fraction_of(percent: int) -> int | None:
    """The N of the option `-f N` that writes this percentage, rounded down: 5 for 20, 3 for 33; None if none does."""
    fraction = 100 // percent
    return fraction if 100 // fraction == percent else None
