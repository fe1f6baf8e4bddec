"""The event loop: vCPUs and the ioctl thread meet at mmu_lock.

Where every vCPU has its pages to itself and faults take the lock for write, a fault is one event: the lock serves in
order of arrival, so its outcome is known as soon as it arrives. Elsewhere a fault's arrival, its critical section and
its release are events of their own, so that everybody sees every change at its time.
"""

from __future__ import annotations

from core.kernel import inlined, kernel
from core.mmu.fault import handle_fault
from core.sim.event_queue import NEVER, next_time, put, take
from core.sim.guest import DONE, complete_access, run_guest
from core.sim.ioctl import grant_to_ioctl, run_ioctl, start_ioctl
from core.sim.state import ACQUIRE, HOLD, RELEASE, RESUME, RUN


@kernel
def run_phase(machine, costs, memory, simulation, phase):
    """Run the actors of one phase until all are done; return when that is."""
    if phase.guest:
        _start_pass(machine, costs, simulation, phase)
    if phase.ioctl:
        start_ioctl(simulation)
        put(simulation.queue, 0, machine.vcpus)
    last = 0
    while True:
        granted, at_line, time = _next_grant(simulation), next_time(simulation.line), next_time(simulation.queue)
        is_grant = granted <= min(at_line, time)
        if is_grant:
            time = granted
            if time == NEVER:
                break
            actor = take(simulation.waiters)
        elif at_line <= time:
            time = at_line
            actor = take(simulation.line)
        else:
            actor = take(simulation.queue)
        if actor == machine.vcpus:
            last = _ioctl_event(machine, costs, memory, simulation, phase, time, is_grant)
            continue
        vcpu = simulation.vcpus[actor]
        in_section = is_grant or vcpu.event == HOLD
        resumed = NEVER  # when the guest goes on, if it does
        if vcpu.event == RUN:
            resumed = time
        elif vcpu.event == RESUME:
            resumed = complete_access(machine, costs, simulation, phase, vcpu, time)
        elif vcpu.event == RELEASE:
            vcpu.event = RESUME
            _move_line(costs, simulation, actor, time)
        elif vcpu.event == ACQUIRE and not is_grant:
            vcpu.asked = time
            if not machine.rmap:
                simulation.counters.lock_acquisitions += 1
                vcpu.event = HOLD
                _move_line(costs, simulation, actor, time)
            elif machine.private and not phase.ioctl:
                in_section = True
                time = max(time, simulation.lock.write_free)
            else:
                put(simulation.waiters, time, actor)
        if in_section:
            write = vcpu.write != 0
            hold = handle_fault(
                memory, machine, costs, simulation.counters, vcpu.space, vcpu.page, write, phase.logging
            )
            simulation.times.lock_hold += hold
            if machine.rmap:
                time = _count_write_lock(costs, simulation, vcpu, time) + hold
                simulation.lock.write_free = time
                resumed = complete_access(machine, costs, simulation, phase, vcpu, time)
            else:
                vcpu.event = RELEASE
                put(simulation.queue, time + hold, actor)
        if resumed != NEVER:
            due = run_guest(machine, costs, memory, simulation, phase, actor, resumed, _horizon(simulation))
            if due != DONE:
                put(simulation.queue, due, actor)
    for actor in range(machine.vcpus if phase.guest else 0):
        last = max(last, simulation.vcpus[actor].finish)
    return last


@inlined
def _count_write_lock(costs, simulation, vcpu, granted):
    """The lock, free at `granted`, moves to the vCPU's CPU; return when its critical section begins."""
    simulation.counters.lock_acquisitions += 1
    if granted > vcpu.asked:
        simulation.counters.lock_contended += 1
    simulation.times.lock_wait += granted - vcpu.asked + costs.hand_over
    return granted + costs.hand_over


@inlined
def _move_line(costs, simulation, actor, time):
    """A reader's atomic on the lock's cache line, which serves one CPU at a time."""
    done = max(time, simulation.lock.line_free) + costs.line
    simulation.lock.line_free = done
    simulation.times.lock_wait += done - time
    put(simulation.line, done, actor)


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
def _ioctl_event(machine, costs, memory, simulation, phase, time, is_grant):
    """Let the ioctl thread go on, or reach for the lock; return its time."""
    if is_grant:
        time = grant_to_ioctl(costs, simulation, time)
    elif simulation.ioctl.event == ACQUIRE:
        simulation.ioctl.asked = time
        put(simulation.waiters, time, machine.vcpus)
        return time
    due = run_ioctl(machine, costs, memory, simulation, phase, time, _horizon(simulation))
    if due == DONE:
        return simulation.ioctl.finish
    put(simulation.queue, due, machine.vcpus)
    return due


@kernel
def _start_pass(machine, costs, simulation, phase):
    """Release the vCPUs, spread evenly over the stagger of the pass."""
    vcpus = simulation.vcpus
    for vcpu in range(machine.vcpus):
        start = costs.stagger * vcpu // max(1, machine.vcpus - 1)
        simulation.times.other += start
        state = vcpus[vcpu]
        state.first_page = machine.first + (vcpu * machine.pages_per_vcpu if machine.partitioned else 0)
        state.visit = 0
        state.pml_fill = 0
        state.space = 0 if phase.all_spaces else vcpu % machine.spaces
        state.last_space = machine.spaces - 1 if phase.all_spaces else state.space
        state.event = RUN
        put(simulation.queue, start, vcpu)
