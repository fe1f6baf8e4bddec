"""What one vCPU finds in memory period by period, and how its memory is left when periods are skipped.

A period is the vCPU's next so many pages: whole periods of the write pattern, and whole chunks. It repeats if the
chunks of the next period are in the state in which those of the last one were. Then a skip leaves each chunk in the
state in which its counterpart in the last period was left.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from core.compiled.kernel import inlined, kernel
from core.compiled.records import Integers, words_of
from core.counters import COUNTERS
from core.mmu.block import block_of, chunk_of, hold, is_like, release, share
from core.mmu.walk import entry_index
from core.sim.state.actors import TIMES
from core.sizes import PAGES_PER_2M
from core.spte import TABLE
from core.stalls import BUCKETS
from core.workload import draw_after


class Counted(NamedTuple):
    """What adds up in a simulation, as it was when a period began."""

    counts: Integers
    times: Integers
    stalls: Integers


def new_counted() -> Counted:
    return Counted(
        counts=np.zeros(words_of(COUNTERS), np.int64),
        times=np.zeros(words_of(TIMES), np.int64),
        stalls=np.zeros(BUCKETS, np.int64),
    )


@kernel
def keep_counted(simulation, counted):
    """Remember what was counted so far."""
    for kept, array in _pairs(simulation, counted):
        for index in range(array.size):
            kept[index] = array[index]


@kernel
def count_again(simulation, counted, periods):
    """Count `periods` times more what was counted since `keep_counted`; no stall gets longer than it was."""
    longest = simulation.times.longest_stall
    for kept, array in _pairs(simulation, counted):
        for index in range(array.size):
            array[index] += periods * (array[index] - kept[index])
    simulation.times.longest_stall = longest


@inlined
def _pairs(simulation, counted):
    return (counted.counts, simulation.counts), (counted.times, simulation.spent), (counted.stalls, simulation.stalls)


@kernel
def may_repeat(machine, memory, phase, state):
    """Whether the pages of the vCPU's next period, and its chunk, are in no other's share and under tables of level 2.

    So nothing that it does there changes anything but the blocks of their chunks. A page of the backing, or the range
    of a level-3 entry, may be another vCPU's, too: while it stays a table, and its state what the first write made it,
    neither vCPU sees the other.
    """
    first, end = (
        chunk_of(machine, state.first_page + PAGES_PER_2M - 1),
        chunk_of(machine, state.first_page + phase.visits),
    )
    here = _chunk(machine, state)
    if here < first or here + phase.period // PAGES_PER_2M >= end:
        return False
    for chunk in range(here, here + phase.period // PAGES_PER_2M + 1):
        if not _is_under_table(machine, memory, state, chunk) or not _is_settled(machine, memory, chunk):
            return False
    return True


@kernel
def hold_period(machine, memory, state, period, blocks):
    """Hold the blocks of the vCPU's chunk and of those up to a period further on."""
    for further in range(period // PAGES_PER_2M + 1):
        blocks[further] = hold(memory, _chunk(machine, state) + further)


@kernel
def release_period(memory, period, blocks):
    """Let go of the blocks of `hold_period`."""
    for further in range(period // PAGES_PER_2M + 1):
        release(memory, blocks[further])


@kernel
def periods_alike(machine, memory, phase, state, blocks, most):
    """How many further periods, `most` at most, find memory as that one did when it began which `blocks` were held for.

    The vCPU is at the end of that period.
    """
    step = phase.period // PAGES_PER_2M
    here = _chunk(machine, state)
    for chunk in range(here - step, here + 1):  # what a table was replaced by would be missed
        if not _is_under_table(machine, memory, state, chunk):
            return 0
    if not is_like(memory, machine, here, blocks[0]):
        return 0
    chunks = min(most * step, chunk_of(machine, state.first_page + phase.visits) - 1 - here)
    for further in range(1, chunks + 1):
        chunk = here + further
        like = blocks[further] if further <= step else block_of(memory, chunk - step)
        may_differ = not _is_under_table(machine, memory, state, chunk) or not _is_settled(machine, memory, chunk)
        if may_differ or not is_like(memory, machine, chunk, like):
            return (further - 1) // step
    return max(chunks, 0) // step


@kernel
def skip_periods(machine, memory, state, period, periods, duration):
    """Move the vCPU on by so many periods that take `duration`, and leave memory as it would have left it."""
    step = period // PAGES_PER_2M
    here = _chunk(machine, state)
    there = here + periods * step
    halfway = hold(memory, here)  # as far as the vCPU got in its chunk, it gets in the last
    for chunk in range(here, there):
        share(memory, chunk, block_of(memory, chunk - step))
    share(memory, there, halfway)
    release(memory, halfway)
    pages = periods * period
    state.visit += pages
    state.mark += pages
    state.page += pages
    state.stall_start += duration
    state.asked += duration
    if machine.random_writes:
        state.draw = draw_after(state.draw, pages)


@inlined
def _chunk(machine, state):
    """The chunk that the vCPU's next visit falls into."""
    return chunk_of(machine, state.first_page + state.visit)


@inlined
def _is_settled(machine, memory, chunk):
    """Whether the states of host and guest pages beyond a chunk's size stay as they are: the first write sets them."""
    page = max((chunk << 9) + machine.chunk_start - machine.first, 0)
    if machine.backing_shift > 9 and not memory.host_writable[page >> machine.backing_shift]:
        return False
    return not (machine.guest_shift > 9 and not memory.guest_dirty[page >> machine.guest_shift])


@inlined
def _is_under_table(machine, memory, state, chunk):
    return memory.sptes[entry_index(memory, machine, state.root, chunk << 9, 3)] == TABLE
