"""Where a pass is compared with itself a period ago, and skipped: by one vCPU alone, or by all together."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from core.compiled.kernel import kernel
from core.compiled.records import Record, layout, new_record
from core.sim.fast_forward.periods import (
    Counted,
    count_again,
    hold_period,
    keep_counted,
    may_repeat,
    new_counted,
    periods_alike,
    release_period,
    skip_periods,
)
from core.sim.fast_forward.standing import Standing, keep_standing, move_events, new_standing, stand_alike
from core.sim.state.actors import FINISHED, MARK, VCPU
from core.tables import Counts

ALONE: Final = layout(["kept", "time"])
"""Whether a vCPU's start from a mark is remembered, and when that was."""


class Marks(NamedTuple):
    """The state at the last mark of vCPU 0, and that of a vCPU that went on from a mark of its own."""

    last: Standing
    blocks: Counts  # per vCPU: of the chunk it was in, and of those up to a period further on
    alone: Record
    start: npt.NDArray[Any]  # the one vCPU
    start_counted: Counted
    start_blocks: Counts


def new_marks(vcpus: int, chunks: int) -> Marks:
    """Nothing is kept yet; the longest period is of so many chunks."""
    return Marks(
        last=new_standing(vcpus),
        blocks=np.zeros((vcpus, chunks + 1), np.int32),
        alone=new_record(ALONE),
        start=np.zeros(1, VCPU),
        start_counted=new_counted(),
        start_blocks=np.zeros(chunks + 1, np.int32),
    )


@kernel
def start_alone(machine, memory, simulation, marks, phase, state, time):
    """A vCPU goes on from a mark at `time`: keep what `skip_alone` needs."""
    marks.alone.kept = 0
    is_among_own = state.own_from <= state.visit and state.visit + phase.period <= state.own_to
    if state.alone and is_among_own and may_repeat(machine, memory, phase, state):
        marks.alone.kept = 1
        marks.alone.time = time
        marks.start[0] = state
        keep_counted(simulation, marks.start_counted)
        hold_period(machine, memory, state, phase.period, marks.start_blocks)


@kernel
def skip_alone(machine, memory, simulation, marks, phase, state, time):
    """The vCPU needs the lock at `time`, or is at its next mark: then skip what repeats; return the time that takes."""
    state.alone = 1 if state.event == MARK else 0
    if not marks.alone.kept:
        return 0
    duration = 0
    start = marks.start[0]
    is_alike = state.visit == start.visit + phase.period and state.pml_fill == start.pml_fill
    if state.alone and is_alike and state.root == start.root:
        most = (state.own_to - state.visit) // phase.period
        periods = periods_alike(machine, memory, phase, state, marks.start_blocks, most)
        if periods:
            duration = periods * (time - marks.alone.time)
            skip_periods(machine, memory, state, phase.period, periods, duration)
            count_again(simulation, marks.start_counted, periods)
    release_period(memory, phase.period, marks.start_blocks)
    return duration


@kernel
def skip_together(machine, memory, simulation, marks, phase, time):
    """vCPU 0 is at a mark, its event taken from the queue: skip what repeats; return the time that takes."""
    duration = 0
    if marks.last.at.kept and stand_alike(machine, simulation, marks.last, phase.period, time):
        periods = machine.chunks
        for vcpu in range(machine.vcpus):
            state = simulation.vcpus[vcpu]
            if periods and state.event != FINISHED:
                periods = periods_alike(machine, memory, phase, state, marks.blocks[vcpu], periods)
        if periods:
            duration = periods * (time - marks.last.at.time)
            for vcpu in range(machine.vcpus):
                state = simulation.vcpus[vcpu]
                if state.event != FINISHED:
                    skip_periods(machine, memory, state, phase.period, periods, duration)
            move_events(simulation, duration, time)
            count_again(simulation, marks.last.counted, periods)
    forget_mark(machine, memory, marks, phase)
    if _all_may_repeat(machine, memory, simulation, phase):
        keep_standing(machine, simulation, marks.last, time + duration)
        for vcpu in range(machine.vcpus):
            state = simulation.vcpus[vcpu]
            if state.event != FINISHED:
                hold_period(machine, memory, state, phase.period, marks.blocks[vcpu])
    return duration


@kernel
def forget_mark(machine, memory, marks, phase):
    """Let go of the blocks that were held since the last mark."""
    if marks.last.at.kept:
        marks.last.at.kept = 0
        for vcpu in range(machine.vcpus):
            if marks.last.vcpus[vcpu].event != FINISHED:
                release_period(memory, phase.period, marks.blocks[vcpu])


@kernel
def _all_may_repeat(machine, memory, simulation, phase):
    for vcpu in range(machine.vcpus):
        state = simulation.vcpus[vcpu]
        if state.event != FINISHED and not may_repeat(machine, memory, phase, state):
            return False
    return True
