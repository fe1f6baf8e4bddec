"""The published measurements: timings of real hosts that predictions are put beside.

The data is results/published/published.csv. sweep/published/published.csv links to it, so that the package finds it
beside its code in a checkout and, as a copy that the build makes, in an installed wheel. Each timing becomes a
`Measurement` in the words of core.config: sizes in bytes, `phase` for what was timed. `machine_key` answers which
configs are the machine that a measurement was taken on.
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Final

from core.config import FIELDS, LIVE_FIELDS, config_record, make_config
from core.sizes import parse_size

PUBLISHED_COLUMNS: Final = (
    "source",
    "mmu",
    "split",
    "vcpus",
    "mem_per_vcpu",
    "backing",
    "write_percent",
    "initially_all_set",
    "phase",
    "iteration",
    "seconds",
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
"""Fields that no publication names and that leave the published phases as they are: a match may have any value."""

MATCHED_FIELDS: Final = tuple(name for name in FIELDS if name not in UNPUBLISHED_FIELDS)

MachineKey = tuple[object, ...]
"""The values of MATCHED_FIELDS: equal for a measurement and for every config that predicts it."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One published timing. The fields up to `initially_all_set` are those of Config."""

    source: str
    mmu: str
    split: str
    vcpus: int
    mem_per_vcpu: int
    backing: str
    write_percent: int
    initially_all_set: bool
    phase: str
    iteration: int | None
    seconds: float

    @property
    def machine(self) -> MachineKey:
        """The key of this measurement's machine, with the benchmark's defaults for all that was not published."""
        stated = {name: getattr(self, name) for name in PUBLISHED_COLUMNS[1:8]}
        return machine_key(config_record(make_config(stated)))


def machine_key(record: Mapping[str, object]) -> MachineKey:
    """The key of a config given as a record of plain values, such as core.config.config_record returns."""
    return tuple(record[name] for name in MATCHED_FIELDS)


@functools.cache
def published_measurements() -> tuple[Measurement, ...]:
    """Every published timing, in the order of the publications."""
    with (resources.files("sweep.published") / "published.csv").open(encoding="utf-8") as lines:
        return tuple(_measurement(line) for line in csv.DictReader(lines))


def _measurement(line: Mapping[str, str]) -> Measurement:
    return Measurement(
        source=line["source"],
        mmu=line["mmu"],
        split=line["split"],
        vcpus=int(line["vcpus"]),
        mem_per_vcpu=parse_size(line["mem_per_vcpu_gib"] + "GiB"),
        backing=line["backing"],
        write_percent=int(line["write_percent"]),
        initially_all_set=line["initially_all_set"] == "true",
        phase=line["metric"],
        iteration=int(line["iteration"]) if line["iteration"] else None,
        seconds=float(line["seconds"]),
    )
