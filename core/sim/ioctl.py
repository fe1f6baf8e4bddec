"""The ioctl thread: enable, get, clear and disable, slot by slot, as one more actor of the simulation.

Its work comes in units of at most 512 pages. For each slot it prepares without the lock, splits, clears D-bits (enable
with PML), walks the slot, and flushes the TLBs. Each of these walks takes mmu_lock once: enable and disable of the TDP
MMU for read, all others for write. That it gives the lock up on the way and takes it back, to allocate a table or
because others wait, is not counted.
"""

from __future__ import annotations

import numpy as np

from core.compiled.atomics import count_ones
from core.compiled.kernel import inlined, kernel
from core.mmu.block import chunk_of, own
from core.mmu.collapse import collapse_table, zap_small_leaves
from core.mmu.dirty_log import count_reported, set_all_dirty
from core.mmu.rearm import (
    clear_dirty_bit,
    has_small_table,
    rearm_tracked_leaf,
    rearm_word,
    take_dirty_word,
    take_reported_word,
    write_protect,
)
from core.mmu.split import CHILDREN, split_down_to, splits_so_far
from core.mmu.walk import entry_index, leaf_level
from core.sim.fast_forward.units import do_again, finish_unit, forget_units, known_unit, start_unit
from core.sim.guest import DONE
from core.sim.state.actors import ACQUIRE, RUN
from core.sim.state.event_queue import NEVER
from core.spte import PRESENT
from core.steps import CLEAR, DISABLE, ENABLE, GET

PREPARE, SPLIT, CLEAR_DIRTY, WALK, FLUSH = range(5)

UNIT = 512


@kernel
def start_ioctl(simulation):
    """Put the thread before its first slot."""
    ioctl = simulation.ioctl
    ioctl.slot = 0
    ioctl.stage = PREPARE
    ioctl.locked = 0
    ioctl.split_region = -1
    ioctl.event = RUN


@kernel
def run_ioctl(machine, costs, memory, simulation, units, phase, time, horizon):
    """Run the thread from `time` to beyond `horizon`, or to where it needs the lock; return when it is due, or DONE."""
    ioctl = simulation.ioctl
    while ioctl.slot < machine.slots:
        if time > horizon:
            return time
        stage = ioctl.stage
        if not ioctl.locked and needs_lock(machine, phase, stage):
            ioctl.event = ACQUIRE
            return time
        spent = step_ioctl(machine, costs, memory, simulation, units, phase)
        time += spent
        if ioctl.locked:
            simulation.times.lock_hold += spent
        else:
            simulation.times.other += spent
        if ioctl.locked and ioctl.stage != stage:
            ioctl.locked = 0
            simulation.lock.write_free = time
    forget_units(memory, units)
    ioctl.finish = time
    return DONE


@kernel
def grant_to_ioctl(costs, simulation, granted):
    """The thread gets the lock it asked for; return when it goes on."""
    asked = simulation.ioctl.asked
    contended = granted > asked
    spent = costs.hand_over if contended else costs.lock_uncontended
    simulation.counters.lock_acquisitions += 1
    simulation.counters.lock_contended += 1 if contended else 0
    simulation.times.lock_wait += granted - asked + spent
    simulation.ioctl.locked = 1
    simulation.ioctl.event = RUN
    simulation.lock.write_free = NEVER
    return granted + spent


@inlined
def needs_lock(machine, phase, stage):
    """Whether the stage takes mmu_lock: all walks do; only get with manual protection does no more than copy bits."""
    return SPLIT <= stage <= WALK and (phase.ioctl != GET or not machine.manual)


@inlined
def is_flag_change(phase):
    """Whether the ioctl changes a slot's flags: KVM then waits for a grace period of SRCU, slot by slot."""
    return phase.ioctl == ENABLE or phase.ioctl == DISABLE


@kernel
def step_ioctl(machine, costs, memory, simulation, units, phase):
    """Do one unit of work of the current stage, and move on; return how long it takes."""
    ioctl, counters = simulation.ioctl, simulation.counters
    slot, stage = ioctl.slot, ioctl.stage
    if stage == PREPARE:
        ioctl.number = slot * machine.pages_per_slot
        ioctl.changed = 0
        return _prepare(machine, costs, memory, simulation, phase)
    if stage == FLUSH:
        _next_slot(simulation)
        counters.tlb_flushes += 1
        return costs.flush
    first = ioctl.number
    end = min(_unit_end(machine, phase, first), (slot + 1) * machine.pages_per_slot)
    ioctl.number = end
    if phase.period and end - first == UNIT and first % UNIT == 0:
        spent = _whole_unit(machine, costs, memory, simulation, units, phase, first)
    else:
        spent = _unit(machine, costs, memory, simulation, phase, first, end)
    if end == (slot + 1) * machine.pages_per_slot:
        _end_stage(machine, simulation)
    return spent


@kernel
def _whole_unit(machine, costs, memory, simulation, units, phase, first):
    """The 512 pages of one chunk: done again if another one was like it."""
    chunk = chunk_of(machine, machine.first + first)
    number = known_unit(machine, memory, units, simulation.ioctl, chunk, phase.period // UNIT)
    if units.units[number].known:
        return do_again(memory, simulation, units, number, chunk)
    start_unit(machine, memory, simulation, units, number, chunk)
    spent = _unit(machine, costs, memory, simulation, phase, first, first + UNIT)
    finish_unit(machine, memory, simulation, units, number, chunk, spent)
    return spent


@kernel
def _unit(machine, costs, memory, simulation, phase, first, end):
    """Pages `first` to `end` - 1 of the guest in the current stage; return how long that takes."""
    ioctl, counters = simulation.ioctl, simulation.counters
    for chunk in range(chunk_of(machine, machine.first + first), chunk_of(machine, machine.first + end - 1) + 1):
        own(memory, machine, chunk)
    if ioctl.stage == SPLIT:
        return _split_unit(machine, costs, memory, counters, first)
    if phase.ioctl == ENABLE:
        ioctl.changed = 1  # KVM flushes after an enable, whatever it found
        return _enable_unit(machine, costs, memory, counters, ioctl.stage, first, end)
    if phase.ioctl == DISABLE:
        return _disable_unit(machine, costs, memory, simulation, first, end)
    spent = _bitmap_unit(machine, costs, memory, simulation, phase, first, end)
    if phase.ioctl == GET:
        count_reported(memory, machine, counters, first, end)
    return spent


@kernel
def _prepare(machine, costs, memory, simulation, phase):
    """What comes before the lock: enable allocates the bitmap, and with initially_all_set that is all."""
    ioctl = simulation.ioctl
    ioctl.stage = WALK
    spent = costs.slot if is_flag_change(phase) else 0
    if phase.ioctl != ENABLE:
        return spent
    if machine.all_set:
        set_all_dirty(memory, machine, ioctl.number, ioctl.number + machine.pages_per_slot)
        _next_slot(simulation)
    elif machine.eager:
        ioctl.stage = SPLIT
    elif machine.pml:
        ioctl.stage = CLEAR_DIRTY
    return spent + machine.pages_per_slot * costs.bitmap_page


@kernel
def _end_stage(machine, simulation):
    """The slot's last unit of a stage is done."""
    ioctl = simulation.ioctl
    if ioctl.stage < WALK:
        ioctl.stage = CLEAR_DIRTY if ioctl.stage == SPLIT and machine.pml else WALK
        ioctl.number = ioctl.slot * machine.pages_per_slot
        return
    if ioctl.changed:
        ioctl.stage = FLUSH
    else:
        _next_slot(simulation)


@kernel
def _next_slot(simulation):
    simulation.ioctl.slot += 1
    simulation.ioctl.stage = PREPARE


@kernel
def _unit_end(machine, phase, first):
    """Bitmap walks go by words of the slot, table walks by chunks of the guest's memory."""
    return first + UNIT if phase.ioctl == GET or phase.ioctl == CLEAR else (first >> 9) + 1 << 9


@kernel
def _split_unit(machine, costs, memory, counters, number):
    """Split the huge leaves over one 2M region, in all roots."""
    page = machine.first + number
    made, splits = 0, splits_so_far(counters)
    for root in range(machine.roots):
        level = leaf_level(memory, machine, root, page)
        if level > machine.track_level:
            made += split_down_to(memory, machine, counters, root, page, level, machine.track_level)
    return _split_time(machine, costs, counters, made, splits_so_far(counters) - splits)


@kernel
def _split_time(machine, costs, counters, made, splits):
    """Time of eager splits that made so many leaves, and of their flushes: the rmap MMUs flush for each up to 6.12.

    Running vCPUs cost more, see core.sim.concurrent.

    A table that another root had already is only linked.
    """
    spent = made * costs.split_child + (splits - made // CHILDREN) * costs.table_hold
    if not machine.flush_each_split:
        return spent
    counters.tlb_flushes += splits
    return spent + splits * costs.flush_split


@kernel
def _enable_unit(machine, costs, memory, counters, stage, first, end):
    """enable: one walk over one chunk, in all roots. rmap MMUs visit all rmap heads of the range."""
    if stage == WALK and machine.pml:
        return _protect_huge_unit(machine, costs, memory, counters, machine.first + first)
    spent = (end - first) * costs.scan_head if machine.rmap else 0
    page, last = machine.first + first, machine.first + end
    while page < last:
        end_of_table = min(last, (page >> 9) + 1 << 9)  # with 4K backing a chunk straddles two tables
        for root in range(machine.roots):
            _rearm_huge_leaf(machine, memory, counters, root, page)
        for root in range(machine.roots_1):
            spent += _rearm_small_leaves(machine, costs, memory, counters, root, page, end_of_table)
        page = end_of_table
    return spent


@kernel
def _rearm_huge_leaf(machine, memory, counters, root, page):
    """Re-arm the huge leaf that maps `page`, if one does: that costs nothing beside the 512 entries of a table.

    With PML it is the D-bit that is cleared: the TDP MMU does so in all leaves, the rmap MMUs in tracked ones.
    """
    level = leaf_level(memory, machine, root, page)
    if level > 1:
        index = entry_index(memory, machine, root, page, level)
        if not machine.pml:
            write_protect(memory, counters, index)
        elif level <= machine.track_level or not machine.rmap:
            clear_dirty_bit(memory, counters, index)


@kernel
def _rearm_small_leaves(machine, costs, memory, counters, root, page, end):
    """Re-arm the 4K leaves of pages `page` to `end` - 1 of one 2M region; return what that takes beside rmap heads."""
    if not has_small_table(memory, machine, root, page):
        return 0
    changed = 0
    start = entry_index(memory, machine, root, page, 1)
    for index in range(start, start + np.uintp(end - page)):
        if memory.sptes[index] & PRESENT:
            changed += rearm_tracked_leaf(memory, machine, counters, index)
    return changed * costs.protect + (0 if machine.rmap else (end - page) * costs.walk_entry)


@kernel
def _protect_huge_unit(machine, costs, memory, counters, page):
    """enable with PML: leaves that are too large to be tracked are made read-only by a walk above the 4K level."""
    for root in range(machine.roots):
        level = leaf_level(memory, machine, root, page)
        if level > machine.track_level:
            write_protect(memory, counters, entry_index(memory, machine, root, page, level))
    return costs.scan_head if machine.rmap else costs.walk_entry


@kernel
def _bitmap_unit(machine, costs, memory, simulation, phase, first, end):
    """get and clear: up to eight words of the bitmap."""
    ioctl, counters = simulation.ioctl, simulation.counters
    spent = 0
    for word in range(first >> 6, end >> 6):
        if phase.ioctl == GET:
            mask = take_dirty_word(memory, machine, word)
            spent += costs.get_word + (costs.get_first_word if phase.pass_number == 1 else 0)
            if machine.manual:
                continue
        else:
            mask = take_reported_word(memory, machine, word)
        if mask == 0:
            continue
        # the TDP MMU, which is L1's too, is walked from its root for the 4K entries; with initially_all_set before that
        # to write-protect huge leaves, and to split them
        spent += costs.clear_word + costs.walk_root * (1 + machine.all_set + machine.all_set * machine.eager)
        ioctl.changed = 1
        splits = splits_so_far(counters)
        made, visited, changed = rearm_word(memory, machine, counters, word, mask)
        splits = splits_so_far(counters) - splits
        region = (machine.first + (word << 6)) >> 9
        if splits:
            ioctl.split_region = region
            spent += _split_time(machine, costs, counters, made, splits) + splits * costs.split_cache
        # an entry that this very clear has made is in this CPU's cache, as in the walk of an enable
        page_cost = costs.protect if ioctl.split_region == region else costs.clear_page
        # rmap MMUs look up the head of every set bit, and all entries it leads to; the TDP MMU the entries there are
        lookups = count_ones(mask) + visited - changed
        spent += lookups * costs.scan_head if machine.rmap else visited * costs.walk_entry
        spent += changed * page_cost
    return spent


@kernel
def _disable_unit(machine, costs, memory, simulation, first, end):
    """disable: make room for huge leaves over one 2M region, in all roots.

    KVM asks the host how large the page is: for each table (TDP MMU), for each entry of an rmap (legacy_tdp).
    """
    spent = (end - first) * costs.scan_head if machine.rmap else costs.walk_entry + costs.host_level
    for root in range(machine.roots):
        page = machine.first + first
        if machine.leaf_level == 1:
            spent += (end - first) * costs.host_level if machine.rmap and machine.has_fast_fault else 0
        elif machine.rmap:
            dropped = zap_small_leaves(memory, machine, simulation.counters, root, page, machine.first + end - 1)
            if dropped:
                simulation.ioctl.changed = 1
            spent += dropped * (costs.zap + costs.host_level)
        else:
            flushes = simulation.counters.tlb_flushes
            dropped = collapse_table(memory, machine, simulation.counters, root, page)
            spent += (simulation.counters.tlb_flushes - flushes) * costs.flush_table + dropped * costs.zap
            if dropped and machine.collapse_in_place:
                simulation.ioctl.changed = 1
    return spent
