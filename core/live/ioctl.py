"""The ioctl thread's process: the simulator's walk of the slots, under the real lock and in real time."""

from __future__ import annotations

from core.compiled.instructions import read_cycles, read_nanoseconds
from core.compiled.kernel import kernel
from core.live.clock import spin_for
from core.live.sync.lock import is_contended, read_lock, read_unlock, write_lock, write_unlock
from core.live.sync.waiting import ABORTED, WAITED, is_aborted
from core.sim.ioctl import FLUSH, PREPARE, SPLIT, is_flag_change, needs_lock, start_ioctl, step_ioctl


@kernel
def run_ioctl(machine, costs, pace, memory, thread, units, phase, lock, abort, me, span):
    """One ioctl over all slots, whose time is left in `span`; it ends early if the run is aborted."""
    span.start = read_nanoseconds()
    start_ioctl(thread)
    ioctl, times = thread.ioctl, thread.times
    while ioctl.slot < machine.slots and not is_aborted(abort):
        stage = ioctl.stage
        reads = is_flag_change(phase) and not machine.faults_write_lock
        if not ioctl.locked and needs_lock(machine, phase, stage):
            asked = read_cycles()
            outcome = read_lock(lock, abort, me) if reads else write_lock(lock, abort, me)
            if outcome == ABORTED:
                return
            times.lock_wait += read_cycles() - asked
            thread.counters.lock_acquisitions += 1
            thread.counters.lock_contended += 1 if outcome == WAITED else 0
            ioctl.locked = 1
        start = read_cycles()
        step_ioctl(machine, costs, memory, thread, units, phase)
        if stage == FLUSH:
            spin_for(pace.flush)
        elif stage == PREPARE and is_flag_change(phase):
            spin_for(pace.slot)
        spent = read_cycles() - start
        if ioctl.locked:
            times.lock_hold += spent
        else:
            times.other += spent
        # Between two units of a split the lock is offered to those who wait.
        if ioctl.locked and (ioctl.stage != stage or (stage == SPLIT and is_contended(lock))):
            ioctl.locked = 0
            if reads:
                read_unlock(lock)
            else:
                write_unlock(lock)
    span.end = read_nanoseconds()
