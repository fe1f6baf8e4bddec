"""The lines of a file as the test printed them: freed of what consoles, logs, mails and harnesses put around them.

Two things are taken away in front of a line: what is known to stand there (the comment sign of TAP, the quote sign of
a mail, clocks), and what stands in front of the test's own lines again and again in this file, digits aside. So a
sentence that quotes one timing stays a sentence.
"""

from __future__ import annotations

import codecs
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from core.kvm.output import OWN_LINE
from sweep.evidence.measurements import MeasurementError

LEAST_REPEATED: Final = 3
"""So many of the test's lines must have a prefix that is not known, for it to be taken as one."""

_ESCAPE: Final = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours, cursor
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"  # window titles
    r"|\x1b[()][A-Z0-9]|\x1b[@-Z\\^_=>]"
    r"|\^\[\[[0-9;?]*[A-Za-z]"  # colours, as `cat -v` shows them
    r"|[\ufeff\u200b]"
)
_QUOTED: Final = re.compile(r'"(.*)",?')  # of a list in JSON or YAML
_BACKSPACE: Final = re.compile(r"[^\x08]\x08")

_CLOCK: Final = r"\d{1,2}:\d\d:\d\d(?:[.,]\d+)?"
_DATE: Final = r"\d{4}[-/]\d\d[-/]\d\d"
_DAY: Final = r"(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),? +)?[A-Z][a-z]{2} +\d{1,2}"
_WHEN: Final = rf"(?:(?:{_DATE}[T ])?{_CLOCK}(?: ?(?:Z|UTC|[+-]\d\d:?\d\d))?|{_DAY} {_CLOCK}(?: \d{{4}})?)"
_KNOWN: Final = re.compile(
    r"[>#|] ?"  # mail, TAP and kselftest, containers
    r"|<\d{1,3}>"  # priority of a log message
    r"|\[ *\d+\.\d+\](?:\[ *[TC]\d+\])?:? ?"  # the kernel's clock
    rf"|{_WHEN} (?!Test iterations|Random seed)[\w.-]+ [\w.@/()-]+(?:\[\d+\])?: ?"  # syslog and journal
    rf"|\[?{_WHEN}\]?[:,]? +"  # a clock
)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a file: its number, what is left of it, and what was taken away in front."""

    number: int
    text: str
    prefix: str

    @property
    def is_comment(self) -> bool:
        return "#" in self.prefix


def decoded(content: bytes, shown_name: str) -> str:
    """The text of a file: UTF-8 or UTF-16, with or without a byte order mark; MeasurementError if it is no text."""
    even, odd = content[0:64:2].count(0), content[1:64:2].count(0)
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    elif max(even, odd) > len(content[:64]) // 4:  # half of a Latin text's bytes are zero in UTF-16
        encoding = "utf-16-be" if even > odd else "utf-16-le"
    else:
        encoding = "utf-8-sig"
    # A stray byte on a serial console or of another encoding spoils one word, not the file.
    text = content.decode(encoding, "replace")
    if "\0" in text or text.count("\N{REPLACEMENT CHARACTER}") > 1 + len(text) // 20:
        raise MeasurementError(f"{shown_name}: is no text; give what dirty_log_perf_test printed")
    return text


def lines_of(text: str) -> list[Line]:
    """The lines of a text, each freed of what stands before and around it."""
    plain = [_printable(line) for line in re.split(r"\r*\n|\r+", text)]
    repeated = _repeated_prefixes(plain)
    return [_freed(number, line, repeated) for number, line in enumerate(plain, start=1)]


def _printable(line: str) -> str:
    """The line as a screen shows it."""
    shown = _ESCAPE.sub("", line.replace("\N{NO-BREAK SPACE}", " "))
    while _BACKSPACE.search(shown):
        shown = _BACKSPACE.sub("", shown, count=1)
    shown = shown.strip()
    quoted = _QUOTED.fullmatch(shown)
    return quoted[1].strip() if quoted else shown


def _repeated_prefixes(lines: Iterable[str]) -> list[re.Pattern[str]]:
    """Patterns of what else stands in front of the test's lines again and again, the longest first."""
    shapes: Counter[str] = Counter()
    for line in lines:
        rest = _without(line, [_KNOWN])
        if (own := OWN_LINE.search(rest)) and own.start():
            shapes[re.sub(r"\d+", "0", re.sub(r"\s+", " ", rest[: own.start()]))] += 1
    repeated = sorted((shape for shape, count in shapes.items() if count >= LEAST_REPEATED), key=len, reverse=True)
    return [re.compile(re.escape(shape).replace(r"\ ", r"\s+").replace("0", r"\d+")) for shape in repeated]


def _freed(number: int, line: str, repeated: Sequence[re.Pattern[str]]) -> Line:
    rest = _without(f"{line} ", [*repeated, _KNOWN]).rstrip()  # the prefix of an empty line has lost its space
    return Line(number, rest, line[: len(line) - len(rest)])


def _without(line: str, prefixes: Sequence[re.Pattern[str]]) -> str:
    """The line without any of the prefixes, however many of them stand one after the other."""
    rest = line
    while match := next((found for prefix in prefixes if (found := prefix.match(rest)) and found.end()), None):
        rest = rest[match.end() :].lstrip()
    return rest
