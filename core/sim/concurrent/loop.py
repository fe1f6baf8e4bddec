"""The event loop of vCPUs that run while an ioctl does: they meet at mmu_lock, one event after the other."""

from __future__ import annotations

from core.compiled.kernel import inlined, kernel
from core.mmu.fault import handle_fault
from core.mmu.walk import entry_index, leaf_level
from core.sim.concurrent.guest import complete, cut_off_stall, drain_pml, flush_tlbs, run_along
from core.sim.concurrent.thread import WAITS, cut_unit, hold_lock, start_thread, thread_event, thread_writes
from core.sim.concurrent.timeline import widen
from core.sim.fast_forward.units import forget_units
from core.sim.guest import DONE
from core.sim.ioctl import start_ioctl
from core.sim.loop import start_pass
from core.sim.state.actors import ACQUIRE, ARRIVE, HOLD, RELEASE, RESUME, RUN
from core.sim.state.event_queue import NEVER, next_time, put, take
from core.sim.state.lock import (
    NOBODY,
    first_waiter,
    hand_over,
    in_line,
    lock_or_wait,
    move_line,
    next_holder,
    unlock,
)


@kernel
def run_concurrently(machine, costs, memory, simulation, concurrency, units, phase):
    """Run the vCPUs, beside the ioctl thread if the phase has an ioctl; return when that, or their pass, is done.

    vCPUs beside an ioctl stop where they are when it is done.
    """
    thread, queue = machine.vcpus, simulation.queue
    due = NEVER
    for guest in concurrency.guests:
        guest.kicked = guest.passes = guest.in_guest = 0
    if phase.ioctl:
        if phase.guest:
            _go_on(machine, simulation, phase)
        start_ioctl(simulation)
        start_thread(simulation, concurrency)
        due = 0
        put(queue, 0, thread)
    else:
        start_pass(machine, costs, simulation, phase)
    while True:
        time = next_time(queue)
        if time == NEVER:
            return _last_finish(machine, simulation)
        actor = take(queue)
        if actor != thread:
            due = _vcpu_event(machine, costs, memory, simulation, concurrency, phase, actor, time, due)
            continue
        held = simulation.ioctl.locked
        due = thread_event(machine, costs, memory, simulation, concurrency, units, phase, time)
        if due == NEVER:
            break
        if due != WAITS:
            put(queue, due, thread)
        if held:
            due = _let_in(machine, costs, simulation, concurrency, phase, time, due)
    end = simulation.ioctl.finish
    for vcpu in range(thread):
        drain_pml(machine, memory, simulation, concurrency, phase, vcpu)  # the next get does so before it looks
        if simulation.vcpus[vcpu].event != RUN:
            cut_off_stall(simulation, concurrency, vcpu, end)
    _empty(simulation)
    widen(concurrency.timeline, end)  # vCPUs that all wait leave no trace of their own
    forget_units(memory, units)
    return end


@kernel
def _vcpu_event(machine, costs, memory, simulation, concurrency, phase, actor, time, due):
    """What the vCPU does at `time`; return when the thread is due, which this may change."""
    vcpu = simulation.vcpus[actor]
    writes = machine.faults_write_lock
    goes_on = NEVER
    if vcpu.event == RUN:
        goes_on = time
    elif vcpu.event == ACQUIRE:
        vcpu.asked = time
        simulation.counters.lock_acquisitions += 1
        vcpu.event = ARRIVE
        if not writes:  # its atomic takes its turn at the cache line first
            if simulation.lock.line_free > time:
                simulation.counters.lock_contended += 1
            put(simulation.queue, move_line(costs, simulation, time), actor)
            return due
    if vcpu.event == ARRIVE:
        if not writes:
            vcpu.asked = time
        vcpu.ahead = in_line(simulation) if writes else 0
        if lock_or_wait(simulation, actor, time, writes):
            _enter(costs, simulation, concurrency, vcpu, actor, time, writes, False)
        else:
            cut = cut_unit(machine, simulation, concurrency, time)
            due = due if cut == NEVER else cut
        return due
    if vcpu.event == HOLD:
        hold = _critical_section(machine, costs, memory, simulation, concurrency, phase, actor)
        concurrency.felt.holder_due = time + hold
        vcpu.event = RELEASE
        put(simulation.queue, time + hold, actor)
        return due
    if vcpu.event == RELEASE and not writes:
        vcpu.event = RESUME
        put(simulation.queue, move_line(costs, simulation, time), actor)
        return due
    if vcpu.event == RELEASE or vcpu.event == RESUME:
        unlock(simulation, time, writes)
        due = _let_in(machine, costs, simulation, concurrency, phase, time, due)
        goes_on = complete(machine, costs, simulation, concurrency, phase, actor, time)
    horizon = _horizon(machine, simulation, concurrency, due)
    goes_on = run_along(machine, costs, memory, simulation, concurrency, phase, actor, goes_on, horizon)
    if goes_on != DONE:
        put(simulation.queue, goes_on, actor)
    return due


@kernel
def _let_in(machine, costs, simulation, concurrency, phase, time, due):
    """The lock is free, or freer, from `time` on: let in those who wait longest; return when the thread is due."""
    while True:
        actor = first_waiter(simulation)
        if actor == NOBODY:
            return due
        is_thread = actor == machine.vcpus
        writes = thread_writes(machine, phase, concurrency.felt) if is_thread else machine.faults_write_lock
        if next_holder(simulation, time, writes) == NOBODY:
            return due
        if is_thread:
            due = hold_lock(costs, simulation, concurrency, time)
            put(simulation.queue, due, actor)
        else:
            _enter(costs, simulation, concurrency, simulation.vcpus[actor], actor, time, writes, True)


@inlined
def _horizon(machine, simulation, concurrency, due):
    """Until when nobody can change what a vCPU finds in memory.

    Of vCPUs that share nothing only the thread can, when it is due. Where it waits for the lock that a vCPU holds for
    write, not before that one leaves it.
    """
    if not machine.vcpus_disjoint:
        return next_time(simulation.queue)
    if due != WAITS:
        return due
    return concurrency.felt.holder_due if simulation.lock.writer else next_time(simulation.queue)


@inlined
def _enter(costs, simulation, concurrency, vcpu, actor, time, writes, waited):
    """The vCPU has the lock at `time`: its critical section begins once the lock's line is with its CPU."""
    if time > vcpu.asked and waited:
        simulation.counters.lock_contended += 1
    begin = time
    if writes:
        begin = time + hand_over(costs, vcpu.ahead)
        simulation.times.lock_wait += begin - vcpu.asked
    elif waited:
        simulation.times.lock_wait += time - vcpu.asked
        begin = move_line(costs, simulation, time)
    vcpu.event = HOLD
    concurrency.felt.holder_due = begin
    put(simulation.queue, begin, actor)


@kernel
def _critical_section(machine, costs, memory, simulation, concurrency, phase, actor):
    """Handle the vCPU's fault inside the lock, on what memory is by now; return how long that takes."""
    vcpu, felt, counters = simulation.vcpus[actor], concurrency.felt, simulation.counters
    root, page = vcpu.root, vcpu.page
    level = leaf_level(memory, machine, root, page)
    entry = memory.sptes[entry_index(memory, machine, root, page, level)] if level else 0
    guest = concurrency.guests[actor]
    guest.retried = 1 if level != vcpu.level or (level and entry != guest.entry) else 0
    flushes = counters.tlb_flushes
    hold = handle_fault(memory, machine, costs, counters, root, page, level, vcpu.write != 0, phase.logging)
    flushes = counters.tlb_flushes - flushes
    if phase.ioctl:
        hold += flush_tlbs(costs, concurrency, flushes)
    else:  # in a pass of its own, what vCPUs' flushes do to others is part of what a fault costs
        hold += flushes * (machine.vcpus - 1 - vcpu.ahead) * costs.flush_cpu
    simulation.times.lock_hold += hold
    felt.retries += guest.retried
    return hold


@kernel
def _go_on(machine, simulation, phase):
    """The vCPUs go on where they are in their shares."""
    for number in range(machine.vcpus):
        vcpu = simulation.vcpus[number]
        vcpu.first_page = machine.first + (number * machine.pages_per_vcpu if machine.partitioned else 0)
        vcpu.visit %= phase.visits
        vcpu.root = vcpu.last_root = number % machine.roots
        vcpu.pml_fill = 0
        vcpu.event = RUN
        put(simulation.queue, 0, number)


@kernel
def _last_finish(machine, simulation):
    last = 0
    for vcpu in simulation.vcpus:
        last = max(last, vcpu.finish)
    return last


@kernel
def _empty(simulation):
    """Nobody waits any more: the phase is over for all."""
    for ring in (simulation.queue, simulation.waiters):
        ring.ends[0] = ring.ends[1]
