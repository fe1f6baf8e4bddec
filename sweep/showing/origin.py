"""Whose numbers they are, in one line that is pasted with them, and what must be known before they are believed.

A table without its origin is a rumour: which memory and backing, which rules of KVM, which profile or host, which
version. The notes tell besides where a prediction is an extrapolation and where repeats disagree.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from core.config import FIELDS, Config, config_record, counterfactuals, field_text
from core.costs.profile import load_profile
from core.errors import ProfileError
from core.identity import ENGINE_VERSION
from sweep.showing.points import Facts
from sweep.showing.tables import Cell, Table, value_order

CAPTION_FACTS: Final = (
    "mem_per_vcpu",
    "backing",
    "kernel",
    "engine",
    "profile",
    "profile_digest",
    "host",
    "kernel_release",
    "engine_version",
    "revision",
)
"""What a caption is made of, in the order of the columns of a csv."""

LISTED: Final = 4
"""Of up to so many different values each is named; more sizes are a range, more words a number of them."""

DISAGREEMENT: Final = 1.5
"""Repeats of a measurement that lie apart by more than this factor have no median worth a name."""

DIGEST_SHOWN: Final = 8


def captions(tables: Iterable[Table]) -> list[str]:
    """The captions of all numbers in the tables; none without facts."""
    return facts_captions([cell.facts for table in tables for cell in table.cells.values() if cell.facts])


def extrapolation_notes(facts: Sequence[Facts]) -> Iterator[str]:
    """How many of the numbers are of more vCPUs than the profile's host has CPUs."""
    beyond = [cpus for fact in facts if (cpus := cpus_beyond(fact)) is not None]
    if beyond:
        hosts = "/".join(str(cpus) for cpus in sorted(set(beyond)))
        yield f"extrapolated: {len(beyond):,} of {len(facts):,} values, beyond the {hosts} CPUs of the profile's host"


def facts_captions(facts: Sequence[Facts]) -> list[str]:
    """A line for each engine that the numbers come from, which says all that CAPTION_FACTS hold."""
    return [
        _caption(engine, [fact for fact in facts if fact["engine"] == engine])
        for engine in sorted({fact["engine"] for fact in facts}, key=value_order("engine"))
    ]


def run_facts(config: Config) -> Facts:
    """The facts of a config that was run here and now, and is in no dataset."""
    here = {"host": socket.gethostname(), "kernel_release": os.uname().release, "revision": None}
    made_by = {"profile_digest": load_profile(config.profile).digest, "engine_version": ENGINE_VERSION}
    return config_record(config) | made_by | here


def trust_notes(tables: Sequence[Table]) -> Iterator[str]:
    """What keeps the numbers of the tables from being taken at their word."""
    cells = [cell for table in tables for cell in table.cells.values() if cell.value is not None]
    yield from dict.fromkeys(sentence for cell in cells for sentence in _counterfactuals(cell.facts))
    yield from extrapolation_notes([cell.facts for cell in cells if cell.facts])
    torn = [cell for cell in cells if _disagreement(cell) > DISAGREEMENT]
    if torn:
        rows, columns = tables[0].rows, tables[0].columns
        worst = max(torn, key=_disagreement)
        where = " ".join(f"{name}={field_text(name, worst.facts[name])}" for name in (rows, columns))
        yield (
            f"repeats disagree: {len(torn)} of {len(cells)} values are medians of repeats more than {DISAGREEMENT:g}x "
            f"apart, most at {where}: {worst.lowest:.4g} to {worst.highest:.4g} in {worst.repeats} repeats"
        )


def _counterfactuals(facts: Facts) -> list[str]:
    """What no kernel does of what the cell's config asks for; what a kernel was measured to do is none of it."""
    if not facts or facts["engine"] == "kvm":
        return []
    return counterfactuals(Config(**{name: facts[name] for name in FIELDS if name in facts}))


def cpus_beyond(facts: Facts) -> int | None:
    """The CPUs of the profile's host where a simulated config has more vCPUs than that: its times are extrapolated."""
    if facts["engine"] != "sim":
        return None
    try:
        cpus = int(load_profile(facts["profile"])["machine.cpus"])
    except ProfileError:  # a file of another machine
        return None
    return cpus if facts["vcpus"] > cpus else None


def _caption(engine: str, facts: Sequence[Facts]) -> str:
    def said(name: str) -> str:
        return _listed(name, {fact[name] for fact in facts if fact[name] is not None}) or "unknown"

    memory = f"{said('mem_per_vcpu')} per vCPU, backing {said('backing')}"
    host = f"host {said('host')}, kernel {said('kernel_release')}"
    revision = f" at {said('revision')}" if any(fact["revision"] for fact in facts) else ""
    version = f"engine version {said('engine_version')}{revision}"
    if engine == "kvm":
        return f"measured by KVM: {memory}, {host}"
    rules = f"MMU of kernel {said('kernel')}"
    if engine == "live":
        return f"measured by splitsweep's live engine: {memory}, {rules}, {host}, {version}"
    profiles = {(fact["profile"], fact["profile_digest"]) for fact in facts}
    profile = _listed("profile", {_profile_text(*profile) for profile in profiles})
    return f"simulated by splitsweep: {memory}, {rules}, profile {profile}, {version}"


def _profile_text(name: str, digest: str | None) -> str:
    return f"{name} ({digest[:DIGEST_SHOWN]})" if digest else name


def _listed(name: str, values: Iterable[object]) -> str:
    found = [field_text(name, value) for value in sorted(values, key=value_order(name))]
    if len(found) <= LISTED:
        return "/".join(found)
    return f"{found[0]} to {found[-1]}" if name == "mem_per_vcpu" else f"{len(found)} different ones"


def _disagreement(cell: Cell) -> float:
    """The factor between the largest and the least of a measurement's repeats; 1 where that says nothing."""
    if cell.facts.get("engine", "sim") == "sim" or not cell.highest or cell.lowest is None:
        return 1.0
    return cell.highest / cell.lowest if cell.lowest > 0 else float("inf")
