"""Some of the measured timings: those that a condition lets through, and of one host where a profile is fitted."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Final

from core.config import MEM_TOTAL, config_record
from sweep.errors import SpecError, SweepError
from sweep.evidence.measurements import Measured, MeasurementError
from sweep.spec.where import SPEC_FIELDS, rows_matching, where_fields

SELECTABLE: Final[Mapping[str, Any]] = {
    **SPEC_FIELDS,
    **dict.fromkeys(("host", "kernel_release", "phase"), str),
    "iteration": int,
}
"""What a condition may name: every field, where a time was taken, and what it is of."""


def selected(measured: Sequence[Measured], where: str | None, location: str) -> tuple[Measured, ...]:
    """The timings that the condition `where` is true of, at least one.

    Raises SpecError where it is no condition, MeasurementError where it lets nothing through.
    """
    if where is None:
        return tuple(measured)
    records = [_record(timing) for timing in measured]
    try:
        columns = {name: [record[name] for record in records] for name in where_fields(where, SELECTABLE)}
        found = tuple(itertools.compress(measured, rows_matching(where, columns, SELECTABLE)))
    except SpecError as error:
        raise SpecError(f"--{error}") from error  # it begins with "where: "
    if not found:
        raise MeasurementError(f"{location}: no timing there matches --where {where}")
    return found


def check_one_host(measured: Sequence[Measured], location: str) -> None:
    """Raise SweepError for timings of several hosts: a profile is of one."""
    hosts = sorted({timing.host for timing in measured})
    if len(hosts) > 1:
        named = ", ".join(host or "one without a name" for host in hosts)
        raise SweepError(
            f"{location}: holds timings of {len(hosts)} hosts ({named}), and a profile is of one; "
            f"choose it, as in --where \"host = '{hosts[-1]}'\""
        )


def _record(timing: Measured) -> dict[str, object]:
    config = timing.config
    return config_record(config) | {
        MEM_TOTAL: config.vcpus * config.mem_per_vcpu,
        "host": timing.host,
        "kernel_release": timing.release,
        "phase": timing.phase,
        "iteration": timing.iteration,
    }
