"""A file with what dirty_log_perf_test printed, read into runs with what the file says about each.

A file may hold many runs one after the other, as a shell loop leaves them. What the test does not print, such as the
MMU or the number of vCPUs, the file can say before a run: in words `# NAME=VALUE`, in the command line of the test, or
in the commands that set KVM's module parameters. All of it holds for the runs that follow, until something later says
otherwise; a command line of the test replaces the former one whole.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from core.errors import ConfigError
from core.kvm.errors import SelftestError
from core.kvm.options import Options, read_options
from core.kvm.output import OWN_LINE, Preamble, PrintedRun, RunReader, Summary, Timing, read_line
from core.kvm.parameters import MODULES, parse_switch
from core.kvm.releases import parse_release
from sweep.errors import SweepError
from sweep.evidence.measurements import MeasurementError
from sweep.evidence.selftest.lines import Line, lines_of
from sweep.evidence.selftest.said import Said, is_known_name, is_word, label_word, read_words
from sweep.evidence.selftest.shell import ShellLine, read_shell_line, without_prompt

NO_COMMAND: Final = Options(all_unreadable=True)
"""What is known of the options where no command line stands before a run: nothing, not even the test's defaults."""

_PARAMETER: Final = re.compile(rf"\b({'|'.join(MODULES)})=([YN01])\b")
_HEADING: Final = re.compile(r"[\w .#()-]{1,40}: *(?P<rest>.*)")
_SPACED: Final = re.compile(r"\b(\w+)\s+=\s+(?=\S)|\b(\w+)\s+=(?=\S)|\b(\w+)=\s+(?=\S)")


@dataclass(frozen=True, slots=True)
class TimedRun:
    """One run: what the test printed, and what the file says about it."""

    place: str  # FILE:LINE of its first line
    printed: PrintedRun
    said: Said
    options: Options
    unreadable: frozenset[str]  # module parameters that were set to what cannot be read


@dataclass(frozen=True, slots=True)
class SelftestText:
    """The runs of one file, and the lines of it that say nothing that is known here."""

    runs: tuple[TimedRun, ...]
    skipped: tuple[Line, ...]
    prefixed: int  # lines of the test that had something in front which was taken away


def read_selftest_text(file: str, text: str) -> SelftestText:
    """Every run in the text of `file`; MeasurementError naming file and line if one cannot be used, or if none is."""
    reader = _Reader(file)
    for line in _joined(lines_of(text)):
        try:
            reader.take(line)
        except (SelftestError, ConfigError, SweepError) as error:
            raise MeasurementError(f"{file}:{line.number}: {error}") from None
    reader.end_run()
    if not reader.runs:
        raise MeasurementError(
            f"{file}: no run of dirty_log_perf_test in it; allowed: what the test prints, with lines like "
            "'Iteration 1 dirty memory time: 0.310786549s'"
        )
    return SelftestText(tuple(reader.runs), tuple(reader.skipped), reader.prefixed)


def _joined(lines: Sequence[Line]) -> list[Line]:
    """The lines, with those that a backslash at the end continues put together."""
    joined: list[Line] = []
    for line in lines:
        if joined and joined[-1].text.endswith("\\"):
            first = joined.pop()
            joined.append(Line(first.number, f"{first.text[:-1].rstrip()} {line.text}", first.prefix))
        else:
            joined.append(line)
    return joined


@dataclass(slots=True)
class _Reader:
    """The lines so far: finished runs, the one being read, and what was said about those to come."""

    file: str
    runs: list[TimedRun] = field(default_factory=list)
    skipped: list[Line] = field(default_factory=list)
    prefixed: int = 0
    first_line: int | None = None
    run: RunReader = field(default_factory=RunReader)
    said: Said = field(default_factory=Said)
    options: Options = NO_COMMAND
    unreadable: frozenset[str] = frozenset()
    shown_next: tuple[str, ...] = ()  # what the next lines show, after a command that prints it

    def take(self, line: Line) -> None:
        text, host = without_prompt(line.text)
        if not text:
            return
        if shown := read_line(text):
            self._take_own(line, shown)
        elif self._take_shown(text):
            pass
        elif shell := read_shell_line(text):
            self._take_shell(shell, host)
        elif not self._take_words(line, text):
            self.skipped.append(line)

    def end_run(self) -> None:
        """Keep the run that was being read, if there is one."""
        if self.run.timings:
            place = f"{self.file}:{self.first_line}"
            try:
                printed = self.run.whole_run()
            except SelftestError as error:
                raise MeasurementError(f"{place}: {error}") from None
            self.runs.append(TimedRun(place, printed, self.said, self.options, self.unreadable))
        self.first_line, self.run = None, RunReader()

    def _take_own(self, line: Line, shown: Timing | Preamble | Summary) -> None:
        """A line of the test itself."""
        self.prefixed += bool(line.prefix)
        if isinstance(shown, Summary):
            return
        if not self.run.belongs(shown):
            self.end_run()
        self.first_line = self.first_line or line.number
        self.run.take(shown)

    def _take_shown(self, text: str) -> bool:
        """What a command printed that was just given: the value of a parameter, the kernel's release, the host."""
        if not self.shown_next:
            return False
        (name, *rest), self.shown_next = self.shown_next, ()
        if name == "host":
            self._say(Said(host=text))
        elif name == "kernel_release":
            parse_release(text)
            self._say(Said(kernel_release=text))
        elif (value := parse_switch(text)) is not None:
            self._say(Said(parameters={name: value}))
        else:
            return False
        self.shown_next = tuple(rest)
        return True

    def _take_shell(self, shell: ShellLine, host: str | None) -> None:
        self._open()
        if shell.options is not None:
            self.options = shell.options
        unloaded = [name for name, module in MODULES.items() if module in shell.unloaded]
        self.said = self.said.without_parameters([*unloaded, *shell.unreadable])
        self.unreadable = (self.unreadable - frozenset(unloaded)) | shell.unreadable
        self.shown_next = shell.prints
        self._say(Said({}, shell.parameters, {}, shell.host or host, shell.kernel_release))

    def _take_words(self, line: Line, text: str) -> bool:
        """Words NAME=VALUE, or options of the test, in a comment or a heading; False if there are none."""
        said = _header(line, text)
        options = None if said else _bare_options(text)
        if said is None and options is None:
            return False
        self._open()
        self.options = options or self.options
        self._say(said or Said())
        return True

    def _say(self, said: Said) -> None:
        self.unreadable -= said.parameters.keys()
        if "mmu" in said.fields:
            self.unreadable -= {"tdp_mmu", "ept", "npt"}
        if "split" in said.fields:
            self.unreadable -= {"eager_page_split"}
        self.said = self.said.then(said)

    def _open(self) -> None:
        """A line about the runs that follow: the one being read, if there is one, has ended."""
        if self.run.timings:
            self.end_run()


def _header(line: Line, text: str) -> Said | None:
    """What a comment, or a heading like `Run 2: tdp_mmu=N`, says in words NAME=VALUE; None if nothing."""
    spaced = _SPACED.sub(lambda match: f"{match[1] or match[2] or match[3]}=", text)
    words = [word.rstrip(",;") for word in spaced.split()]
    pairs = _pairs(words) if line.is_comment or all(is_known_name(word.partition("=")[0]) for word in words) else []
    if pairs:
        return read_words(pairs, keeps_notes=True)
    parameters = dict(_PARAMETER.findall(text))
    if not parameters or OWN_LINE.search(text):
        return None
    heading = _HEADING.fullmatch(text)
    rest = _PARAMETER.sub("", heading["rest"]) if heading else ""
    fields = {"label": label_word(rest.strip(" ,;"))} if heading else {}
    return Said(fields, {name: value in "Y1" for name, value in parameters.items()})


def _pairs(words: Sequence[str]) -> list[str]:
    """The words NAME=VALUE among those of a comment.

    If it begins with one it is a list of them, and what is unknown here has a value up to the next. If not it is a
    sentence, in which only names that are known mean anything.
    """
    is_list = is_word(words[0])
    pairs: list[str] = []
    for word in words:
        if is_word(word) and (is_list or is_known_name(word.partition("=")[0])):
            pairs.append(word)
        elif is_list and not is_known_name(pairs[-1].partition("=")[0]):
            pairs[-1] += f"_{word}"
    return pairs


def _bare_options(text: str) -> Options | None:
    """Options of the test that stand alone, as in `-v 96 -s anonymous_hugetlb_1gb`; None for any other text."""
    if not re.fullmatch(r"(?:[\w ]{1,20}: *)?(?:-[a-z](?: *[\w,.$]+)? *)+", text):
        return None
    options = read_options(text[text.index("-") :].split())
    return None if options.all_unreadable or not options.fields else options
