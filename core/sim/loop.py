"""The event loop: vCPUs and the ioctl thread meet at mmu_lock.

The lock serves in order of arrival, and so does its cache line. Where a vCPU has the page to itself, the outcome of
reaching for either is known at once: a fault is one event where it takes the lock for write, and two, arrival and
release, where it takes it for read. Elsewhere a fault's arrival, its critical section, its release and its end are
events of their own, so that everybody sees every change at its time. Both give the same times.
"""

from __future__ import annotations

from core.compiled.kernel import inlined, kernel
from core.mmu.fault import handle_fault
from core.mmu.walk import leaf_level
from core.sim.fast_forward.marks import forget_mark, skip_alone, skip_together, start_alone
from core.sim.guest import DONE, complete_access, is_own, run_guest, set_own
from core.sim.ioctl import grant_to_ioctl, run_ioctl, start_ioctl
from core.sim.state.actors import ACQUIRE, HOLD, MARK, RELEASE, RESUME, RUN
from core.sim.state.event_queue import NEVER, forget_past, next_time, put, take, waiting
from core.sim.state.lock import hand_over, move_line


@kernel
def run_phase(machine, costs, memory, simulation, marks, units, phase):
    """Run the actors of one phase until all are done; return when that is."""
    if phase.guest:
        start_pass(machine, costs, simulation, phase)
    if phase.ioctl:
        start_ioctl(simulation)
        put(simulation.queue, 0, machine.vcpus)
    last = 0
    while True:
        time, actor, is_grant = _take_next(simulation)
        if time == NEVER:
            break
        if actor == machine.vcpus:
            last = _ioctl_event(machine, costs, memory, simulation, units, phase, time, is_grant)
            continue
        vcpu = simulation.vcpus[actor]
        # whether nobody else sees what a fault changes
        at_once = not phase.ioctl and (machine.vcpus_disjoint or is_own(vcpu, vcpu.page - vcpu.first_page))
        in_section = is_grant or vcpu.event == HOLD
        resumed = NEVER  # when the guest goes on, if it does
        if vcpu.event == RUN:
            resumed = time
        elif vcpu.event == MARK:
            resumed = time
            if actor == 0:
                resumed += skip_together(machine, memory, simulation, marks, phase, time)
        elif vcpu.event == RESUME:
            resumed = complete_access(machine, costs, simulation, phase, vcpu, time)
        elif vcpu.event == RELEASE:
            released = move_line(costs, simulation, time)
            if at_once:
                resumed = complete_access(machine, costs, simulation, phase, vcpu, released)
            else:
                vcpu.event = RESUME
                put(simulation.line, released, actor)
        elif vcpu.event == ACQUIRE and not is_grant:
            entered = _reach_for_lock(machine, costs, simulation, vcpu, actor, time, at_once)
            if entered != NEVER:
                in_section = True
                time = entered
        if in_section:
            root, page, write = vcpu.root, vcpu.page, vcpu.write != 0
            level = vcpu.level if at_once else leaf_level(memory, machine, root, page)
            flushes = simulation.counters.tlb_flushes
            hold = handle_fault(memory, machine, costs, simulation.counters, root, page, level, write, phase.logging)
            # a flush interrupts the other vCPUs that are in guest mode: those that are not in line for the lock
            interrupted = machine.vcpus - 1 - vcpu.ahead
            hold += (simulation.counters.tlb_flushes - flushes) * interrupted * costs.flush_cpu
            simulation.times.lock_hold += hold
            if machine.faults_write_lock:
                time = _count_write_lock(costs, simulation, vcpu, time) + hold
                simulation.lock.write_free = time
                put(simulation.releases, time, actor)
                resumed = complete_access(machine, costs, simulation, phase, vcpu, time)
            else:
                vcpu.event = RELEASE
                put(simulation.queue, time + hold, actor)
        if resumed != NEVER:
            horizon = NEVER if machine.vcpus_disjoint else _horizon(simulation)
            is_at_mark = vcpu.event == MARK
            if is_at_mark:
                start_alone(machine, memory, simulation, marks, phase, vcpu, resumed)
            due = run_guest(machine, costs, memory, simulation, phase, actor, resumed, horizon)
            if is_at_mark:
                due += skip_alone(machine, memory, simulation, marks, phase, vcpu, due)
            if due != DONE:
                put(simulation.queue, due, actor)
    forget_mark(machine, memory, marks, phase)
    for actor in range(machine.vcpus if phase.guest else 0):
        last = max(last, simulation.vcpus[actor].finish)
    return last


@inlined
def _take_next(simulation):
    """Take the earliest event: its time, NEVER if there is none, its actor, and whether it is a grant of the lock."""
    granted, at_line, queued = _next_grant(simulation), next_time(simulation.line), next_time(simulation.queue)
    if granted <= min(at_line, queued):
        return granted, take(simulation.waiters) if granted != NEVER else 0, True
    if at_line <= queued:
        return at_line, take(simulation.line), False
    return queued, take(simulation.queue), False


@inlined
def _reach_for_lock(machine, costs, simulation, vcpu, actor, time, at_once):
    """A vCPU reaches for the lock at `time`; return when it is inside, where that is known at once, else NEVER.

    It is not where others reached for the lock before, and what they do inside comes first.
    """
    vcpu.asked = time
    if machine.faults_write_lock:
        forget_past(simulation.releases, time)
        vcpu.ahead = waiting(simulation.releases) + waiting(simulation.waiters)
        if at_once and next_time(simulation.waiters) == NEVER:
            return max(time, simulation.lock.write_free)
        put(simulation.waiters, time, actor)
        return NEVER
    simulation.counters.lock_acquisitions += 1
    if simulation.lock.line_free > time:
        simulation.counters.lock_contended += 1
    is_first = next_time(simulation.line) == NEVER
    acquired = move_line(costs, simulation, time)
    if at_once and is_first:
        return acquired
    vcpu.event = HOLD
    put(simulation.line, acquired, actor)
    return NEVER


@inlined
def _count_write_lock(costs, simulation, vcpu, granted):
    """The lock, free at `granted`, moves to the vCPU's CPU; return when its critical section begins."""
    simulation.counters.lock_acquisitions += 1
    if granted > vcpu.asked:
        simulation.counters.lock_contended += 1
    begin = granted + hand_over(costs, vcpu.ahead)
    simulation.times.lock_wait += begin - vcpu.asked
    return begin


@inlined
def _next_grant(simulation):
    """When the longest waiting actor gets the lock; NEVER if nobody waits."""
    asked = next_time(simulation.waiters)
    return asked if asked == NEVER else max(asked, simulation.lock.write_free)


@inlined
def _horizon(simulation):
    """When anybody does something next."""
    return min(next_time(simulation.queue), next_time(simulation.line), _next_grant(simulation))


@kernel
def _ioctl_event(machine, costs, memory, simulation, units, phase, time, is_grant):
    """Let the ioctl thread go on, or reach for the lock; return its time."""
    if is_grant:
        time = grant_to_ioctl(costs, simulation, time)
    elif simulation.ioctl.event == ACQUIRE:
        simulation.ioctl.asked = time
        put(simulation.waiters, time, machine.vcpus)
        return time
    due = run_ioctl(machine, costs, memory, simulation, units, phase, time, _horizon(simulation))
    if due == DONE:
        return simulation.ioctl.finish
    put(simulation.queue, due, machine.vcpus)
    return due


@kernel
def start_pass(machine, costs, simulation, phase):
    """Release the vCPUs, spread evenly over the stagger of the pass."""
    vcpus = simulation.vcpus
    for vcpu in range(machine.vcpus):
        start = costs.stagger * vcpu // max(1, machine.vcpus - 1)
        simulation.times.other += start
        state = vcpus[vcpu]
        first = vcpu * machine.pages_per_vcpu if machine.partitioned else 0
        state.first_page = machine.first + first
        set_own(machine, state, first)
        state.visit = 0
        state.mark = phase.period or NEVER
        state.alone = 0
        state.pml_fill = 0
        state.root = 0 if phase.all_roots else vcpu % machine.roots
        state.last_root = machine.roots - 1 if phase.all_roots else state.root
        state.event = MARK if phase.period else RUN
        put(simulation.queue, start, vcpu)
