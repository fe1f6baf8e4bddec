"""Cost profiles: every constant of the timing model, read from a TOML file.

A profile is a set of named parameters, `section.name`, in nanoseconds unless the name says otherwise. The code holds
no cost of its own; docs/model.md tells where each value comes from and which of them the data determine.
"""

from __future__ import annotations

import functools
import hashlib
import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from core.errors import ProfileError

PARAMETERS: Final[Mapping[str, str]] = {
    "machine.cores": "physical cores of the host; beyond that many vCPUs, hyperthread siblings share a core",
    "machine.cpus": "logical CPUs of the host; with that many vCPUs the test's own main thread has none to itself",
    "machine.node_gib": "memory whose KVM metadata fits one NUMA node, GiB",
    "guest.read_ns": "one read of a mapped 4K page: the load, its TLB miss and page walk",
    "guest.write_ns": "one write of a mapped 4K page whose D-bit is set",
    "guest.huge_access_ns": "one access through a 2M or 1G leaf",
    "guest.pml_entry_ns": "a write that sets a D-bit and logs it, beyond a plain write",
    "guest.pml_exit_ns": "the exit that empties a full PML buffer of 512 entries",
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
    "lock.hand_base_ns": "handing mmu_lock, held for write, to the next CPU: constant part",
    "lock.hand_log2_ns": "the same, per doubling of the vCPUs that share it",
    "lock.line_ns": "one atomic of a reader on the lock's cache line, which has to come from another core",
    "lock.uncontended_ns": "taking and releasing the lock with nobody near",
    "ioctl.bitmap_page_ns": "allocating and clearing the dirty bitmap, per page of the slot",
    "ioctl.scan_head_ns": "visiting one rmap head",
    "ioctl.scan_head_nested_ns": "the same, nested",
    "ioctl.walk_entry_ns": "visiting one existing entry of the TDP MMU's tree",
    "ioctl.protect_ns": "write-protecting one SPTE or clearing its D-bit while walking a whole slot",
    "ioctl.split_tdp_ns": "splitting a huge leaf, per child SPTE, tdp",
    "ioctl.split_rmap_ns": "the same, legacy_tdp and shadow: with the child's rmap entry",
    "ioctl.split_nested_ns": "the same, nested",
    "ioctl.clear_split_dbit_ns": "clearing the D-bit of one page that the same clear has split (tdp, legacy_tdp)",
    "ioctl.clear_split_protect_ns": "write-protecting one page that the same clear has split (shadow, nested)",
    "ioctl.clear_page_tdp_ns": "re-protecting one dirty page, tdp",
    "ioctl.clear_page_dbit_ns": "the same, legacy_tdp",
    "ioctl.clear_page_protect_ns": "the same, shadow and nested",
    "ioctl.clear_word_nested_ns": "walking L1's own tree too for each 64-page word of a clear, nested",
    "ioctl.get_word_ns": "copying one 64-page word of the dirty bitmap to user space",
    "ioctl.zap_ns": "dropping one 4K leaf, or putting a huge one in the place of a table, when logging is disabled",
    "ioctl.flush_ns": "one request to flush all TLBs",
    "ioctl.flush_vcpu_ns": "the same, per vCPU",
    "ioctl.remote_scan": "growth of rmap and table scans when all metadata is remote",
    "ioctl.remote_update": "growth of the other ioctl work when all metadata is remote",
}
"""Every parameter a profile must give, with its meaning."""

_BUILT_IN: Final = Path(__file__).parent / "profiles"


@dataclass(frozen=True, slots=True)
class Profile:
    """A named set of costs. `digest` identifies the values, whatever the file is called."""

    name: str
    values: Mapping[str, float]
    digest: str

    def __getitem__(self, parameter: str) -> float:
        return self.values[parameter]


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
        document = tomllib.loads(path.read_text())
    except OSError:
        raise ProfileError(
            f"profile: no profile {name!r}; allowed: {', '.join(built_in_profiles())}, or the path of a .toml file"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ProfileError(f"profile {path}: not TOML: {error}") from None
    return profile_of(name, dict(_flattened(document)), str(path))


def profile_of(name: str, values: Mapping[str, object], source: str) -> Profile:
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
    digest = hashlib.sha256(json.dumps(numbers, sort_keys=True).encode()).hexdigest()[:16]
    return Profile(name, numbers, digest)


def _flattened(document: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    for section, content in document.items():
        if isinstance(content, dict):
            yield from ((f"{section}.{name}", value) for name, value in content.items())
        else:
            yield section, content
