"""The ioctl thread beside running vCPUs: it takes mmu_lock in the mode of its walk, and gives it up where KVM does.

A unit of its work changes memory at its beginning and takes its time from there. Where others come to wait for the lock
meanwhile, and the walk may yield to them, the unit is cut off at the next entry and its rest done after them.
"""

from __future__ import annotations

from core.compiled.kernel import inlined, kernel
from core.sim.concurrent.guest import flush_tlbs, kick_for_pml
from core.sim.ioctl import FLUSH, PREPARE, UNIT, WALK, is_flag_change, needs_lock, step_ioctl
from core.sim.state.actors import RUN
from core.sim.state.event_queue import NEVER, put, remove
from core.sim.state.lock import is_contended, lock_or_wait, unlock
from core.steps import CLEAR, DISABLE, ENABLE, GET

WAITS = -1
"""As a time when the thread is due: when somebody lets it in."""


@kernel
def start_thread(simulation, concurrency):
    """The thread is before its first slot, and due at once."""
    felt = concurrency.felt
    felt.left = felt.in_unit = felt.direct_part = 0
    simulation.ioctl.number_flushed = -1
    simulation.ioctl.event = RUN


@kernel
def thread_event(machine, costs, memory, simulation, concurrency, units, phase, time):
    """The thread's unit is done, or it has the lock, at `time`: go on to the next; say when it is due again.

    WAITS where it waits for the lock; NEVER where all is done.
    """
    ioctl, felt = simulation.ioctl, concurrency.felt
    thread = machine.vcpus
    if felt.direct_part:
        return _walk_direct_part(costs, simulation, concurrency, thread, time)
    writes = thread_writes(machine, phase, felt)
    if felt.in_unit:
        spent = time - felt.unit_start
        if ioctl.locked:
            simulation.times.lock_hold += spent
        else:
            simulation.times.other += spent
        felt.in_unit = 0
        if ioctl.locked and _leaves_lock(machine, costs, simulation, concurrency, phase, time):
            ioctl.locked = 0
            unlock(simulation, time, writes)
            felt.direct_part = 1 if machine.two_parts and is_flag_change(phase) and not felt.unit_yields else 0
            if felt.left or felt.unit_yields:
                felt.yields += 1
                if ioctl.changed and phase.ioctl == DISABLE and machine.rmap:
                    # walk_slot_rmaps_4k(..., flush_on_yield = true): what was dropped must be gone before others look
                    ioctl.changed = 0
                    return _flush(costs, simulation, concurrency, time)
    if felt.direct_part:
        return _walk_direct_part(costs, simulation, concurrency, thread, time)
    if felt.left == 0 and ends_call(machine, simulation, phase):
        ioctl.number_flushed = ioctl.number
        if ioctl.changed:
            ioctl.changed = 0
            return _flush(costs, simulation, concurrency, time)
    if ioctl.slot == machine.slots:
        ioctl.finish = time
        return NEVER
    if not ioctl.locked and needs_lock(machine, phase, ioctl.stage):
        ioctl.asked = time
        if not lock_or_wait(simulation, thread, time, writes):
            return WAITS
        return hold_lock(costs, simulation, concurrency, time)
    return _start_unit(machine, costs, memory, simulation, concurrency, units, phase, time)


@kernel
def hold_lock(costs, simulation, concurrency, time):
    """The thread is let in at `time`; return when it goes on."""
    ioctl = simulation.ioctl
    contended = time > ioctl.asked
    spent = costs.hand_over if contended else costs.lock_uncontended
    simulation.counters.lock_acquisitions += 1
    simulation.counters.lock_contended += 1 if contended else 0
    simulation.times.lock_wait += time - ioctl.asked + spent
    concurrency.felt.idle += time - ioctl.asked
    ioctl.locked = 1
    return time + spent


@kernel
def _walk_direct_part(costs, simulation, concurrency, thread, time):
    """The TDP MMU's part of a walk of nested: for read, and over at once, as nothing of L2's memory is in L1's tree."""
    ioctl = simulation.ioctl
    if ioctl.locked:
        ioctl.locked = 0
        concurrency.felt.direct_part = 0
        unlock(simulation, time, False)
        return time
    ioctl.asked = time
    if lock_or_wait(simulation, thread, time, False):
        return hold_lock(costs, simulation, concurrency, time)
    return WAITS


@inlined
def thread_writes(machine, phase, felt):
    """Whether the thread takes mmu_lock for write: an rmap MMU's walks all; of the TDP MMU's what a bitmap drives."""
    if felt.direct_part:
        return False
    return machine.faults_write_lock or phase.ioctl == CLEAR or phase.ioctl == GET


@kernel
def cut_unit(machine, simulation, concurrency, time):
    """Somebody has come to wait at `time` for the lock that the thread holds: it stops at its next entry if it may."""
    felt = concurrency.felt
    if not (simulation.ioctl.locked and felt.unit_yields and felt.in_unit) or felt.left or not machine.breaks_lock:
        return NEVER
    entry = max(1, felt.unit_spent // UNIT)
    worked = -(-(time - felt.unit_start) // entry) * entry
    if worked >= felt.unit_spent:
        return NEVER  # its unit is over by then, and it looks for others there
    remove(simulation.queue, machine.vcpus)
    felt.left = felt.unit_spent - worked
    put(simulation.queue, felt.unit_start + worked, machine.vcpus)
    return felt.unit_start + worked


@kernel
def _start_unit(machine, costs, memory, simulation, concurrency, units, phase, time):
    """Do what the thread's next unit does, or the rest of one that was cut off; return when it is over."""
    ioctl, felt, counters = simulation.ioctl, concurrency.felt, simulation.counters
    felt.unit_start, felt.in_unit = time, 1
    if felt.left:
        felt.unit_spent, felt.left = felt.left, 0
        return time + felt.unit_spent
    stage = ioctl.stage
    flushes, splits = counters.tlb_flushes, counters.splits[2] + counters.splits[3]
    if stage == PREPARE and phase.ioctl == GET and machine.pml:
        kick_for_pml(costs, concurrency)
    felt.unit_stage = stage
    felt.unit_spent = step_ioctl(machine, costs, memory, simulation, units, phase)
    felt.unit_spent += flush_tlbs(costs, concurrency, counters.tlb_flushes - flushes)
    if phase.ioctl == CLEAR:
        felt.unit_yields = 1 if counters.splits[2] + counters.splits[3] > splits else 0  # its split may, its words not
    else:
        felt.unit_yields = 1 if phase.ioctl == ENABLE or phase.ioctl == DISABLE else 0
    return time + felt.unit_spent


@inlined
def _leaves_lock(machine, costs, simulation, concurrency, phase, time):
    """Whether the thread gives up the lock at the end of a unit: its walk is over, or it yields."""
    ioctl, felt = simulation.ioctl, concurrency.felt
    if felt.left:
        return True
    if ioctl.stage != felt.unit_stage or ends_call(machine, simulation, phase):
        felt.unit_yields = 0
        return True
    if not felt.unit_yields:
        return False
    is_due = costs.timeslice and time - simulation.lock.held_since > costs.timeslice
    return is_due or (machine.breaks_lock and is_contended(simulation))


@inlined
def ends_call(machine, simulation, phase):
    """Whether a clear that comes in chunks is at the end of one: user space makes the next call."""
    ioctl = simulation.ioctl
    return (
        phase.ioctl == CLEAR
        and ioctl.stage == WALK
        and machine.clear_pages
        and ioctl.number != ioctl.number_flushed
        and (ioctl.number - ioctl.slot * machine.pages_per_slot) % machine.clear_pages == 0
        and ioctl.number != ioctl.slot * machine.pages_per_slot
    )


@kernel
def _flush(costs, simulation, concurrency, time):
    """Flush the TLBs outside the lock; return when that is done."""
    simulation.counters.tlb_flushes += 1
    concurrency.felt.unit_start, concurrency.felt.in_unit = time, 1
    spent = costs.flush + flush_tlbs(costs, concurrency, 1)
    concurrency.felt.unit_spent = spent
    concurrency.felt.unit_yields = 0
    concurrency.felt.unit_stage = FLUSH
    return time + spent
