"""The ioctl thread's process: the simulator's walk of the slots, under the real lock and in real time."""

from __future__ import annotations

from core.compiled.instructions import read_cycles, read_nanoseconds
from core.compiled.kernel import inlined, kernel
from core.live.clock import spin_for
from core.live.meeting import await_guests, begin, end, flush_running, kick_running
from core.live.sync.lock import is_contended, read_lock, read_unlock, write_lock, write_unlock
from core.live.sync.waiting import ABORTED, WAITED, is_aborted
from core.mmu.split import splits_so_far
from core.sim.concurrent.thread import ends_call
from core.sim.ioctl import FLUSH, PREPARE, is_flag_change, needs_lock, start_ioctl, step_ioctl
from core.steps import CLEAR, GET


@kernel
def run_ioctl(machine, costs, pace, memory, thread, units, phase, lock, abort, meeting, me, span):
    """One ioctl over all slots, whose time is left in `span`; it ends early if the run is aborted."""
    if phase.guest and not await_guests(meeting, abort):
        return
    span.start = read_nanoseconds()
    begin(meeting, span.start, machine.vcpus)
    start_ioctl(thread)
    ioctl, times, counters = thread.ioctl, thread.times, thread.counters
    ioctl.number_flushed = -1
    held_since = 0
    while ioctl.slot < machine.slots and not is_aborted(abort):
        stage = ioctl.stage
        reads = is_flag_change(phase) and not machine.faults_write_lock
        if not ioctl.locked and needs_lock(machine, phase, stage):
            asked = read_cycles()
            outcome = read_lock(lock, abort, me) if reads else write_lock(lock, abort, me)
            if outcome == ABORTED:
                return
            held_since = read_cycles()
            times.lock_wait += held_since - asked
            counters.lock_acquisitions += 1
            counters.lock_contended += 1 if outcome == WAITED else 0
            ioctl.locked = 1
        start = read_cycles()
        splits, flushes = splits_so_far(counters), counters.tlb_flushes
        if phase.guest and stage == PREPARE and phase.ioctl == GET and machine.pml:
            kick_running(meeting)
        step_ioctl(machine, costs, memory, thread, units, phase)
        if stage == FLUSH:
            spin_for(pace.flush)
        elif stage == PREPARE and is_flag_change(phase):
            spin_for(pace.slot)
        if phase.guest and counters.tlb_flushes > flushes:
            spin_for(pace.flush_cpu * flush_running(meeting, counters.tlb_flushes - flushes))
        now = read_cycles()
        is_over = ioctl.stage != stage or ends_call(machine, thread, phase)
        may_yield = phase.guest and (phase.ioctl != CLEAR or splits_so_far(counters) > splits)  # its words do not
        yields = may_yield and not is_over and _is_to_yield(machine, pace, lock, now - held_since)
        if ioctl.locked:
            times.lock_hold += now - start
        else:
            times.other += now - start
        if ioctl.locked and (is_over or yields):
            thread.lock.longest_hold = max(thread.lock.longest_hold, now - held_since)
            thread.concurrency.felt.yields += yields
            ioctl.locked = 0
            if reads:
                read_unlock(lock)
            else:
                write_unlock(lock)
        if ends_call(machine, thread, phase):
            _end_call(pace, thread, meeting)
    thread.concurrency.felt.idle = times.lock_wait * pace.picoseconds >> 10
    span.end = read_nanoseconds()
    end(meeting)


@inlined
def _is_to_yield(machine, pace, lock, held):
    """Whether the thread gives up the lock to those who wait, as KVM does between two entries."""
    return is_contended(lock) and (machine.breaks_lock == 1 or (pace.timeslice > 0 and held > pace.timeslice))


@kernel
def _end_call(pace, thread, meeting):
    """A clear that comes in chunks is at the end of one, which flushes if it changed anything."""
    ioctl = thread.ioctl
    ioctl.number_flushed = ioctl.number
    if ioctl.changed:
        start = read_cycles()
        ioctl.changed = 0
        thread.counters.tlb_flushes += 1
        spin_for(pace.flush + pace.flush_cpu * flush_running(meeting, 1))
        thread.times.other += read_cycles() - start
