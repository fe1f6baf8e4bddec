"""The invariant of dirty logging, looked at from outside: no page can be written unseen."""

from __future__ import annotations

import numpy as np

from core.compiled.records import Record
from core.config import Config
from core.spte import DIRTY, LEAF, WRITABLE
from core.tables import Memory, bitmap_in_order


def untracked_pages(config: Config, machine: Record, memory: Memory) -> int:
    """4K pages that a write would dirty without a trace: no fault, no log, and their bit is 0.

    While nobody changes memory: at the end of a phase, with all PML buffers empty.
    """
    small = memory.sptes[: machine.level2].reshape(machine.blocks, machine.roots_1, 512)[memory.block_of]
    offset = int(machine.first - machine.chunk_start)
    dirty = np.unpackbits(bitmap_in_order(machine, memory, memory.dirty).view(np.uint8), bitorder="little")
    untracked = 0
    for root in range(int(machine.roots_1)):
        leaves = small[:, root].ravel()[offset : offset + config.pages]
        armed = leaves & (DIRTY if config.pml else WRITABLE)
        untracked += int(((leaves & LEAF != 0) & (leaves & WRITABLE != 0) & (armed != 0) & (dirty == 0)).sum())
    return untracked
