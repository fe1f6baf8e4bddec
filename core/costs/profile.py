"""Cost profiles: every constant of the timing model, read from a TOML file.

A profile is a set of named parameters, `section.name`, in nanoseconds unless the name says otherwise. The code holds
no cost of its own; docs/model.md tells where each value comes from and which of them the data determine.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from core.costs.beliefs import BELIEFS
from core.errors import ProfileError

PARAMETERS: Final[Mapping[str, str]] = {
    "machine.cores": "physical cores of the host; beyond that many vCPUs, hyperthread siblings share a core",
    "machine.cpus": "logical CPUs of the host; with that many vCPUs the test's own main thread has none to itself",
    "machine.node_gib": "memory whose KVM metadata fits one NUMA node, GiB",
    "machine.timeslice_ns": "how long the ioctl thread runs before it lets others, where vCPUs leave it no CPU",
    "guest.read_ns": "one read of another mapped page: its cache and TLB misses, as far as they do not overlap",
    "guest.write_ns": "one write of another mapped page whose D-bit is set",
    "guest.small_leaf_ns": "an access through a 4K leaf, beyond one through a 2M or 1G leaf: a longer page walk",
    "guest.pml_entry_ns": "a write that sets a D-bit and logs it, beyond a plain write",
    "guest.pml_exit_ns": "the exit that empties a full PML buffer of 512 entries",
    "guest.kick_ns": "an exit that another CPU forces by an interrupt, and the way back",
    "guest.tlb_refill_ns": "what a vCPU loses once it is back from a flush of its TLB: walks that were cached before",
    "guest.contention": "growth of guest accesses when all cores are busy: shared memory bandwidth",
    "guest.stagger_log2_ns": "release and stragglers of a pass, times log2(vCPUs)",
    "guest.crowding": "growth of the slowest vCPU's own work when the test's main thread takes its CPU",
    "fault.outside_ns": "a fault without its critical section: exit, walk, allocation caches, gfn to pfn, entry",
    "fault.guest_walk_ns": "the same, more where KVM walks the guest's tables in software (shadow, nested)",
    "fault.fast_ns": "a whole fault that fast_page_fault fixes without the lock",
    "fault.sibling": "growth of faults' own work on a core whose sibling is busy too",
    "fault.map_ns": "critical section that maps one page of a direct table (tdp, legacy_tdp)",
    "fault.fix_ns": "critical section that makes one read-only SPTE of a direct table writable",
    "fault.shadow_map_ns": "critical section that maps one shadow page (shadow, nested)",
    "fault.shadow_fix_ns": "critical section that makes one read-only shadow SPTE writable",
    "fault.table_ns": "linking one new page table, inside the critical section",
    "fault.drop_ns": "dropping one huge leaf or table and requesting the flush",
    "fault.flush_cpu_ns": "flushing the TLB of one more CPU that is in guest mode and has to answer",
    "lock.hand_base_ns": "handing mmu_lock, held for write, to the next CPU, with nobody else in line",
    "lock.hand_log2_ns": "the same, more for every doubling of the CPUs that are at the lock now, beyond two",
    "lock.line_ns": "one atomic of a reader on the lock's cache line, which has to come from another core",
    "lock.uncontended_ns": "taking and releasing the lock with nobody near",
    "ioctl.slot_ns": "changing the flags of one slot: a new set of memslots, and the grace period of SRCU after it",
    "ioctl.bitmap_page_ns": "allocating and clearing the dirty bitmap, per page of the slot",
    "ioctl.scan_head_ns": "visiting one rmap head",
    "ioctl.scan_head_nested_ns": "the same, nested",
    "ioctl.walk_entry_ns": "visiting one 4K entry of the TDP MMU's tree",
    "ioctl.protect_ns": "write-protecting one 4K SPTE or clearing its D-bit while walking a whole slot",
    "ioctl.split_tdp_ns": "splitting a huge leaf, per child SPTE, tdp",
    "ioctl.split_rmap_ns": "the same, legacy_tdp and shadow: with the child's rmap entry",
    "ioctl.split_nested_ns": "the same, nested",
    "ioctl.split_cache_ns": "filling the cache of pages for one split anew (split_cache = refilled)",
    "ioctl.clear_page_tdp_ns": "re-protecting one dirty page, whose SPTE the guest's CPU has changed, tdp",
    "ioctl.clear_since_6_4": "that cost in kernels since 6.4, which change the SPTE in place, as a part of what it was",
    "ioctl.clear_page_dbit_ns": "re-protecting one dirty page by its D-bit, legacy_tdp",
    "ioctl.clear_page_protect_ns": "re-protecting one dirty page by write-protection, shadow, nested and legacy_tdp",
    "ioctl.clear_word_ns": "taking one 64-page word of the bitmap, and handing it to the MMU",
    "ioctl.walk_root_ns": "one walk of a clear from the root of the TDP MMU's tree to a 64-page word (tdp, nested)",
    "ioctl.get_word_ns": "copying one 64-page word of the dirty bitmap to user space",
    "ioctl.get_first_word_ns": "the same, more the first time: user space's bitmap has no pages yet",
    "ioctl.zap_tdp_ns": "dropping one 4K leaf with its table when logging is disabled, tdp",
    "ioctl.zap_rmap_ns": "dropping one 4K leaf by its rmap, legacy_tdp, shadow and nested",
    "ioctl.host_level_ns": "asking the host how large a page is when logging is disabled",
    "ioctl.flush_ns": "one request to flush all TLBs while no vCPU is in guest mode",
    "ioctl.remote_scan": "growth of rmap and table scans when all metadata is remote",
    "ioctl.remote_update": "growth of the other ioctl work when all metadata is remote",
    "live.fault_ns": "what the live engine does itself outside a fault's critical section: it spins so much less",
    "live.fast_ns": "the same, of a whole fault that is fixed without the lock",
}
"""Every parameter a profile must give, with its meaning."""

_BUILT_IN: Final = Path(__file__).parent / "profiles"


@dataclass(frozen=True, slots=True)
class Uncertainty:
    """What a fit says about its own errors, in coordinates (core.costs.beliefs) and logarithms of times."""

    parameters: tuple[str, ...]
    covariance: tuple[tuple[float, ...], ...]  # of the parameters, in their order
    scatter_pass: float  # standard deviation of a measured pass of the vCPUs around the fit
    scatter_ioctl: float  # of a measured ioctl
    undetermined: tuple[str, ...] = ()  # parameters that rest on what was known before: the data say little of them


@dataclass(frozen=True, slots=True)
class Profile:
    """A named set of costs. `digest` identifies its content, whatever the file is called."""

    name: str
    values: Mapping[str, float]
    digest: str
    uncertainty: Uncertainty | None = None
    text: str = field(default="", compare=False, repr=False)  # of its file, if it comes from one

    def __getitem__(self, parameter: str) -> float:
        return self.values[parameter]

    def __hash__(self) -> int:
        return hash(self.digest)


def built_in_profiles() -> list[str]:
    """Names of the profiles that come with splitsweep."""
    return sorted(path.stem for path in _BUILT_IN.glob("*.toml"))


@functools.cache
def load_profile(name: str) -> Profile:
    """The profile called `name`: one that comes with splitsweep, or the path of a TOML file.

    Raises ProfileError when there is no such profile, or when it lacks a parameter or has one too many.
    """
    path = Path(name) if name.endswith(".toml") else _BUILT_IN / f"{name}.toml"
    try:
        text = path.read_text(encoding="utf-8-sig")  # some editors put a byte order mark first
        document = tomllib.loads(text)
    except UnicodeDecodeError:
        raise ProfileError(f"profile {path}: not a text file; a profile is TOML in UTF-8") from None
    except IsADirectoryError:
        raise ProfileError(f"profile {path}: is a directory; give the profile's file itself") from None
    except OSError:
        raise ProfileError(
            f"profile: no profile {name!r}; allowed: {', '.join(built_in_profiles())}, or the path of a .toml file"
        ) from None
    except (ValueError, RecursionError) as error:  # ValueError: tomllib lets it through for numbers of 4300 digits
        raise ProfileError(f"profile {path}: not TOML: {error}") from None
    fit = document.pop("fit", None)
    uncertainty = None if fit is None else _uncertainty_of(fit, str(path))
    profile = profile_of(name, dict(_flattened(document)), str(path), uncertainty)
    return dataclasses.replace(profile, text=text)


def profile_of(name: str, values: Mapping[str, object], source: str, uncertainty: Uncertainty | None = None) -> Profile:
    """A checked Profile of `values` (parameter -> number); `source` names them in errors."""
    for parameter in values:
        if parameter not in PARAMETERS:
            raise ProfileError(f"profile {source}: {parameter}: no such parameter; see docs/model.md for the list")
    numbers: dict[str, float] = {}
    for parameter in PARAMETERS:
        value = values.get(parameter)
        if value is None:
            raise ProfileError(f"profile {source}: {parameter} is missing ({PARAMETERS[parameter]})")
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e12:
            raise ProfileError(f"profile {source}: {parameter}: {value!r} is not a number from 0 to 1e12")
        numbers[parameter] = float(value)
    _check_machine(numbers, source)
    content = json.dumps([numbers, uncertainty and dataclasses.asdict(uncertainty)], sort_keys=True)
    return Profile(name, numbers, hashlib.sha256(content.encode()).hexdigest()[:16], uncertainty)


def _check_machine(numbers: Mapping[str, float], source: str) -> None:
    """Raise ProfileError for a machine that cannot be: a cost may be 0, a size not."""
    cores = numbers["machine.cores"]
    if cores < 1:
        raise ProfileError(f"profile {source}: machine.cores: {cores:g} is not allowed; allowed: 1 or more")
    if numbers["machine.cpus"] < cores:
        cpus = f"machine.cpus: {numbers['machine.cpus']:g} is not allowed"
        raise ProfileError(f"profile {source}: {cpus}; allowed: at least as many as machine.cores, {cores:g}")
    if numbers["machine.node_gib"] == 0:
        raise ProfileError(f"profile {source}: machine.node_gib: 0 is not allowed; allowed: more than 0")


def _uncertainty_of(fit: object, source: str) -> Uncertainty:
    """The checked table [fit] of a profile file, which calibrate writes."""
    try:
        if not isinstance(fit, dict):
            raise TypeError("not a table")
        uncertainty = Uncertainty(
            parameters=tuple(map(str, fit["parameters"])),
            covariance=tuple(tuple(map(float, row)) for row in fit["covariance"]),
            scatter_pass=float(fit["scatter_pass"]),
            scatter_ioctl=float(fit["scatter_ioctl"]),
            undetermined=tuple(map(str, fit.get("undetermined", ()))),
        )
        sizes = {len(row) for row in uncertainty.covariance} | {len(uncertainty.covariance)}
        if sizes != {len(uncertainty.parameters)} or not set(uncertainty.parameters) <= set(BELIEFS):
            raise ValueError("its parameters and its covariance do not belong together")
    except (KeyError, TypeError, ValueError) as error:
        raise ProfileError(
            f"profile {source}: [fit]: {error}; let splitsweep calibrate write it, or leave it out"
        ) from None
    return uncertainty


def _flattened(document: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    for section, content in document.items():
        if isinstance(content, dict):
            yield from ((f"{section}.{name}", value) for name, value in content.items())
        else:
            yield section, content
