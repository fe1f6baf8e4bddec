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
    "guest.read_ns": "one read of a mapped 4K page: the load, its TLB miss and page walk",
    "guest.write_ns": "one write of a mapped 4K page whose D-bit is set",
    "guest.huge_access_ns": "one access through a 2M or 1G leaf",
    "guest.pml_entry_ns": "a write that sets a D-bit and logs it, beyond a plain write",
    "guest.pml_exit_ns": "the exit that empties a full PML buffer of 512 entries",
    "guest.memory_log2": "growth of guest accesses per doubling of vCPUs beyond 4: shared memory bandwidth",
    "guest.stagger_log2_ns": "release and stragglers of a pass, times log2(vCPUs)",
    "fault.outside_tdp_ns": "fault without its critical section, tdp: exit, walk, allocation caches, gfn to pfn, entry",
    "fault.outside_legacy_tdp_ns": "the same, legacy_tdp",
    "fault.outside_shadow_ns": "the same, shadow",
    "fault.outside_nested_ns": "the same, nested",
    "fault.fast_ns": "a whole fault that fast_page_fault fixes without the lock",
    "fault.map_tdp_ns": "critical section that maps one page, tdp",
    "fault.map_legacy_tdp_ns": "the same, legacy_tdp",
    "fault.map_shadow_ns": "the same, shadow",
    "fault.map_nested_ns": "the same, nested",
    "fault.fix_tdp_ns": "critical section that makes one read-only SPTE writable, tdp",
    "fault.fix_legacy_tdp_ns": "the same, legacy_tdp",
    "fault.fix_shadow_ns": "the same, shadow",
    "fault.fix_nested_ns": "the same, nested",
    "fault.table_ns": "linking one new page table, inside the critical section",
    "fault.drop_ns": "dropping one huge leaf or table and requesting the flush",
    "lock.hand_base_ns": "handing mmu_lock, held for write, to the next CPU: constant part",
    "lock.hand_log2_ns": "the same, per doubling of the vCPUs that share it",
    "lock.line_ns": "one atomic on the lock's cache line by a reader, while others use it too",
    "lock.uncontended_ns": "taking and releasing the lock with nobody near",
    "ioctl.bitmap_page_ns": "allocating and clearing the dirty bitmap, per page of the slot",
    "ioctl.scan_head_ns": "visiting one rmap head",
    "ioctl.walk_entry_ns": "visiting one existing entry of the TDP MMU's tree",
    "ioctl.protect_ns": "write-protecting one SPTE or clearing its D-bit while walking a whole slot",
    "ioctl.split_tdp_ns": "splitting a huge leaf, per child SPTE, tdp",
    "ioctl.split_legacy_tdp_ns": "the same, legacy_tdp: with the child's rmap entry",
    "ioctl.split_shadow_ns": "the same, shadow",
    "ioctl.split_nested_ns": "the same, nested",
    "ioctl.clear_word_ns": "visiting one 64-page word of the dirty bitmap in clear, or in a get that re-protects",
    "ioctl.clear_split_tdp_ns": "re-protecting one page that the same clear has split, tdp",
    "ioctl.clear_split_legacy_tdp_ns": "the same, legacy_tdp",
    "ioctl.clear_split_shadow_ns": "the same, shadow",
    "ioctl.clear_split_nested_ns": "the same, nested",
    "ioctl.clear_page_tdp_ns": "re-protecting one dirty page, tdp",
    "ioctl.clear_page_legacy_tdp_ns": "the same, legacy_tdp",
    "ioctl.clear_page_shadow_ns": "the same, shadow",
    "ioctl.clear_page_nested_ns": "the same, nested",
    "ioctl.get_word_ns": "copying one 64-page word of the dirty bitmap to user space",
    "ioctl.zap_ns": "dropping one 4K leaf, or putting a huge one in the place of a table, when logging is disabled",
    "ioctl.flush_ns": "one request to flush all TLBs",
    "ioctl.flush_vcpu_ns": "the same, per vCPU",
    "ioctl.node_gib": "memory whose KVM metadata fits one NUMA node, GiB",
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
