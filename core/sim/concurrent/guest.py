"""A vCPU that runs beside the ioctl thread: it passes over its share again and again, up to the thread's next event.

What finds its pages writable and needs no log is not stepped through: such accesses take no longer than their sum.
"""

from __future__ import annotations

from core.compiled.kernel import inlined, kernel
from core.mmu.access import count_page_written, is_first_root, next_access
from core.mmu.block import chunk_of, own
from core.mmu.change import swap_entry
from core.mmu.dirty_log import mark_leaf_dirty
from core.mmu.fault import count_fault, fix_fast, is_fast
from core.mmu.walk import entry_index, leaf_level
from core.sim.concurrent.state import PML_BUFFER, READER, WRITER
from core.sim.concurrent.timeline import add_accesses, add_fault
from core.sim.guest import DONE, plain_access, record_stall, rest_of_leaf
from core.sim.state.actors import ACQUIRE, FINISHED, RUN
from core.spte import DIRTY, PRESENT, WRITABLE
from core.stalls import bucket_of
from core.workload import is_in_order, is_written_by_stride, next_draw, order_key, page_of_visit, stride_writes

MOST_AT_ONCE = 4096
"""Accesses: keeps their products with times inside 64 bits, however long the guest thinks between two."""


@kernel
def run_along(machine, costs, memory, simulation, concurrency, phase, vcpu, time, horizon):
    """Run a vCPU's accesses from `time` to beyond `horizon`, or to where one needs the lock; return when it is due."""
    state, guest = simulation.vcpus[vcpu], concurrency.guests[vcpu]
    guest.in_guest = 1
    if guest.kicked:
        time += _feel_kicks(machine, memory, simulation, concurrency, phase, vcpu)
    in_order = is_in_order(machine, phase)
    is_patterned = in_order and not machine.random_writes
    key = 0 if in_order else order_key(machine.seed, vcpu, phase.pass_number + guest.passes)
    while time <= horizon:
        if state.visit == phase.visits:
            state.visit = 0
            guest.passes += 1
            if phase.ioctl == 0:  # one pass, over one root or over all
                if state.root == state.last_root:
                    drain_pml(machine, memory, simulation, concurrency, phase, vcpu)
                    state.finish = time
                    state.event = FINISHED
                    return DONE
                state.root += 1
            elif not in_order:
                key = order_key(machine.seed, vcpu, phase.pass_number + guest.passes)
        number = page_of_visit(machine, phase, state.visit, phase.pass_number + guest.passes, key)
        page = state.first_page + number
        mapped = leaf_level(memory, machine, state.root, page)
        level = max(1, mapped)
        entry = memory.sptes[entry_index(memory, machine, state.root, page, level)] if mapped else 0
        writable = entry & WRITABLE != 0
        is_logged = phase.logging and machine.pml and entry & DIRTY == 0  # by PML, once a write goes through
        if is_patterned and _is_quiet(machine, phase, entry, number, level):
            time += _run_quietly(machine, costs, memory, simulation, concurrency, phase, vcpu, time, horizon, level)
            continue
        write = next_access(machine, memory, simulation.counters, phase, state, number, page)
        if entry & PRESENT and (writable or not write):
            spent = plain_access(costs, simulation, level, write)
            add_accesses(concurrency.timeline, time, time + spent, 1, write)
            if write and is_logged:
                logging = _log_to_pml(machine, costs, memory, simulation, concurrency, phase, vcpu, page, level, entry)
                note_stall(simulation, concurrency, logging, True)
                spent += logging
            time += spent
            state.visit += 1
            continue
        count_fault(simulation.counters, entry & PRESENT, write)
        add_fault(concurrency.timeline, time)
        drain_pml(machine, memory, simulation, concurrency, phase, vcpu)  # every exit empties the buffer
        if entry & PRESENT and is_fast(machine, entry, level, phase.logging):
            fix_fast(memory, machine, simulation.counters, state.root, page, level, entry, phase.logging)
            simulation.times.exit += costs.fault_fast
            stall = costs.fault_fast
            if is_logged:
                stall += _log_to_pml(
                    machine, costs, memory, simulation, concurrency, phase, vcpu, page, level, entry | WRITABLE
                )
            note_stall(simulation, concurrency, stall, write)
            time += stall
            spent = plain_access(costs, simulation, level, write)
            add_accesses(concurrency.timeline, time, time + spent, 1, write)
            time += spent
            state.visit += 1
            continue
        state.page = page
        state.level = level if entry & PRESENT else 0
        state.write = write
        state.stall_start = time
        state.event = ACQUIRE
        guest.entry = entry
        guest.in_guest = 0
        simulation.times.exit += costs.fault_outside
        return time + costs.fault_outside
    state.event = RUN
    return time


@kernel
def complete(machine, costs, simulation, concurrency, phase, vcpu, time):
    """The faulting access of a vCPU goes through at `time`; return when it is done."""
    state = simulation.vcpus[vcpu]
    level = machine.track_level if phase.logging else machine.leaf_level
    stall = _note_fault(simulation, concurrency, vcpu, time)
    if concurrency.guests[vcpu].retried:
        concurrency.felt.stalled_retry += stall
    else:
        concurrency.felt.stalled_lock += stall
    spent = plain_access(costs, simulation, level, state.write)
    add_accesses(concurrency.timeline, time, time + spent, 1, state.write)
    state.visit += 1
    return time + spent


@kernel
def cut_off_stall(simulation, concurrency, vcpu, end):
    """The phase ends while the vCPU's access still waits: it counts for as long as that was."""
    concurrency.felt.stalled_lock += _note_fault(simulation, concurrency, vcpu, end)


@inlined
def _note_fault(simulation, concurrency, vcpu, end):
    """The faulting access of a vCPU has waited up to `end`; return how long."""
    state = simulation.vcpus[vcpu]
    stall = max(0, end - state.stall_start)
    note_stall(simulation, concurrency, stall, state.write)
    return stall


@inlined
def note_stall(simulation, concurrency, stall, write):
    """A read or a write took `stall` picoseconds beyond a plain one."""
    record_stall(simulation, stall)
    concurrency.stalls[WRITER if write else READER, bucket_of(stall)] += 1
    felt = concurrency.felt
    if write:
        felt.longest_write = max(felt.longest_write, stall)
    else:
        felt.longest_read = max(felt.longest_read, stall)


@kernel
def drain_pml(machine, memory, simulation, concurrency, phase, vcpu):
    """Set the bits of the pages in the vCPU's PML buffer, as every exit does, and empty it."""
    state = simulation.vcpus[vcpu]
    for place in range(state.pml_fill):
        page = concurrency.pml[vcpu, place]
        block = own(memory, machine, chunk_of(machine, page))
        mark_leaf_dirty(memory, machine, block, page, machine.track_level)
    state.pml_fill = 0


@kernel
def kick_for_pml(costs, concurrency):
    """Make every vCPU that is in the guest exit, as a get does that wants their PML buffers; nobody waits for them."""
    for guest in concurrency.guests:
        if guest.in_guest:
            guest.kicked += costs.kick
            concurrency.felt.ipis += 1
            concurrency.felt.stalled_pml += costs.kick


@kernel
def flush_tlbs(costs, concurrency, times):
    """Flush the TLBs of all vCPUs so often: those in the guest exit, and come back to an empty TLB.

    Return how long the sender waits for them.
    """
    running = 0
    if times:
        felt = concurrency.felt
        for guest in concurrency.guests:
            if guest.in_guest:
                running += 1
                guest.kicked += times * (costs.kick + costs.refill)
        felt.ipis += times * running
        felt.stalled_flush += times * running * costs.kick
        felt.stalled_refill += times * running * costs.refill
    return times * running * costs.flush_cpu


@kernel
def _feel_kicks(machine, memory, simulation, concurrency, phase, vcpu):
    """The exits that others forced on the vCPU since it last ran: return the time they take."""
    state, guest = simulation.vcpus[vcpu], concurrency.guests[vcpu]
    spent = guest.kicked
    guest.kicked = 0
    simulation.times.exit += spent
    note_stall(simulation, concurrency, spent, will_write(machine, state))
    drain_pml(machine, memory, simulation, concurrency, phase, vcpu)
    return spent


@inlined
def will_write(machine, state):
    """Whether the vCPU's next access writes; of a random order it is not worth knowing."""
    if machine.random_writes:
        return next_draw(state.draw) % 100 < machine.write_percent
    return is_written_by_stride(state.visit, machine.write_percent, machine.write_stride)


@kernel
def _log_to_pml(machine, costs, memory, simulation, concurrency, phase, vcpu, page, level, entry):
    """A write to the leaf `entry` sets its D-bit and is logged; return the time beyond a plain write.

    The CPU looks at the buffer's index before it logs: it is the write that finds the buffer full which exits.
    """
    state = simulation.vcpus[vcpu]
    own(memory, machine, chunk_of(machine, page))
    swap_entry(memory, entry_index(memory, machine, state.root, page, level), entry, entry | DIRTY)
    spent = costs.pml_entry
    if state.pml_fill == PML_BUFFER:
        drain_pml(machine, memory, simulation, concurrency, phase, vcpu)
        simulation.counters.pml_exits += 1
        simulation.times.exit += costs.pml_exit
        concurrency.felt.stalled_pml += costs.pml_exit
        spent += costs.pml_exit
    concurrency.pml[vcpu, state.pml_fill] = page
    state.pml_fill += 1
    simulation.counters.pml_entries += 1
    simulation.times.guest += costs.pml_entry
    return spent


@kernel
def _run_quietly(machine, costs, memory, simulation, concurrency, phase, vcpu, time, horizon, level):
    """Run through pages that need neither a fault nor the log, to the end of their leaf or table or just beyond
    `horizon`; return how long that takes."""
    state = simulation.vcpus[vcpu]
    visit = state.visit
    pages = min(_quiet_pages(machine, memory, phase, state, level), phase.visits - visit, MOST_AT_ONCE)
    if time + _quiet_time(machine, costs, phase, visit, pages, level) > horizon:
        fits, too_many = 0, pages  # accesses that end by the horizon, and that do not
        while too_many - fits > 1:
            middle = (fits + too_many) >> 1
            if time + _quiet_time(machine, costs, phase, visit, middle, level) > horizon:
                too_many = middle
            else:
                fits = middle
        pages = too_many
    writes = _writes(machine, phase, visit, pages)
    spent = _quiet_time(machine, costs, phase, visit, pages, level)
    counters = simulation.counters
    counters.accesses += pages
    counters.writes += writes
    if phase.ioctl == 0 and machine.partitioned:
        counters.pages_written += writes * is_first_root(phase, state)
    elif concurrency.guests[vcpu].passes < 2:  # afterwards every page of its share has been counted
        for number in range(visit, visit + pages):
            if phase.write_all or is_written_by_stride(number, machine.write_percent, machine.write_stride):
                count_page_written(memory, machine, counters, phase, state, state.first_page + number)
    simulation.times.guest += spent
    add_accesses(concurrency.timeline, time, time + spent, pages, writes)
    state.visit = visit + pages
    return spent


@inlined
def _quiet_time(machine, costs, phase, visit, pages, level):
    writes = _writes(machine, phase, visit, pages)
    if level > 1:
        return writes * costs.huge_write + (pages - writes) * costs.huge_read
    return writes * costs.write + (pages - writes) * costs.read


@inlined
def _writes(machine, phase, visit, pages):
    """How many of the next so many accesses write."""
    if phase.write_all:
        return pages
    return stride_writes(visit, visit + pages, machine.write_percent, machine.write_stride)


@inlined
def _quiet_pages(machine, memory, phase, state, level):
    """How many pages from the vCPU's next on, up to the end of their leaf or table, need neither fault nor log."""
    page = state.first_page + state.visit
    if level > 1:
        return rest_of_leaf(machine, page, level)
    start = entry_index(memory, machine, state.root, page, 1)
    most = 512 - ((page - machine.chunk_start) & 511)
    pages = 0
    while pages < most and _is_quiet(machine, phase, memory.sptes[start + pages], state.visit + pages, 1):
        pages += 1
    return pages


@inlined
def _is_quiet(machine, phase, entry, number, level):
    """Whether page `number` of the share, visited by stride, needs neither fault nor log; a huge leaf as a whole."""
    needed = PRESENT | WRITABLE | (DIRTY if phase.logging and machine.pml else 0)
    if entry & needed == needed:
        return True
    is_read = level == 1 and not phase.write_all
    is_read = is_read and not is_written_by_stride(number, machine.write_percent, machine.write_stride)
    return is_read and entry & PRESENT != 0
