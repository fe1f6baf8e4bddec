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
    runs = int(config.concurrent)  # the vCPUs run during the ioctls, too
    populate_all = int(config.populate_writes == "all")
    steps = [
        _step("populate", None, guest=1, write_all=populate_all, all_roots=int(config.guest_roots > 1)),
        _step("enable", None, ioctl=ENABLE, guest=runs, logging=1),
    ]
    for iteration in range(1, config.iterations + 1):
        steps.append(_step("dirty", iteration, guest=1, logging=1, pass_number=iteration))
        steps.append(_step("get", iteration, ioctl=GET, guest=runs, logging=1, pass_number=iteration))
        if config.manual_protect:
            steps.append(_step("clear", iteration, ioctl=CLEAR, guest=runs, logging=1, pass_number=iteration))
    steps.append(_step("disable", None, ioctl=DISABLE, guest=runs, pass_number=config.iterations))
    steps.append(_step("after_disable", None, guest=1, pass_number=config.iterations + 1))
    return steps


def _step(name: str, iteration: int | None, **rules: int) -> Step:
    return Step(name, iteration, new_record(PHASE, rules))
