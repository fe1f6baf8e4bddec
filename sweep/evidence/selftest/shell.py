"""What the lines of a shell say that a user pasted along: which test ran, which module parameters were set, on what.

A shell may have been given more than it shows: a value with a `$` is not there to read.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from functools import reduce
from typing import Final

from core.kvm.options import Options, read_options
from core.kvm.parameters import MODULES, parse_switch

_PROMPT: Final = re.compile(
    r"(?:\[(?P<boxed>[^\]\s]+@[^\]\s]+)[^\]]*\][#$%]|(?P<plain>[\w.-]+@[\w.-]+)(?::| )?[^#$%>'\"]*[#$%>]|\++|[$%]) +"
)
_TEST: Final = re.compile(r"(?:^|[\s/;&|(])dirty_log_perf_test(?=[\s;&|)]|$)")
_NOT_RUN: Final = re.compile(
    r"(?:usage|ok|not ok|make|gcc|cc|clang|ld|ls|ll|cp|mv|scp|rsync|rm|chmod|file|strip|cat|vim?|git|which|type|"
    r"install|diff|ldd|objdump|cd|grep|man|echo|printf|pkill|killall|strace|gdb)\b"
)
_ENDS: Final = re.compile(r"\s\d?>|[|;&)]")
_PARAMETER_PATH: Final = rf"[\w./${{}}*-]*?({'|'.join(MODULES)})"
_SET: Final = re.compile(
    rf"(?:echo|printf)\s+(?:-n\s+)?(\S+)\s*(?:>\|?\s*|\|\s*(?:sudo\s+)?tee\s+(?:-a\s+)?)[\"']?{_PARAMETER_PATH}\b"
)
_MODPROBE: Final = re.compile(r"(?:^|[\s;&|/])(modprobe|insmod|rmmod)\s+([^;&|]+)")
_MODULE_OPTIONS: Final = re.compile(r"options\s+(kvm[\w-]*)\s+(.+)")
_SHOWN: Final = re.compile(
    rf"(?:[\w./-]*/)?(?:kvm[\w-]*[./](?:parameters/)?)?({'|'.join(MODULES)})(?::\s*|\s+=\s+)[\"']?(\w+)[\"']?"
)
_BOOT: Final = re.compile(rf"\bkvm[\w-]*\.({'|'.join(MODULES)})=(\w+)")
_READS: Final = re.compile(rf"(?:^|[\s;])(?:cat|head)\s+((?:\S*/)?(?:{'|'.join(MODULES)})(?:\s+\S+)*)\s*$")
_UNAME: Final = re.compile(r"Linux (?!version )(?:([A-Za-z][\w.-]*) )?(\d+\.\d+\S*)(?: (?:#\d|x86_64).*)?")
_PROC_VERSION: Final = re.compile(r"Linux version (\d+\.\d+\S*) \(.*")
_SUBSTITUTED: Final = re.compile(r"\$\((?:[^()]|\([^()]*\))*\)|`[^`]*`")


@dataclass(frozen=True, slots=True)
class ShellLine:
    """What one line of a shell does to what is known about the runs that follow."""

    options: Options | None = None  # of the test, if the line runs it
    parameters: dict[str, bool] = field(default_factory=dict)  # that it sets or shows
    unreadable: frozenset[str] = frozenset()  # parameters that it sets to what cannot be read
    unloaded: frozenset[str] = frozenset()  # modules whose parameters are at their defaults from now on
    prints: tuple[str, ...] = ()  # what the lines after it show: parameters, host, kernel_release
    host: str | None = None
    kernel_release: str | None = None

    def __bool__(self) -> bool:
        return self != ShellLine()


def without_prompt(line: str) -> tuple[str, str | None]:
    """The command of a line behind its prompt, and the host that the prompt names."""
    match = _PROMPT.match(line)
    if match is None:
        return line, None
    who = match["boxed"] or match["plain"]
    return line[match.end() :], who.partition("@")[2] if who else None


def read_shell_line(line: str) -> ShellLine:
    """What the line does, if it is one of a shell or what one shows; an empty ShellLine for any other line.

    Raises SelftestError, or ConfigError, for an option of the test with which it would not run.
    """
    line = _SUBSTITUTED.sub("$_", line)
    if options := read_test(line):
        return ShellLine(options=options)
    if match := _PROC_VERSION.fullmatch(line):
        return ShellLine(kernel_release=match[1])
    if match := _UNAME.fullmatch(line):
        return ShellLine(host=match[1], kernel_release=match[2])
    if match := _SET.search(line):
        return _set({match[2]: match[1].strip("\"'")})
    if match := _MODULE_OPTIONS.fullmatch(line):
        return _set(_assignments(match[2]))
    if loads := [_modules(match[1], match[2].split()) for match in _MODPROBE.finditer(line)]:
        return reduce(_then, loads)
    if found := _BOOT.findall(line):
        return _set(dict(found))
    if match := _SHOWN.fullmatch(line):
        return _set({match[1]: match[2]})
    if match := _READS.search(line):
        return ShellLine(prints=tuple(path.rpartition("/")[2] for path in match[1].split()))
    if re.fullmatch(r"uname -r", line):
        return ShellLine(prints=("kernel_release",))
    return ShellLine(prints=("host",)) if re.fullmatch(r"hostname(?: -[sf])?", line) else ShellLine()


def read_test(line: str) -> Options | None:
    """The options of a line that runs the test, as `set -x` or a copied prompt leaves it; None for any other line."""
    line = _SUBSTITUTED.sub("$_", line)  # what other commands print there is not to be seen
    name = _TEST.search(line)
    before = re.split(r"[;&|(]\s*", line[: name.start() + 1])[-1].rstrip() if name else ""
    if name is None or _NOT_RUN.match(before) or before.endswith(("-o", "-o ./")):
        return None
    rest = _ENDS.split(line[name.end() :])[0]
    try:
        words = shlex.split(rest)
    except ValueError:  # half of a quotation, as of `ssh host "./dirty_log_perf_test -v 4"`
        words = re.sub(r"[\"']", "", rest).split()
    if words and not re.match(r"-[A-Za-z]|[\"']?\$", words[0]):
        return None  # a sentence about the test
    return read_options(words)


def _set(values: dict[str, str]) -> ShellLine:
    switches = {name: parse_switch(text) for name, text in values.items()}
    readable = {name: value for name, value in switches.items() if value is not None}
    return ShellLine(parameters=readable, unreadable=frozenset(switches.keys() - readable.keys()))


def _assignments(text: str) -> dict[str, str]:
    pairs = (word.partition("=") for word in text.split())
    return {name: value for name, equals, value in pairs if equals and name in MODULES}


def _then(first: ShellLine, second: ShellLine) -> ShellLine:
    """What two commands about modules do, one after the other."""
    kept = {name: value for name, value in first.parameters.items() if MODULES[name] not in second.unloaded}
    unreadable = {name for name in first.unreadable if MODULES[name] not in second.unloaded}
    return ShellLine(
        parameters=kept | second.parameters,
        unreadable=frozenset(unreadable | second.unreadable) - second.parameters.keys(),
        unloaded=first.unloaded | second.unloaded,
    )


def _modules(command: str, words: list[str]) -> ShellLine:
    """modprobe and insmod give a module these parameters and its others their defaults; unloading forgets them all.

    A module is loaded before those that use it, so they too are new after it; with `modprobe -r` it may go with them.
    """
    names = [re.sub(r"\.ko$", "", word.rpartition("/")[2]).replace("-", "_") for word in words if "=" not in word]
    modules = [name for name in names if name in MODULES.values()]
    removes = command == "rmmod" or any(word in ("-r", "--remove", "-ra") for word in words)
    given = _set(_assignments(" ".join(words)))
    if not modules or not (removes or given):
        return ShellLine()  # loading a module that is there already changes nothing
    everything = frozenset(MODULES.values())
    gone = everything if "kvm" in modules or (removes and command != "rmmod") else frozenset(modules)
    return ShellLine(parameters=given.parameters, unreadable=given.unreadable, unloaded=gone)
