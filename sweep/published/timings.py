"""The published measurements: timings of real hosts that predictions are put beside.

The data is results/published/published.csv and published-2.csv. Links of the same names here lead to them, so that the
package finds them beside its code in a checkout and, as copies that the build makes, in an installed wheel. Each timing
becomes a `Measurement` in the words of core.config: sizes in bytes, `phase` for what was timed. A host bears the name
of the profile that its timings determine. `machine_key` answers which configs are the machine that a measurement was
taken on.
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Final

from core.config import FIELDS, LIVE_FIELDS, Config, config_record, make_config
from core.sizes import parse_size

FILES: Final = ("published.csv", "published-2.csv")

STATED_FIELDS: Final = (
    "mmu",
    "split",
    "split_cache",
    "vcpus",
    "mem_per_vcpu",
    "slots",
    "backing",
    "pml",
    "write_percent",
    "initially_all_set",
    "kernel",
)
"""The fields of Config that the publications tell."""

PUBLISHED_COLUMNS: Final = (
    "source",
    "host",
    "release",
    "options",
    *STATED_FIELDS,
    "phase",
    "iteration",
    "seconds",
    "not_modelled",
)

UNPUBLISHED_FIELDS: Final = (
    "manual_protect",
    "iterations",
    "kernel",
    "seed",
    "engine",
    *LIVE_FIELDS,
    "profile",
    "repeat",
    "label",
)
"""Fields that leave the published phases as they are, or that are the host's: a match may have any value."""

MATCHED_FIELDS: Final = tuple(name for name in FIELDS if name not in UNPUBLISHED_FIELDS)

DEFAULT_HOST: Final = Config().profile
"""The host whose measurements stand beside configs of profiles that belong to no published host."""

MachineKey = tuple[object, ...]
"""The host and the values of MATCHED_FIELDS: equal for a measurement and for every config that predicts it."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One published timing. The fields from `mmu` to `kernel` are those of Config."""

    source: str
    host: str  # the profile of its name is fitted to its timings
    release: str  # of the kernel that ran; `kernel` is the generation nearest to it
    options: str  # of dirty_log_perf_test, as far as they were told
    mmu: str
    split: str
    split_cache: str
    vcpus: int
    mem_per_vcpu: int
    slots: int
    backing: str
    pml: bool
    write_percent: int
    initially_all_set: bool
    kernel: str
    phase: str
    iteration: int | None
    seconds: float
    not_modelled: str  # why no config predicts it; empty if one does

    @property
    def config(self) -> Config:
        """The config that predicts it, with as many iterations as the phase needs, and the test's defaults."""
        stated = {name: getattr(self, name) for name in STATED_FIELDS}
        return make_config(stated | {"iterations": iterations_before(self.phase, self.iteration)})

    @property
    def machine(self) -> MachineKey:
        """The key of this measurement's machine, with the benchmark's defaults for all that was not published."""
        return (self.host, *machine_key(config_record(self.config))[1:])


def iterations_before(phase: str, iteration: int | None) -> int:
    """How many iterations a run must have for a phase that was timed: as the test where it comes after all of them."""
    return iteration or (Config().iterations if phase in ("disable", "after_disable") else 1)


def machine_key(record: Mapping[str, object]) -> MachineKey:
    """The key of a config given as a record of plain values, such as core.config.config_record returns."""
    host = record["profile"] if record["profile"] in published_hosts() else DEFAULT_HOST
    return (host, *(record[name] for name in MATCHED_FIELDS))


@functools.cache
def published_hosts() -> frozenset[str]:
    """The hosts that anything was published of."""
    return frozenset(measured.host for measured in published_measurements())


@functools.cache
def published_measurements() -> tuple[Measurement, ...]:
    """Every published timing, in the order of the publications."""
    return tuple(map(_measurement, _lines()))


def _lines() -> Iterator[Mapping[str, str]]:
    for name in FILES:
        with (resources.files("sweep.published") / name).open(encoding="utf-8") as lines:
            yield from csv.DictReader(lines)


def _measurement(line: Mapping[str, str]) -> Measurement:
    return Measurement(
        source=line["source"],
        host=line["host"],
        release=line["release"],
        options=line["options"],
        mmu=line["mmu"],
        split=line["split"],
        split_cache=line["split_cache"],
        vcpus=int(line["vcpus"]),
        mem_per_vcpu=parse_size(line["mem_per_vcpu_gib"] + "GiB"),
        slots=int(line["slots"]),
        backing=line["backing"],
        pml=line["pml"] == "true",
        write_percent=int(line["write_percent"]),
        initially_all_set=line["initially_all_set"] == "true",
        kernel=line["kernel"],
        phase=line["metric"],
        iteration=int(line["iteration"]) if line["iteration"] else None,
        seconds=float(line["seconds"]),
        not_modelled=line["not_modelled"],
    )
