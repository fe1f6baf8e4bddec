"""From a run and what is said about it to its config: nothing is guessed that the output or the words do not settle.

What says a field, the first that does: words in the file, the command line of the test, words of the user, the module
parameters and the kernel's release, what the test takes by default. What the test printed must agree with all of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from core.config import CHOICES, MEM_TOTAL, Config, field_text, make_config
from core.errors import ConfigError
from core.kvm.errors import SelftestError
from core.kvm.output import Preamble, Timing
from core.kvm.parameters import DECIDES, meant_fields
from core.kvm.releases import Release, generation, parse_release
from core.sizes import PAGE_BYTES, PAGE_SIZES, format_size
from sweep.evidence.measurements import MeasurementError
from sweep.evidence.selftest.said import Said
from sweep.evidence.selftest.text import TimedRun

SAY_IT: Final = "say it in a word after the file, or in a line `# {0}` before the run"
_OLDER: Final = Release(5, 17)


@dataclass(frozen=True, slots=True)
class ConfiguredRun:
    """A run with its config (repeat = 0), where it comes from, and what a user should know about it."""

    place: str  # FILE:LINE
    config: Config
    timings: tuple[Timing, ...]
    host: str | None
    kernel_release: str | None
    source: str
    started_at: datetime  # as near as is known: when the file was written
    notes: tuple[str, ...]


def configured_run(run: TimedRun, words: Said, source: str, written_at: datetime) -> ConfiguredRun:
    """The run with its config; MeasurementError naming its place if something is missing or contradicts another."""
    notes: list[str] = []
    try:
        config = make_config(_fields(run, words, notes))
    except (ConfigError, SelftestError, MeasurementError) as error:
        raise MeasurementError(f"{run.place}: {error}") from None
    timings = run.printed.timings
    if run.options.disables_while_running:
        timings = tuple(timing for timing in timings if timing.phase != "disable")
    notes += [f"-{letter} is passed over: it {why}" for letter, why in run.options.ignored.items()]
    said = words.then(run.said)
    release = said.kernel_release
    if release and config.kernel not in release:
        notes.append(f"kernel {release} behaves as generation {config.kernel}")
    return ConfiguredRun(run.place, config, timings, said.host, release, source, written_at, tuple(notes))


def _fields(run: TimedRun, words: Said, notes: list[str]) -> dict[str, object]:
    """Every field that is said or follows."""
    stated = _stated(run, words)
    said = words.then(run.said)
    release = _release(stated, said, run.printed.preamble, notes)
    if release and "kernel" not in stated:
        stated["kernel"] = generation(release)
    parameters = {name: value for name, value in said.parameters.items() if DECIDES[name] not in run.said.fields}
    _check_words_against(parameters, words)
    meant = meant_fields(parameters, stated, release)
    _check_all_readable(run, stated | meant)
    if "split" in meant and "eager_page_split" not in parameters and stated.get("backing", "4K") != "4K":
        notes.append(f"split={meant['split']}: KVM of that release does not split eagerly on {_mmu(stated, meant)}")
    label = said.label
    fields = stated | meant | ({"label": label} if label else {})
    fields |= _memory_fields(run, fields) | _backing_field(run, fields, notes)
    fields.pop(MEM_TOTAL, None)
    return fields


def _stated(run: TimedRun, words: Said) -> dict[str, object]:
    """The fields that are said by name, checked against each other and against what the test printed."""
    for name, value in words.fields.items():
        if name not in run.said.fields:
            _check_agrees(name, value, run.options.fields.get(name, value), "the test's command line")
    stated = {**words.fields, **run.options.fields, **run.said.fields}
    printed: dict[str, object] = {"iterations": run.printed.iterations, "manual_protect": run.printed.has_clear}
    if run.printed.preamble.seed is not None:
        printed["seed"] = run.printed.preamble.seed
    if run.printed.preamble.nested:
        printed["mmu"] = "nested"
    for name, value in printed.items():
        _check_agrees(name, stated.get(name, value), value, "what the test printed")
    return stated | printed


def _release(stated: Mapping[str, object], said: Said, preamble: Preamble, notes: list[str]) -> Release | None:
    """The release of the kernel as far as it is known, or bounded by how old the test is."""
    if said.kernel_release:
        return parse_release(said.kernel_release)
    if "kernel" in stated:
        return parse_release(str(stated["kernel"]))
    if preamble.old:
        notes.append(
            "the test is older than 5.18, as its line 'offset' shows: taken for a kernel of its time, which does not "
            "split eagerly; say kernel=RELEASE if it is another"
        )
        return _OLDER
    return None


def _mmu(stated: Mapping[str, object], meant: Mapping[str, object]) -> object:
    return {**stated, **meant}.get("mmu", Config().mmu)


def _check_words_against(parameters: Mapping[str, bool], words: Said) -> None:
    """A word of the user for all runs may not deny what the file says of this one."""
    if parameters.get("eager_page_split") is False and words.fields.get("split") == "eager":
        raise MeasurementError("split: eager is given, but eager_page_split=N holds for this run")
    two_dimensional = parameters.get("ept", parameters.get("npt", True))
    if "mmu" in words.fields and words.fields["mmu"] != "nested" and not words.parameters:
        found = meant_fields(parameters, {}, None).get("mmu", words.fields["mmu"])
        if two_dimensional is False or "tdp_mmu" in parameters:
            _check_agrees("mmu", words.fields["mmu"], found, "KVM's module parameter")


def _check_all_readable(run: TimedRun, fields: Mapping[str, object]) -> None:
    """Raise MeasurementError for a field that a value decided which the file does not show."""
    for name in sorted(run.unreadable):
        if DECIDES[name] not in run.said.fields and DECIDES[name] not in fields:
            raise MeasurementError(_unsaid(DECIDES[name], f"what was written to {name} is not in the file"))
    if run.options.unclear_backing and "backing" not in fields:
        raise MeasurementError(_unsaid("backing", f"-s {run.options.unclear_backing} does not tell the page size"))
    memory = run.printed.preamble.memory
    for name in sorted(run.options.unreadable - fields.keys()):
        if memory is None or name not in ("vcpus", "mem_per_vcpu"):
            raise MeasurementError(_unsaid(name, "its value in the command line of the test is not in the file"))


def _unsaid(name: str, why: str) -> str:
    values = {"split": "lazy", "mmu": "tdp", "backing": "1G", "vcpus": "64", "mem_per_vcpu": "1GiB", "pml": "true"}
    return f"{name}: {why}; {SAY_IT.format(name + '=' + values.get(name, 'VALUE'))}"


def _memory_fields(run: TimedRun, fields: Mapping[str, object]) -> dict[str, object]:
    """vcpus and mem_per_vcpu: their product is the size of the memory that the test printed."""
    found = {name: fields.get(name, run.options.default(name)) for name in ("vcpus", "mem_per_vcpu")}
    vcpus, each = (value if isinstance(value, int) else None for value in found.values())
    total = fields.get(MEM_TOTAL)
    memory = run.printed.preamble.memory or (total if isinstance(total, int) else None)
    if total is not None:
        _check_agrees(MEM_TOTAL, total, memory, "what the test printed")
    if memory is None or (vcpus is None and each is None and memory == Config().mem_per_vcpu):
        return {name: value for name, value in found.items() if value is not None}
    if vcpus is None and each is None:
        raise MeasurementError(
            _unsaid("vcpus", f"the test memory is {format_size(memory)}, and nothing says how many vCPUs share it")
        )
    if vcpus is None and each and memory % each == 0:
        return {"vcpus": memory // each, "mem_per_vcpu": each}
    if each is None and vcpus and memory % (vcpus * PAGE_BYTES) == 0:
        return {"vcpus": vcpus, "mem_per_vcpu": memory // vcpus}
    if vcpus is None or each is None or vcpus * each != memory:
        count, size = vcpus or "vcpus", format_size(each) if each else "mem_per_vcpu"
        raise MeasurementError(
            f"vcpus: the test memory is {format_size(memory)}, which is not {count} x {size}; "
            "correct vcpus or mem_per_vcpu"
        )
    return {"vcpus": vcpus, "mem_per_vcpu": each}


def _backing_field(run: TimedRun, fields: Mapping[str, object], notes: list[str]) -> dict[str, object]:
    """The backing, which the start of the memory bounds: the test aligns it, and KVM maps nothing larger.

    With 4K pages the memory starts a page below what is aligned, so a start that is aligned tells of huge pages.
    """
    start = run.printed.preamble.start
    backing = fields.get("backing", run.options.default("backing"))
    aligned = "4K" if start is None else _aligned(start)
    if backing is None:
        if aligned != "4K":
            notes.append(
                f"backing={aligned}: nothing says it, but the memory starts at {start:#x}, which is aligned so"
            )
        return {"backing": aligned}
    if start is not None and PAGE_SIZES[str(backing)] > PAGE_SIZES[aligned]:
        notes.append(
            f"warning: backing={backing} cannot be: the memory starts at {start:#x}, so KVM maps pages of {aligned}; "
            f"taken as backing={aligned}"
        )
        return {"backing": aligned}
    return {"backing": backing}


def _aligned(start: int) -> str:
    """The largest page that may start at this address."""
    fitting = [size for size in CHOICES["backing"] if start % (PAGE_SIZES[size] * PAGE_BYTES) == 0]
    if not fitting:
        raise MeasurementError(f"the memory starts at {start:#x}, where no page does; is a digit lost?")
    return max(fitting, key=lambda size: PAGE_SIZES[size])


def _check_agrees(name: str, given: object, found: object, source: str) -> None:
    if given != found:
        raise MeasurementError(
            f"{name}: {field_text(name, given)} is given, but {source} says {field_text(name, found)}"
        )
