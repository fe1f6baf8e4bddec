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
from core.sim.state import ACQUIRE, HOLD, RELEASE, RUN


@kernel
def run_phase(machine, costs, memory, simulation, phase):
    """Run the actors of one phase until all are done; return when that is."""
    if phase.guest:
        _start_pass(machine, costs, simulation, phase)
    if phase.ioctl:
        start_ioctl(simulation)
        put(simulation, 0, machine.vcpus)
    last = 0
    while True:
        granted = _next_grant(machine, simulation)
        time = next_time(simulation)
        if granted == NEVER and time == NEVER:
            break
        is_grant = granted <= time
        actor = _take_waiter(simulation) if is_grant else take(simulation)
        time = min(granted, time)
        if actor == machine.vcpus:
            last = _ioctl_event(machine, costs, memory, simulation, phase, time, is_grant)
            continue
        vcpu = simulation.vcpus[actor]
        resumed = NEVER  # when the guest goes on, if it does
        if is_grant or vcpu.event == HOLD:
            in_section = True
        elif vcpu.event == ACQUIRE:
            in_section = _acquire(machine, costs, simulation, phase, actor, time)
            time = max(time, simulation.lock.write_free)
        else:
            in_section = False
            resumed = time if vcpu.event == RUN else _resolve(costs, simulation, vcpu, phase, machine, time)
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
                put(simulation, time + hold, actor)
        if resumed != NEVER:
            horizon = min(next_time(simulation), _next_grant(machine, simulation))
            due = run_guest(machine, costs, memory, simulation, phase, actor, resumed, horizon)
            if due != DONE:
                put(simulation, due, actor)
    for actor in range(machine.vcpus if phase.guest else 0):
        last = max(last, simulation.vcpus[actor].finish)
    return last


@inlined
def _acquire(machine, costs, simulation, phase, actor, time):
    """A vCPU reaches for the lock; say whether its critical section can be settled at once.

    So it can where the lock is taken for write, serves in order of arrival, and nobody else looks at the pages.
    """
    vcpu = simulation.vcpus[actor]
    vcpu.asked = time
    if machine.rmap:
        if machine.private and not phase.ioctl:
            return True
        _add_waiter(simulation, actor)
        return False
    simulation.counters.lock_acquisitions += 1
    vcpu.event = HOLD
    put(simulation, _move_line(costs, simulation, time), actor)
    return False


@inlined
def _count_write_lock(costs, simulation, vcpu, granted):
    """The lock, free at `granted`, moves to the vCPU's CPU; return when its critical section begins."""
    simulation.counters.lock_acquisitions += 1
    if granted > vcpu.asked:
        simulation.counters.lock_contended += 1
    simulation.times.lock_wait += granted - vcpu.asked + costs.hand_over
    return granted + costs.hand_over


@inlined
def _resolve(costs, simulation, vcpu, phase, machine, time):
    """A reader gives the lock back, and its access goes through; return when the guest goes on."""
    return complete_access(machine, costs, simulation, phase, vcpu, _move_line(costs, simulation, time))


@kernel
def _ioctl_event(machine, costs, memory, simulation, phase, time, is_grant):
    """Let the ioctl thread go on, or reach for the lock; return its time."""
    if is_grant:
        time = grant_to_ioctl(costs, simulation, time)
    elif simulation.ioctl.event == ACQUIRE:
        simulation.ioctl.asked = time
        _add_waiter(simulation, machine.vcpus)
        return time
    horizon = min(next_time(simulation), _next_grant(machine, simulation))
    due = run_ioctl(machine, costs, memory, simulation, phase, time, horizon)
    if due == DONE:
        return simulation.ioctl.finish
    put(simulation, due, machine.vcpus)
    return due


@kernel
def _start_pass(machine, costs, simulation, phase):
    """Release the vCPUs, spread evenly over the stagger of the pass."""
    vcpus = simulation.vcpus
    for vcpu in range(machine.vcpus):
        start = costs.stagger * vcpu // max(1, machine.vcpus - 1)
        simulation.times.other += start
        state = vcpus[vcpu]
        state.visit = 0
        state.pml_fill = 0
        state.space = 0 if phase.all_spaces else vcpu % machine.spaces
        state.last_space = machine.spaces - 1 if phase.all_spaces else state.space
        state.event = RUN
        put(simulation, start, vcpu)


@inlined
def _move_line(costs, simulation, time):
    """A reader's atomic on the lock's cache line, which serves one CPU at a time; return when it is done."""
    done = max(time, simulation.lock.line_free) + costs.line
    simulation.lock.line_free = done
    simulation.times.lock_wait += done - time
    return done


@inlined
def _next_grant(machine, simulation):
    """When the longest waiting actor gets the lock; NEVER if nobody waits."""
    lock = simulation.lock
    if lock.first_waiter == lock.end_waiter:
        return NEVER
    actor = simulation.waiters[lock.first_waiter & (simulation.waiters.size - 1)]
    asked = simulation.ioctl.asked if actor == machine.vcpus else simulation.vcpus[actor].asked
    return max(asked, lock.write_free)


@inlined
def _add_waiter(simulation, actor):
    lock = simulation.lock
    simulation.waiters[lock.end_waiter & (simulation.waiters.size - 1)] = actor
    lock.end_waiter += 1


@inlined
def _take_waiter(simulation):
    lock = simulation.lock
    actor = simulation.waiters[lock.first_waiter & (simulation.waiters.size - 1)]
    lock.first_waiter += 1
    return actor
