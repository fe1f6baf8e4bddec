"""A guest's access: whether it writes, and what is counted of it."""

from __future__ import annotations

import numpy as np

from core.compiled.kernel import inlined
from core.mmu.change import set_bits
from core.mmu.dirty_log import ONE
from core.workload import is_written_by_stride, next_draw


@inlined
def next_access(machine, memory, counters, phase, state, number, page):
    """Count the access to page `number` of the share, and say whether it writes: each visit takes a draw."""
    if machine.random_writes:
        state.draw = next_draw(state.draw)
        write = state.draw % 100 < machine.write_percent
    else:
        write = is_written_by_stride(number, machine.write_percent, machine.write_stride)
    if phase.write_all:
        write = True
    counters.accesses += 1
    if write:
        counters.writes += 1
        count_page_written(memory, machine, counters, phase, state, page)
    return write


@inlined
def is_first_root(phase, state):
    """1 in the first root that a vCPU passes over in this phase."""
    return 1 if state.root == 0 or not phase.all_roots else 0


@inlined
def count_page_written(memory, machine, counters, phase, state, page):
    """Count a written page once a pass: where nothing else tells, the bitmap `written` remembers it."""
    is_drawn_per_root = phase.all_roots and machine.random_writes and not phase.write_all
    if machine.partitioned and not is_drawn_per_root and not phase.ioctl and machine.skew == 100:
        counters.pages_written += is_first_root(phase, state)
        return
    number = page - machine.first
    bit = ONE << np.uint64(number & 63)
    if not set_bits(memory, memory.written, number >> 6, bit) & bit:
        counters.pages_written += 1
