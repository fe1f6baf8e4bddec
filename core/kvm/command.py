"""From a config to the command line of the test that measures it, or the reason why none does."""

from __future__ import annotations

import re
from collections.abc import Set
from typing import Final

from core.config import Config
from core.kvm.errors import SelftestError
from core.kvm.options import fraction_of
from core.kvm.releases import EAGER_SPLITTING, SPLIT_AT_FAULT, Release, generation

HUGE_PAGE_SOURCES: Final = {"4K": "anonymous", "2M": "anonymous_hugetlb_2mb", "1G": "anonymous_hugetlb_1gb"}
"""The backing source for each backing: huge pages that are reserved, so that none is missing by chance."""

LEAST_ITERATIONS: Final = 2  # the test refuses fewer


def offered_options(usage: str) -> frozenset[str]:
    """The letters of the options that a test's own usage (`-h`) describes."""
    return frozenset(re.findall(r"^ *-([a-z]):", usage, re.MULTILINE))


def command_options(config: Config, offered: Set[str]) -> list[str]:
    """The words after the test's name that make it do what the config says.

    Raises SelftestError naming the field that the test cannot express.
    """
    _check_expressible(config)
    options = ["-v", str(config.vcpus), "-b", str(config.mem_per_vcpu), "-i", str(config.iterations)]
    options += ["-s", HUGE_PAGE_SOURCES[config.backing]]
    if config.slots != 1:
        options += ["-x", str(config.slots)]
    if not config.partitioned:
        options.append("-o")
    if not config.manual_protect:
        options.append("-g")
    if config.mmu == "nested":
        options.append("-n")
    if config.access_order == "random":
        options.append("-a")
    options += _writes(config, offered)
    if "r" in offered and (config.write_pattern == "random" or config.access_order == "random"):
        options += ["-r", str(config.seed)]
    for word in options:
        if word.startswith("-") and word[1:] not in offered:
            raise SelftestError(f"this test has no option {word}; take one of a newer kernel")
    return options


def check_release(config: Config, release: Release) -> None:
    """Raise SelftestError if a kernel of this release does not do what the config says."""
    if generation(release) != config.kernel:
        raise SelftestError(
            f"kernel: {config.kernel} is asked for, but this host's {release.major}.{release.minor} behaves as "
            f"{generation(release)}; say kernel={generation(release)}, or run on another host"
        )
    possible = _splits(config, release)
    if config.split not in possible:
        raise SelftestError(
            f"split: KVM {release.major}.{release.minor} does not split by {config.split} on {config.mmu}; "
            f"allowed: {', '.join(possible)}"
        )


def _splits(config: Config, release: Release) -> tuple[str, ...]:
    """The ways in which a kernel of this release splits huge pages on the config's MMU."""
    if config.leaf_level == 1:
        return ("eager", "lazy", "fault")  # there is nothing to split
    if config.mmu in ("legacy_tdp", "shadow"):
        return ("lazy",)
    by_fault = "fault" if config.mmu == "tdp" and release >= SPLIT_AT_FAULT else "lazy"
    return ("eager", by_fault) if release >= EAGER_SPLITTING else (by_fault,)


def _check_expressible(config: Config) -> None:
    wanted: dict[str, object] = {"granularity": "4K", "concurrent": False, "working_set": 100}
    wanted["initially_all_set"] = config.manual_protect
    if config.mmu in ("shadow", "nested"):
        wanted |= {"guest_page": "4K" if config.mmu == "shadow" else "1G", "guest_roots": 1}
    for name, value in wanted.items():
        if getattr(config, name) != value:
            given = str(getattr(config, name)).lower()
            raise SelftestError(f"{name}: the test cannot do {given}; allowed: {str(value).lower()}")
    if config.iterations < LEAST_ITERATIONS:
        raise SelftestError(f"iterations: the test wants at least {LEAST_ITERATIONS}, not {config.iterations}")


def _writes(config: Config, offered: Set[str]) -> list[str]:
    """The options for who writes: -w of tests from 6.2 on draws, -f of older ones takes every Nth page."""
    if config.write_percent == 100:
        return []
    if "w" in offered and (config.write_pattern == "random" or config.write_percent == 0):
        if config.populate_writes != "all":
            raise SelftestError("populate_writes: a test with -w writes all pages in populate; allowed: all")
        return ["-w", str(config.write_percent)]
    fraction = fraction_of(config.write_percent) if config.write_percent else None
    if "f" in offered and config.write_pattern == "stride" and fraction:
        if config.populate_writes != "same":
            raise SelftestError("populate_writes: a test with -f writes the same pages in populate; allowed: same")
        return ["-f", str(fraction)]
    has = "-w (write_pattern = random)" if "w" in offered else "-f (write_pattern = stride, every Nth page)"
    raise SelftestError(
        f"write_pattern: this test cannot write {config.write_percent}% as {config.write_pattern}; it has {has}"
    )
