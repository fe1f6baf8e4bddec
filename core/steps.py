"""The phases of a run, in the order of dirty_log_perf_test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from core.compiled.records import Record, layout, new_record
from core.config import Config

# What the ioctl thread does in a phase.
NOTHING, ENABLE, GET, CLEAR, DISABLE = range(5)

PHASE: Final = layout(
    [
        "ioctl",
        "guest",  # the vCPUs pass over their memory
        "logging",
        "write_all",  # populate, unless it follows the write pattern
        "visits",  # of a vCPU's pass over one root
        "in_order",  # page after page of the share, whatever order and working set later passes have
        "all_roots",  # populate: every vCPU touches its share under every root of the guest, if there are several
        "pass_number",
        "period",  # simulated: pages after which a pass, or an ioctl, may repeat itself; 0: nothing is skipped
    ]
)
"""The rules of one phase; flags are 0 or 1."""


@dataclass(frozen=True, slots=True)
class Step:
    """One phase of a run: a row of the results."""

    name: str
    iteration: int | None
    rules: Record


def steps_of(config: Config) -> list[Step]:
    """The phases of a run, in order."""
    populate: dict[str, int] = {
        "write_all": int(config.populate_writes == "all"),
        "all_roots": int(config.guest_roots > 1),
        "visits": config.pages_in_share,
        "in_order": 1,  # as in the selftest
    }
    steps = [
        _pass(config, "populate", None, **populate),
        _ioctl(config, "enable", None, ioctl=ENABLE, logging=1),
    ]
    for iteration in range(1, config.iterations + 1):
        steps.append(_pass(config, "dirty", iteration, logging=1, pass_number=iteration))
        steps.append(_ioctl(config, "get", iteration, ioctl=GET, logging=1, pass_number=iteration))
        if config.manual_protect:
            steps.append(_ioctl(config, "clear", iteration, ioctl=CLEAR, logging=1, pass_number=iteration))
    steps.append(_ioctl(config, "disable", None, ioctl=DISABLE, pass_number=config.iterations))
    steps.append(_pass(config, "after_disable", None, pass_number=config.iterations + 1))
    return steps


def _pass(config: Config, name: str, iteration: int | None, **rules: int) -> Step:
    return Step(name, iteration, new_record(PHASE, {"guest": 1, "visits": config.visits_per_pass} | rules))


def _ioctl(config: Config, name: str, iteration: int | None, **rules: int) -> Step:
    runs = int(config.concurrent)  # the vCPUs run during the ioctls, too
    return Step(name, iteration, new_record(PHASE, {"guest": runs, "visits": config.visits_per_pass} | rules))
