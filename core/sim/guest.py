"""A vCPU between two lock operations: accesses that hit, and faults that need no lock.

It runs ahead of the other actors as far as that cannot matter: without limit where its pages are its own, else up to
the next event of anybody.
"""

from __future__ import annotations

import numpy as np

from core.atomics import compare_and_swap, fetch_or
from core.kernel import inlined, kernel
from core.mmu.dirty_log import ONE, mark_leaf_dirty
from core.mmu.fault import count_fault, fix_fast, is_fast
from core.mmu.walk import entry_index, leaf_level
from core.sim.stalls import bucket_of
from core.sim.state import ACQUIRE, RUN
from core.spte import DIRTY, PRESENT, WRITABLE
from core.workload import is_written_by_stride, next_draw, order_key, shuffled, stride_writes

PML_BUFFER = 512
DONE = -1


@kernel
def run_guest(machine, costs, memory, simulation, phase, vcpu, time, horizon):
    """Run a vCPU's accesses from `time` on; return when its next event is due, or DONE at the end of its pass.

    Stops where an access needs the lock (event ACQUIRE), or, where pages are shared, beyond `horizon` (event RUN).
    """
    state, counters = simulation.vcpus[vcpu], simulation.counters
    share = machine.pages_per_vcpu if machine.partitioned else machine.pages
    base = machine.first + (vcpu * machine.pages_per_vcpu if machine.partitioned else 0)
    sequential = machine.random_order == 0
    by_stride = machine.random_writes == 0
    key = 0 if sequential else order_key(machine.seed, vcpu, phase.pass_number)
    visit, draw = state.visit, state.draw
    space = state.space
    due = DONE
    region, level, index, table = -1, 0, 0, False
    entry = 0
    while True:
        if visit == share:
            if space == state.last_space:
                state.finish = time
                break
            space += 1
            visit = 0
            region = -1
            continue
        if not machine.private and time > horizon:
            state.event = RUN
            due = time
            break
        number = visit if sequential else shuffled(visit, share, key)
        page = base + number
        if page >> 9 != region or not machine.private:
            region = page >> 9
            level = max(1, leaf_level(memory, machine, space, page))
            index = entry_index(machine, space, page, level)
            entry = memory.sptes[index]
            table = memory.sptes[entry_index(machine, space, page, 2)] != 0
        elif level == 1:
            index = entry_index(machine, space, page, 1)
            entry = memory.sptes[index] if table else 0
        writable = entry & WRITABLE != 0
        quiet = writable and (not phase.logging or machine.pml == 0 or entry & DIRTY != 0)
        if level > 1 and quiet and sequential and by_stride and machine.private:
            # a writable huge leaf: nothing can happen up to its end
            last = min(share, visit + (1 << 9) - (page & 511)) if level == 2 else share
            if level == 3:
                last = min(share, visit + _pages_to_end_of_gig(machine, page))
            writes = last - visit if phase.write_all else stride_writes(visit, last, machine.write_percent)
            counters.accesses += last - visit
            counters.writes += writes
            counters.pages_written += writes
            simulation.times.guest += (last - visit) * costs.huge_access
            time += (last - visit) * costs.huge_access
            visit = last
            continue
        if by_stride:
            write = phase.write_all or is_written_by_stride(number, machine.write_percent)
        else:
            draw = next_draw(draw)
            write = phase.write_all or draw % 100 < machine.write_percent
        counters.accesses += 1
        if write:
            counters.writes += 1
            _count_page_written(memory, machine, counters, page)
        present = entry & PRESENT != 0
        if present and (writable or not write):
            plain = _plain_access(costs, level, write)
            simulation.times.guest += plain
            time += plain
            if write and not quiet:
                compare_and_swap(memory.sptes, index, entry, entry | DIRTY)
                entry = memory.sptes[index]
                mark_leaf_dirty(memory, machine, page, level)
                time += _log_to_pml(costs, simulation, vcpu)
            visit += 1
            continue
        count_fault(counters, present, write)
        state.pml_fill = 0  # every exit empties the buffer
        if present and is_fast(machine, entry, level, phase.logging):
            fix_fast(memory, machine, counters, space, page, level, phase.logging)
            entry = memory.sptes[index]
            plain = _plain_access(costs, level, write)
            simulation.times.guest += plain
            simulation.times.exit += costs.fault_fast
            record_stall(simulation, costs.fault_fast, 1)
            time += costs.fault_fast + plain
            visit += 1
            continue
        state.page = page
        state.write = write
        state.stall_start = time
        state.event = ACQUIRE
        simulation.times.exit += costs.fault_outside
        due = time + costs.fault_outside
        break
    state.visit = visit
    state.draw = draw
    state.space = space
    return due


@inlined
def complete_access(machine, costs, simulation, phase, state, time):
    """The faulting access of a vCPU goes through at `time`; return when it is done."""
    record_stall(simulation, time - state.stall_start, 1)
    level = machine.track_level if phase.logging else machine.leaf_level
    plain = _plain_access(costs, level, state.write)
    simulation.times.guest += plain
    state.visit += 1
    return time + plain


@inlined
def record_stall(simulation, stall, accesses):
    """Note that so many accesses took `stall` picoseconds beyond a plain one."""
    simulation.stalls[bucket_of(stall)] += accesses
    if stall > simulation.times.longest_stall:
        simulation.times.longest_stall = stall


@inlined
def _plain_access(costs, level, write):
    if level > 1:
        return costs.huge_access
    return costs.write if write else costs.read


@inlined
def _log_to_pml(costs, simulation, vcpu):
    """A write set a D-bit: log it, and exit if the buffer is full; return the time beyond a plain write."""
    simulation.counters.pml_entries += 1
    simulation.times.guest += costs.pml_entry
    spent = costs.pml_entry
    fill = simulation.vcpus[vcpu].pml_fill + 1
    if fill == PML_BUFFER:
        fill = 0
        simulation.counters.pml_exits += 1
        simulation.times.exit += costs.pml_exit
        spent += costs.pml_exit
    simulation.vcpus[vcpu].pml_fill = fill
    record_stall(simulation, spent, 1)
    return spent


@inlined
def _count_page_written(memory, machine, counters, page):
    """Count a written page once a pass: where vCPUs overlap, the bitmap `written` remembers it."""
    if machine.partitioned:
        counters.pages_written += 1
        return
    number = page - machine.first
    bit = ONE << np.uint64(number & 63)
    if not fetch_or(memory.written, number >> 6, bit) & bit:
        counters.pages_written += 1


@inlined
def _pages_to_end_of_gig(machine, page):
    """Pages from `page` to the end of its 1G range."""
    return (1 << 18) - ((page + (machine.region_shift << 9)) & ((1 << 18) - 1))
