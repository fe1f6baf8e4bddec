"""`splitsweep explain`: one config run here and now, and where its time goes, phase by phase, ending in plain words.

The words are derived from the row's own numbers: which part of the time is largest, and which of the counted events
(model.md section 3) cause it. Nothing is said that a count does not show.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from core.config import Config, config_notes, config_record, config_text
from core.rows import Row
from core.sizes import format_size
from sweep.showing.disturbance import disturbance_lines, disturbance_words
from sweep.showing.origin import cpus_beyond, facts_captions, run_facts

if TYPE_CHECKING:
    from rich.console import Console

WIDTH: Final = 100
BAR_WIDTH: Final = 40

COUNT_INDENT: Final = "  mmu_lock   "
"""What stands before the counts of a kind: all such labels are as wide."""

COUNTS_FROM: Final = 0.2
"""A phase is worth a sentence from this share of the longest phase on."""

TIME_PARTS: Final[Mapping[str, str]] = {
    "guest_seconds": "guest",
    "exit_seconds": "exits",
    "lock_wait_seconds": "lock wait",
    "lock_hold_seconds": "lock hold",
    "other_seconds": "other",
}

VCPU_PHASES: Final = ("populate", "dirty", "after_disable")
"""Phases in which the vCPUs run; the others are one ioctl each."""

OTHER_IS: Final[Mapping[str, str]] = {
    "enable": "outside mmu_lock: allocating the dirty bitmap, flushing TLBs",
    "get": "outside mmu_lock: copying the dirty bitmap to user space",
    "clear": "outside mmu_lock: flushing TLBs",
    "disable": "outside mmu_lock: flushing TLBs",
}
"""What the ioctls do in the time that is neither lock wait nor lock hold."""

OTHER_OF_VCPUS: Final = "from the start of the pass to each vCPU's own start"

UPPER_STALLS: Final = ("stall_p90_ns", "stall_p99_ns", "stall_p999_ns")
EQUAL_WITHIN: Final = 1.1
"""Where the upper percentiles are as near to each other as this, the stalls have no tail, which no host shows."""

FAULT_KINDS: Final[Mapping[str, str]] = {
    "faults_not_present": "not present",
    "faults_not_present_read": "of them by reads",
    "faults_write_protect": "write-protected",
    "faults_fast": "fixed lock-free",
    "faults_spurious": "spurious",
}

LEAF_EVENTS: Final[Mapping[str, str]] = {
    "splits_1g": "1G split",
    "splits_2m": "2M split",
    "zapped_1g": "1G dropped",
    "zapped_2m": "2M dropped",
    "zapped_4k": "4K dropped",
    "write_protected": "write-protected",
    "dirty_cleared": "D-bits cleared",
    "tables_allocated": "tables allocated",
    "tables_freed": "tables freed",
    "tlb_flushes": "TLB flushes",
}

STALLS: Final[Mapping[str, str]] = {
    "stall_p50_ns": "p50",
    "stall_p90_ns": "p90",
    "stall_p99_ns": "p99",
    "stall_p999_ns": "p99.9",
    "stall_max_ns": "max",
}


class Line(NamedTuple):
    """One line of the explanation and the Rich style that a terminal shows it in."""

    text: str
    style: str = ""


def explanation(config: Config, rows: Sequence[Row]) -> Iterator[Line]:
    """The whole explanation of a config and the phase rows that the engine returned for it."""
    yield Line(f"{machine_text(config)}: {config_text(config)}", "bold")
    for note in config_notes(config):
        yield Line(f"note: {note}", "yellow")
    written = {row["iteration"]: int(row["pages_written"]) for row in rows if row["phase"] == "dirty"}
    for row in rows:
        yield Line("")
        yield from _time_lines(config, row)
        yield from _count_lines(row, written.get(row["iteration"], 0))
        yield from _stall_lines(config, row)
        yield from map(Line, disturbance_lines(row))
    yield Line("")
    for sentence in closing_words(config, rows):
        yield Line(sentence, "bold")
    for caption in facts_captions([run_facts(config)]):
        yield Line(caption, "dim")


def print_explanation(lines: Iterable[Line], console: Console) -> None:
    """Colours and solid bars on a terminal, plain ASCII elsewhere; long lines go on below their text."""
    for text, style in lines:
        indent = " " * len(COUNT_INDENT) if text.startswith(" ") else ""
        shown = "\n".join(textwrap.wrap(text, WIDTH, subsequent_indent=indent))
        if console.is_terminal:
            shown = shown.replace("#", "█")
        console.print(shown, style=style, markup=False, highlight=False, soft_wrap=True)


def closing_words(config: Config, rows: Sequence[Row]) -> Iterator[str]:
    """What dominates while the memory is logged: the longest phase, and the longest of another kind if it counts."""
    logged = [row for row in rows if row["phase"] not in ("populate", "after_disable")]
    longest: dict[str, Row] = {}
    for row in sorted(logged, key=lambda row: float(row["seconds"]), reverse=True):
        longest.setdefault(row["phase"], row)
    first, second, *_ = longest.values()
    yield phase_words(config, first)
    if second["seconds"] > COUNTS_FROM * first["seconds"]:
        yield phase_words(config, second)


def phase_words(config: Config, row: Row) -> str:
    """One sentence: which part of the phase's time is the largest, and why."""
    total = _total_time(row)
    if not total:
        return f"{phase_name(row)} takes no time."
    if row.get("dip_depth") is not None:
        return f"{phase_name(row)} ({row['seconds']:.6f} s): {_ioctl_cause(row)}; {disturbance_words(row)}."
    part = max(TIME_PARTS, key=lambda name: float(row[name]))
    whose = "of vCPU time" if row["phase"] in VCPU_PHASES else "of the ioctl"
    doing = {
        "guest_seconds": "is the guest itself",
        "exit_seconds": "goes into exits and the lock-free part of faults",
        "lock_wait_seconds": "waits for mmu_lock",
        "lock_hold_seconds": "is spent holding mmu_lock",
        "other_seconds": "is work outside mmu_lock",
    }[part]
    cause = _vcpu_cause(config, row) if row["phase"] in VCPU_PHASES else _ioctl_cause(row)
    return f"{phase_name(row)} ({row['seconds']:.6f} s): {row[part] / total:.0%} {whose} {doing}: {cause}."


def machine_text(config: Config) -> str:
    """`64 vCPUs x 1GiB`."""
    return f"{config.vcpus} {'vCPU' if config.vcpus == 1 else 'vCPUs'} x {format_size(config.mem_per_vcpu)}"


def phase_name(row: Row) -> str:
    """`enable`, `dirty 1`: the phase with its iteration."""
    return f"{row['phase']} {row['iteration']}" if row["iteration"] else str(row["phase"])


def _time_lines(config: Config, row: Row) -> Iterator[Line]:
    """The length of the phase, and the parts of all threads' time that a percentage with one digit can show."""
    yield Line(f"{phase_name(row)}: {row['seconds']:.9f} s{_trust_text(config, row)}", "bold cyan")
    total = _total_time(row)
    of_vcpus = row["phase"] in VCPU_PHASES
    if row.get("dip_depth") is not None:
        yield Line(f"  time of the ioctl and of the vCPUs that ran meanwhile added up, {total:.9f} s:")
    elif of_vcpus and config.vcpus > 1:
        yield Line(f"  time of all {config.vcpus} vCPUs added up, {total:.9f} s:")
    for name, label in TIME_PARTS.items():
        if row[name] > total * 0.0005:
            bar = "#" * round(row[name] / total * BAR_WIDTH)
            yield Line(f"  {label:<10} {row[name] / total:6.1%} {row[name]:16.9f} s  {bar}".rstrip())
    if row["other_seconds"] > total * 0.0005:
        yield Line(f"  (other: {OTHER_OF_VCPUS if of_vcpus else OTHER_IS[row['phase']]})", "dim")


def _trust_text(config: Config, row: Row) -> str:
    """How far the time can be trusted: its 90% interval, and whether it lies outside what the profile's host shows."""
    words = []
    if row["seconds_hi"] is not None:
        words.append(f"90%: {row['seconds_lo']:.4g} to {row['seconds_hi']:.4g} s")
    beyond = cpus_beyond(config_record(config))
    if beyond is not None:
        words.append(f"extrapolated: beyond {beyond} CPUs")
    return f" ({'; '.join(words)})" if words else ""


def _count_lines(row: Row, pages_written: int) -> Iterator[Line]:
    """The counts that are not zero, a line for each kind of event."""
    if row["accesses"]:
        yield Line(f"  accesses   {row['accesses']:,} (reads: {row['reads']:,}, writes: {row['writes']:,})")
    if row["faults"]:
        yield Line(f"  faults     {row['faults']:,} ({_counted(row, FAULT_KINDS)})")
    if events := _counted(row, LEAF_EVENTS):
        yield Line(f"  leaves     {events}")
    if row["pml_entries"]:
        yield Line(f"  PML        entries: {row['pml_entries']:,}, exits for a full buffer: {row['pml_exits']:,}")
    if row["dirty_pages"]:
        yield Line(f"  dirty      {_dirty_text(int(row['dirty_pages']), pages_written)}")
    if row["lock_acquisitions"]:
        share = row["lock_contended"] / row["lock_acquisitions"]
        yield Line(
            f"  mmu_lock   taken: {row['lock_acquisitions']:,}, waited for: {row['lock_contended']:,} ({share:.0%})"
        )


def _stall_lines(config: Config, row: Row) -> Iterator[Line]:
    """What accesses took beyond plain ones; a distribution without a tail is the simulator's, and is called so."""
    if not row["stall_max_ns"]:
        return
    yield Line(f"  stalls     {', '.join(f'{label} {_time_text(row[name])}' for name, label in STALLS.items())}")
    low, *_, high = (row[name] for name in UPPER_STALLS)
    if config.engine == "sim" and low and high <= low * EQUAL_WITHIN:
        in_step = "simulated vCPUs are in step, each waits as long as every other"
        waiting = row["lock_wait_seconds"] > row["exit_seconds"]
        reason = in_step if waiting else "a simulated event costs the same each time"
        yield Line(f"  (p90 to p99.9 are equal: {reason}; on a host they spread)", "dim")


def _counted(row: Row, names: Mapping[str, str]) -> str:
    return ", ".join(f"{label}: {row[name]:,}" for name, label in names.items() if row[name])


def _dirty_text(reported: int, written: int) -> str:
    """Pages reported dirty against pages written: a migration sends the difference for nothing."""
    text = f"pages reported: {reported:,}, written: {written:,}"
    return f"{text} ({reported / written:.2f} reported for each written)" if 0 < written < reported else text


def _time_text(nanoseconds: float | None) -> str:
    """A stall with three digits in the unit that suits it."""
    if nanoseconds is None:
        return "-"
    for unit, size in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if nanoseconds >= size:
            return f"{nanoseconds / size:.3g} {unit}"
    return f"{nanoseconds:.3g} ns"


def _total_time(row: Row) -> float:
    return float(sum(row[name] for name in TIME_PARTS))


def _vcpu_cause(config: Config, row: Row) -> str:
    """Why the vCPUs spend their time so, from the most frequent kind of fault."""
    fast, missing = int(row["faults_fast"]), int(row["faults_not_present"])
    slow = int(row["faults_write_protect"]) - fast
    if row["lock_wait_seconds"] + row["lock_hold_seconds"] > row["exit_seconds"] and slow + missing > 0:
        fast = 0  # whatever is fixed without the lock does not explain time spent on it
    most = max(fast, slow, missing)
    if most == 0:
        return _no_fault_cause(row)
    each = _per_access(most, row["accesses"])
    if most == missing:
        return f"{_many(missing)} not-present faults{each}, {_not_present_reason(config, row)}"
    if most == slow:
        return f"{_many(slow)} write-protection faults{each}, {_slow_fix_reason(config, row)}"
    return f"{_many(fast)} write-protection faults{each}, fixed by fast_page_fault without the lock"


def _no_fault_cause(row: Row) -> str:
    if row["pml_entries"]:
        exits = _many(row["pml_exits"])
        return f"no access faults, and {_many(row['pml_entries'])} pages are logged by PML with {exits} exits"
    return "no access faults"


def _not_present_reason(config: Config, row: Row) -> str:
    if row["zapped_1g"] or row["zapped_2m"]:
        return f"because lazy splitting dropped {_huge(row, 'zapped')}"
    if row["phase"] == "dirty" and config.split == "lazy":
        return "because lazy splitting dropped the huge pages in an earlier pass"
    if row["phase"] == "after_disable":
        return "because disabling dropped the SPTEs, and every range is mapped again at its first touch"
    return "because every range is mapped at its first touch"


def _slow_fix_reason(config: Config, row: Row) -> str:
    if row["splits_1g"] or row["splits_2m"]:
        return f"which split {_huge(row, 'splits')} on the way and each make one page writable under mmu_lock"
    if config.mmu in ("shadow", "nested"):
        return f"because each first write to a protected page takes mmu_lock for write on {config.mmu}"
    return "because pages that were protected while huge take the slow path once"


def _ioctl_cause(row: Row) -> str:
    """What the ioctl did to the leaves; an ioctl that changed none has only looked at them."""
    if row["splits_1g"] or row["splits_2m"]:
        return f"it splits {_huge(row, 'splits')}"
    protected = row["write_protected"] + row["dirty_cleared"]
    zapped = row["zapped_1g"] + row["zapped_2m"] + row["zapped_4k"]
    if zapped > protected:
        return f"it drops {_many(zapped)} leaves"
    if row["phase"] == "get" and not protected:
        return "it copies the dirty bitmap"
    if protected > row["pages_1g"] + row["pages_2m"]:
        return f"it protects {_many(protected)} 4K pages again"
    leaves = row["pages_1g"] + row["pages_2m"] + row["pages_4k"]
    return f"it splits nothing, and visits the memslots' pages to find {_many(leaves)} leaves"


def _huge(row: Row, event: str) -> str:
    """`64 1G pages and 32,768 2M pages`: the huge leaves that were split or dropped."""
    counts = {"1G": row[f"{event}_1g"], "2M": row[f"{event}_2m"]}
    return " and ".join(_pages(count, size) for size, count in counts.items() if count)


def _pages(count: int, size: str) -> str:
    return f"one {size} page" if count == 1 else f"{count:,} {size} pages"


def _per_access(count: int, accesses: int) -> str:
    if not accesses:
        return ""
    if count > accesses * 0.99:
        return ", one per access"
    return f", {count / accesses:.2f} per access"


def _many(count: int) -> str:
    """`16.8 million`, `131 thousand` or the number itself."""
    if count >= 1_000_000:
        return f"{count / 1e6:.1f} million"
    return f"{count / 1e3:.0f} thousand" if count >= 10_000 else f"{count:,}"
