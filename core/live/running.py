"""A vCPU process that runs while the ioctl thread's does: it passes over its share again and again until that is done.

What it does to page tables is what it does in a pass (core.live.vcpu). Here it feels interrupts, too, and keeps what
it did over time. A look at the clock takes as long as two accesses, so it looks after every dozen, and after a stall.
"""

from __future__ import annotations

from core.compiled.instructions import read_cycles, read_nanoseconds
from core.compiled.kernel import inlined, kernel
from core.live.clock import spin_for
from core.live.meeting import await_begin, enter_guest, flushes_of, is_over, kicks_of
from core.live.sync.waiting import is_aborted
from core.live.vcpu import access_page, record_stall, start_vcpu, touch_page
from core.mmu.access import next_access
from core.sim.concurrent.guest import will_write
from core.sim.concurrent.timeline import add_accesses, add_fault
from core.workload import is_in_order, order_key, page_of_visit

LOOK_EVERY = 16
"""Accesses from one look at the clock to the next."""

NANOSECOND = 1000  # picoseconds


@kernel
def run_beside(machine, costs, pace, memory, thread, guest_memory, phase, lock, abort, meeting, me):
    """Run vCPU `me` from the beginning of the ioctl to its end; it ends early if the run is aborted."""
    enter_guest(meeting, me)
    began = await_begin(meeting, pace.spins, abort)
    if began == 0:
        return
    start_vcpu(machine, thread, me)
    state = thread.vcpu
    state.root = me % machine.roots
    state.visit %= phase.visits
    in_order = is_in_order(machine, phase)
    pass_number = phase.pass_number
    key = 0 if in_order else order_key(machine.seed, me, pass_number)
    flushes, kicks = 0, 0  # interrupts felt so far
    since, accesses, writes = began, 0, 0  # what is not in the timeline yet
    while not is_over(meeting):
        if flushes_of(meeting, me) != flushes or kicks_of(meeting, me) != kicks:
            _keep(thread, began, since, accesses, writes)
            more_flushes, more_kicks = flushes_of(meeting, me) - flushes, kicks_of(meeting, me) - kicks
            _feel_interrupts(machine, costs, pace, thread, more_flushes, more_kicks)
            flushes, kicks = flushes + more_flushes, kicks + more_kicks
            since, accesses, writes = read_nanoseconds(), 0, 0
        if state.visit == phase.visits:
            state.visit = 0
            pass_number += 1
            key = 0 if in_order else order_key(machine.seed, me, pass_number)
        number = page_of_visit(machine, phase, state.visit, pass_number, key)
        page = state.first_page + number
        write = next_access(machine, memory, thread.counters, phase, state, number, page)
        faults = thread.counters.faults
        if not access_page(machine, costs, pace, memory, thread, phase, lock, abort, meeting, me, page, write):
            return
        touch_page(machine, pace, guest_memory, page, write, state.visit)
        state.visit += 1
        accesses += 1
        writes += 1 if write else 0
        if accesses == LOOK_EVERY or thread.counters.faults > faults:
            if is_aborted(abort):
                return
            since = _keep(thread, began, since, accesses, writes)
            accesses, writes = 0, 0
            for _ in range(thread.counters.faults - faults):
                add_fault(thread.concurrency.timeline, max(0, since - began) * NANOSECOND)
    _keep(thread, began, since, accesses, writes)


@inlined
def _keep(thread, began, since, accesses, writes):
    """Put the accesses since the last look at the clock into the timeline; return the time of this one."""
    now = read_nanoseconds()
    first = max(0, since - began) * NANOSECOND
    last = max(first + 1, (now - began) * NANOSECOND)
    add_accesses(thread.concurrency.timeline, first, last, accesses, writes)
    return now


@kernel
def _feel_interrupts(machine, costs, pace, thread, flushes, kicks):
    """The exits that so many flushes of the TLB and kicks for the PML buffer force: spin as long as they take."""
    felt = thread.concurrency.felt
    start = read_cycles()
    spin_for(flushes * (pace.kick + pace.refill) + kicks * pace.kick)
    spent = read_cycles() - start
    thread.times.exit += spent
    thread.vcpu.pml_fill = 0
    stall = record_stall(pace, thread, spent, will_write(machine, thread.vcpu))
    refill, pml = flushes * costs.refill, kicks * costs.kick
    felt.ipis += flushes + kicks
    felt.stalled_refill += refill
    felt.stalled_pml += pml
    felt.stalled_flush += max(0, stall - refill - pml)
