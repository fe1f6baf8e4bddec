"""A vCPU between two lock operations: accesses that hit, and faults that need no lock.

It runs ahead of the other actors as far as that cannot matter: without limit on pages of its own, else up to the next
event of anybody.
"""

from __future__ import annotations

from core.compiled.kernel import inlined
from core.mmu.access import is_first_root, next_access
from core.mmu.block import chunk_of, own
from core.mmu.change import swap_entry
from core.mmu.dirty_log import mark_leaf_dirty
from core.mmu.fault import count_fault, fix_fast, is_fast
from core.mmu.walk import entry_index, leaf_level
from core.sim.state.actors import ACQUIRE, FINISHED, MARK, RUN
from core.sim.state.event_queue import NEVER
from core.spte import DIRTY, PRESENT, WRITABLE
from core.stalls import bucket_of
from core.workload import is_in_order, order_key, page_of_visit, stride_writes

PML_BUFFER = 512
DONE = -1


@inlined
def run_guest(machine, costs, memory, simulation, phase, vcpu, time, horizon):
    """Run a vCPU's accesses from `time` on; return when its next event is due, or DONE at the end of its pass.

    Stops where an access needs the lock (event ACQUIRE), at its mark (MARK) and, where it visits pages that are not its
    own, beyond `horizon` (RUN).
    """
    state = simulation.vcpus[vcpu]
    in_order = is_in_order(machine, phase)
    key = 0 if in_order else order_key(machine.seed, vcpu, phase.pass_number)
    # A writable huge leaf stays as it is while only vCPUs run: it takes a fault to change an entry.
    are_apart = machine.vcpus_disjoint or (machine.partitioned and machine.roots == 1)
    skips = are_apart and not phase.ioctl and in_order and not machine.random_writes
    while True:
        if state.visit == phase.visits:
            if state.root == state.last_root:
                state.finish = time
                state.event = FINISHED
                return DONE
            state.root += 1
            state.visit = 0
            state.mark = phase.period or NEVER
        if state.visit >= state.mark:
            state.mark = (state.visit // phase.period + 1) * phase.period
            state.event = MARK
            return time
        number = page_of_visit(machine, phase, state.visit, phase.pass_number, key)
        if time > horizon and not is_own(state, number):
            state.event = RUN
            return time
        page = state.first_page + number
        mapped = leaf_level(memory, machine, state.root, page)
        level = max(1, mapped)
        entry = memory.sptes[entry_index(memory, machine, state.root, page, level)] if mapped else 0
        writable = entry & WRITABLE != 0
        is_logged = phase.logging and machine.pml and entry & DIRTY == 0  # by PML, once a write goes through
        quiet = writable and not is_logged
        if skips and quiet and level > 1:
            time += _run_to_end_of_leaf(machine, costs, simulation, phase, state, page, level)
            continue
        write = next_access(machine, memory, simulation.counters, phase, state, number, page)
        if entry & PRESENT and (writable or not write):
            time += plain_access(costs, simulation, level, write)
            if write and is_logged:
                spent = _log_to_pml(memory, machine, costs, simulation, state, page, level, entry)
                record_stall(simulation, spent)
                time += spent
            state.visit += 1
            continue
        count_fault(simulation.counters, entry & PRESENT, write)
        state.pml_fill = 0  # every exit empties the buffer
        if entry & PRESENT and is_fast(machine, entry, level, phase.logging):
            fix_fast(memory, machine, simulation.counters, state.root, page, level, entry, phase.logging)
            spent = costs.fault_fast
            simulation.times.exit += costs.fault_fast
            if is_logged:
                spent += _log_to_pml(memory, machine, costs, simulation, state, page, level, entry | WRITABLE)
            record_stall(simulation, spent)
            time += spent + plain_access(costs, simulation, level, write)
            state.visit += 1
            continue
        state.page = page
        state.level = level if entry & PRESENT else 0
        state.write = write
        state.stall_start = time
        state.event = ACQUIRE
        simulation.times.exit += costs.fault_outside
        return time + costs.fault_outside


@inlined
def set_own(machine, state, first):
    """Tell which pages of its share, which starts at page `first` of the guest, are the vCPU's own."""
    end = first + machine.share
    state.own_from = -(-first // machine.share_unit) * machine.share_unit - first
    state.own_to = (end if end == machine.pages else end // machine.share_unit * machine.share_unit) - first
    if not machine.partitioned:
        state.own_to = 0


@inlined
def is_own(state, number):
    """Whether page `number` of the vCPU's share is its own."""
    return state.own_from <= number < state.own_to


@inlined
def _run_to_end_of_leaf(machine, costs, simulation, phase, state, page, level):
    """Run through a writable huge leaf, where nothing can happen up to its end; return how long that takes."""
    visit = state.visit
    last = min(phase.visits, visit + rest_of_leaf(machine, page, level))
    writes = (
        last - visit if phase.write_all else stride_writes(visit, last, machine.write_percent, machine.write_stride)
    )
    simulation.counters.accesses += last - visit
    simulation.counters.writes += writes
    simulation.counters.pages_written += writes * is_first_root(phase, state)
    spent = (last - visit - writes) * costs.huge_read + writes * costs.huge_write
    simulation.times.guest += spent
    state.visit = last
    return spent


@inlined
def complete_access(machine, costs, simulation, phase, state, time):
    """The faulting access of a vCPU goes through at `time`; return when it is done."""
    record_stall(simulation, time - state.stall_start)
    level = machine.track_level if phase.logging else machine.leaf_level
    state.visit += 1
    return time + plain_access(costs, simulation, level, state.write)


@inlined
def record_stall(simulation, stall):
    """Note that an access took `stall` picoseconds beyond a plain one."""
    simulation.stalls[bucket_of(stall)] += 1
    if stall > simulation.times.longest_stall:
        simulation.times.longest_stall = stall


@inlined
def plain_access(costs, simulation, level, write):
    """An access that finds its page mapped; return how long it takes."""
    small, huge = (costs.write, costs.huge_write) if write else (costs.read, costs.huge_read)
    plain = huge if level > 1 else small
    simulation.times.guest += plain
    return plain


@inlined
def _log_to_pml(memory, machine, costs, simulation, state, page, level, entry):
    """A write to the leaf `entry` sets its D-bit and is logged; return the time beyond a plain write.

    The CPU looks at the buffer's index before it logs: it is the write that finds the buffer full which exits.
    """
    block = own(memory, machine, chunk_of(machine, page))
    swap_entry(memory, entry_index(memory, machine, state.root, page, level), entry, entry | DIRTY)
    mark_leaf_dirty(memory, machine, block, page, level)
    spent = costs.pml_entry
    simulation.times.guest += costs.pml_entry
    if state.pml_fill == PML_BUFFER:
        state.pml_fill = 0
        simulation.counters.pml_exits += 1
        simulation.times.exit += costs.pml_exit
        spent += costs.pml_exit
    state.pml_fill += 1
    simulation.counters.pml_entries += 1
    return spent


@inlined
def rest_of_leaf(machine, page, level):
    """Pages from `page` to the end of the 2M or 1G leaf that maps it."""
    if level == 2:
        return (1 << 9) - (page & 511)
    return (1 << 18) - ((page + (machine.region_shift << 9)) & ((1 << 18) - 1))
