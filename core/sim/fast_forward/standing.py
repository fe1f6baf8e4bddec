"""How all actors stand at a moment: what decides, together with memory, all that they will do."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from core.compiled.kernel import inlined, kernel
from core.compiled.records import Record, layout, new_record
from core.sim.fast_forward.periods import Counted, keep_counted, new_counted
from core.sim.state.actors import FINISHED, LOCK, MARK, RUN, VCPU
from core.sim.state.event_queue import EVENT, forget_past

MOMENT: Final = layout(["kept", "time", "queued", "in_line", "waiting", "releases"])
"""Whether the moment is remembered, when it was, and how many events were due."""


class Standing(NamedTuple):
    """The actors at a moment, and what was counted so far."""

    at: Record
    vcpus: npt.NDArray[Any]
    queue: npt.NDArray[Any]  # events in order
    line: npt.NDArray[Any]
    waiters: npt.NDArray[Any]
    releases: npt.NDArray[Any]
    lock: Record
    counted: Counted


def new_standing(vcpus: int) -> Standing:
    """No moment yet."""
    return Standing(
        at=new_record(MOMENT),
        vcpus=np.zeros(vcpus, VCPU),
        queue=np.zeros(vcpus, EVENT),
        line=np.zeros(vcpus, EVENT),
        waiters=np.zeros(vcpus, EVENT),
        releases=np.zeros(vcpus, EVENT),
        lock=new_record(LOCK),
        counted=new_counted(),
    )


@kernel
def keep_standing(machine, simulation, standing, time):
    """Remember how the actors stand at `time`."""
    for vcpu in range(machine.vcpus):
        standing.vcpus[vcpu] = simulation.vcpus[vcpu]
    standing.at.kept = 1
    standing.at.time = time
    standing.at.queued = _copy_ring(simulation.queue, standing.queue)
    standing.at.in_line = _copy_ring(simulation.line, standing.line)
    standing.at.waiting = _copy_ring(simulation.waiters, standing.waiters)
    forget_past(simulation.releases, time)
    standing.at.releases = _copy_ring(simulation.releases, standing.releases)
    standing.lock.write_free = simulation.lock.write_free
    standing.lock.line_free = simulation.lock.line_free
    keep_counted(simulation, standing.counted)


@kernel
def stand_alike(machine, simulation, standing, pages, time):
    """Whether at `time` all actors stand as they did, each `pages` further on.

    What is past does not matter: a lock that is free, and what the events of a vCPU that goes on would tell.
    """
    lock, then_lock, then_time = simulation.lock, standing.lock, standing.at.time
    elapsed = time - then_time
    if max(lock.write_free, time) != max(then_lock.write_free, then_time) + elapsed:
        return False
    if max(lock.line_free, time) != max(then_lock.line_free, then_time) + elapsed:
        return False
    if not _is_ring_alike(simulation.queue, standing.queue, standing.at.queued, elapsed):
        return False
    if not _is_ring_alike(simulation.line, standing.line, standing.at.in_line, elapsed):
        return False
    if not _is_ring_alike(simulation.waiters, standing.waiters, standing.at.waiting, elapsed):
        return False
    forget_past(simulation.releases, time)
    if not _is_ring_alike(simulation.releases, standing.releases, standing.at.releases, elapsed):
        return False
    for vcpu in range(machine.vcpus):
        now, then = simulation.vcpus[vcpu], standing.vcpus[vcpu]
        if now.event != then.event:
            return False
        if now.event == FINISHED:
            continue
        if now.visit != then.visit + pages or now.root != then.root or now.pml_fill != then.pml_fill:
            return False
        if now.event == RUN or now.event == MARK:
            continue
        if (now.write, now.level, now.ahead) != (then.write, then.level, then.ahead):
            return False
        if now.stall_start != then.stall_start + elapsed:
            return False
    return True


@kernel
def move_events(simulation, duration, time):
    """Let everything that is due after `time` be due `duration` later, and who waits have asked so much later."""
    for ring in (simulation.queue, simulation.line, simulation.waiters, simulation.releases):
        for number in range(ring.ends[0], ring.ends[1]):
            ring.events[number & (ring.events.size - 1)].time += duration
    if simulation.lock.write_free > time:
        simulation.lock.write_free += duration
    if simulation.lock.line_free > time:
        simulation.lock.line_free += duration


@inlined
def _copy_ring(ring, events):
    """Copy the coming events; return how many there are."""
    first, end = ring.ends[0], ring.ends[1]
    for number in range(first, end):
        events[number - first] = ring.events[number & (ring.events.size - 1)]
    return end - first


@inlined
def _is_ring_alike(ring, events, count, elapsed):
    """Whether the same actors come, each `elapsed` later."""
    first = ring.ends[0]
    if ring.ends[1] - first != count:
        return False
    for number in range(count):
        event = ring.events[(first + number) & (ring.events.size - 1)]
        if event.actor != events[number].actor or event.time != events[number].time + elapsed:
            return False
    return True
