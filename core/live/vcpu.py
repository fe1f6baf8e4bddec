"""A vCPU process's pass over guest memory: the accesses, and the faults with the real lock in real time.

It does what core.sim.guest and core.sim.loop simulate, with the same operations on the page tables. A vCPU that lost a
race for an entry tries its access again, as KVM lets the guest do.
"""

from __future__ import annotations

from core.compiled.atomics import load_acquire, store_release
from core.compiled.instructions import read_cycles, read_nanoseconds
from core.compiled.kernel import inlined, kernel
from core.live.clock import spin_for
from core.live.meeting import enter_guest, flush_running, leave_guest
from core.live.sync.lock import read_lock, read_unlock, write_lock, write_unlock
from core.live.sync.waiting import ABORTED, WAITED, is_aborted
from core.mmu.access import next_access
from core.mmu.block import block_of, chunk_of
from core.mmu.change import entry_at, swap_entry
from core.mmu.dirty_log import mark_leaf_dirty
from core.mmu.fault import count_fault, fix_fast, handle_fault, is_fast
from core.mmu.walk import entry_index, leaf_level
from core.sim.concurrent.guest import note_stall
from core.sim.guest import PML_BUFFER
from core.spte import DIRTY, PRESENT, WRITABLE
from core.workload import is_in_order, order_key, page_of_visit

WORDS_PER_PAGE = 512
LOOK_EVERY = 1024  # visits from one look at the abort word to the next


@kernel
def run_pass(machine, costs, pace, memory, thread, guest_memory, phase, lock, abort, meeting, me, span):
    """One pass of vCPU `me`, whose time is left in `span`; it ends early if the run is aborted."""
    span.start = read_nanoseconds()  # here, as calling compiled code from Python takes up to 0.1 ms
    start_vcpu(machine, thread, me)
    state = thread.vcpu
    key = 0 if is_in_order(machine, phase) else order_key(machine.seed, me, phase.pass_number)
    first_root = 0 if phase.all_roots else me % machine.roots
    last_root = machine.roots - 1 if phase.all_roots else first_root
    for root in range(first_root, last_root + 1):
        state.root = root
        for visit in range(phase.visits):
            if visit % LOOK_EVERY == 0 and is_aborted(abort):
                return
            number = page_of_visit(machine, phase, visit, phase.pass_number, key)
            page = state.first_page + number
            write = next_access(machine, memory, thread.counters, phase, state, number, page)
            if not access_page(machine, costs, pace, memory, thread, phase, lock, abort, meeting, me, page, write):
                return
            touch_page(machine, pace, guest_memory, page, write, visit)
    span.end = read_nanoseconds()


@inlined
def start_vcpu(machine, thread, me):
    """The vCPU is where its share begins, with an empty PML buffer."""
    thread.vcpu.first_page = machine.first + (me * machine.pages_per_vcpu if machine.partitioned else 0)
    thread.vcpu.pml_fill = 0


@inlined
def access_page(machine, costs, pace, memory, thread, phase, lock, abort, meeting, me, page, write):
    """Access the page, whatever faults that takes; return False if the run is aborted."""
    while not _access(machine, pace, memory, thread, phase, page, write):
        if not _fault(machine, costs, pace, memory, thread, phase, lock, abort, meeting, me, page, write):
            return False
    return True


@inlined
def touch_page(machine, pace, guest_memory, page, write, value):
    """What the guest does besides: touch its real memory, if there is any, and compute."""
    if guest_memory.size:
        word = (page - machine.first) * WORDS_PER_PAGE
        if write:
            store_release(guest_memory, word, value)
        else:
            load_acquire(guest_memory, word)
    if pace.think:
        spin_for(pace.think)


@inlined
def _access(machine, pace, memory, thread, phase, page, write):
    """Try to access the page; return whether it is mapped so that the access goes through."""
    root = thread.vcpu.root
    level = leaf_level(memory, machine, root, page)
    if level == 0:
        return False
    index = entry_index(memory, machine, root, page, level)
    entry = entry_at(memory, index)
    if not entry & PRESENT or (write and not entry & WRITABLE):
        return False
    if not write or not phase.logging or not machine.pml or entry & DIRTY:
        return True
    if not swap_entry(memory, index, entry, entry | DIRTY):
        return False
    mark_leaf_dirty(memory, machine, block_of(memory, chunk_of(machine, page)), page, level)
    _log_to_pml(pace, thread)
    return True


@inlined
def _log_to_pml(pace, thread):
    """A write set a D-bit: log it, after an exit if the buffer is full. Only exits are timed: a look at the clock costs
    more than an entry does."""
    if thread.vcpu.pml_fill == PML_BUFFER:
        thread.vcpu.pml_fill = 0
        thread.counters.pml_exits += 1
        start = read_cycles()
        spin_for(pace.pml_exit)
        spent = read_cycles() - start
        thread.times.exit += spent
        thread.concurrency.felt.stalled_pml += record_stall(pace, thread, spent, True)
    thread.counters.pml_entries += 1
    thread.vcpu.pml_fill += 1


@kernel
def _fault(machine, costs, pace, memory, thread, phase, lock, abort, meeting, me, page, write):
    """The access to `page` faults: exit, and resolve the fault; return False if the run is aborted."""
    start = read_cycles()
    counters, felt, root = thread.counters, thread.concurrency.felt, thread.vcpu.root
    level = leaf_level(memory, machine, root, page)
    entry = entry_at(memory, entry_index(memory, machine, root, page, level)) if level else 0
    if entry & PRESENT and (entry & WRITABLE or not write):
        return not is_aborted(abort)  # somebody else mapped it meanwhile: the access only lost a race for its D-bit
    count_fault(counters, entry & PRESENT, write)
    thread.vcpu.pml_fill = 0  # every exit empties the buffer
    if entry & PRESENT and is_fast(machine, entry, level, phase.logging):
        fix_fast(memory, machine, counters, root, page, level, entry, phase.logging)
        spin_for(pace.fault_fast)
        end = read_cycles()
        thread.times.exit += end - start
        record_stall(pace, thread, end - start, write)
        return True
    leave_guest(meeting, me)
    spin_for(pace.fault_outside)
    asked = read_cycles()
    outcome = write_lock(lock, abort, me) if machine.faults_write_lock else read_lock(lock, abort, me)
    if outcome == ABORTED:
        return False
    entered = read_cycles()
    counters.lock_acquisitions += 1
    counters.lock_contended += 1 if outcome == WAITED else 0
    found_level, found = level, entry
    level = leaf_level(memory, machine, root, page)
    entry = entry_at(memory, entry_index(memory, machine, root, page, level)) if level else 0
    retried = level != found_level or entry != found
    flushes = counters.tlb_flushes
    handle_fault(memory, machine, costs, counters, root, page, level, write, phase.logging)
    if phase.ioctl and counters.tlb_flushes > flushes:
        spin_for(pace.flush_cpu * flush_running(meeting, counters.tlb_flushes - flushes))
    left = read_cycles()
    if machine.faults_write_lock:
        write_unlock(lock)
    else:
        read_unlock(lock)
    end = read_cycles()
    thread.times.exit += asked - start
    thread.times.lock_wait += entered - asked + end - left
    thread.times.lock_hold += left - entered
    thread.lock.longest_hold = max(thread.lock.longest_hold, left - entered)
    stall = record_stall(pace, thread, end - start, write)
    felt.retries += retried
    if retried:
        felt.stalled_retry += stall
    else:
        felt.stalled_lock += stall
    enter_guest(meeting, me)
    return True


@inlined
def record_stall(pace, thread, cycles, write):
    """Note that a read or a write took so many cycles beyond a plain one; return the picoseconds they are."""
    stall = cycles * pace.picoseconds >> 10
    note_stall(thread, thread.concurrency, stall, write)
    return stall
