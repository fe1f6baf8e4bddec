"""Units of an ioctl's work, done once for all that find the same: the second half of fast-forwarding.

What a unit does follows from the block of its chunk, and from the level-3 entries above. So where a chunk is in the
state that another one was found in, it is left in the state that one was left in, and counts and takes the same.
The states are remembered of as many units as the write pattern takes to repeat.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from core.compiled.kernel import inlined, kernel
from core.compiled.records import Integers, Record, layout, new_record, words_of
from core.counters import COUNTERS
from core.mmu.block import hold, is_like, release, share
from core.mmu.walk import entry_index
from core.tables import Bytes

UNIT: Final = layout(["known", "before", "after", "spent", "changed"])
"""What a unit found, left, took and whether it asks for a flush; `before` and `after` are blocks."""

PLACE: Final = layout(["gig", "stage"])
"""Where the units were done: below one level-3 entry, in one stage of the ioctl."""


class Units(NamedTuple):
    """The last units that were done, by their chunk modulo their number."""

    units: npt.NDArray[Any]
    counts: Integers  # per unit, what it counted
    place: Record
    upper: Bytes  # per root, the level-3 entry before a unit


def new_units(chunks: int, roots: int) -> Units:
    """Nothing is known yet; the write pattern repeats after at most so many chunks."""
    return Units(
        units=np.zeros(chunks, UNIT),
        counts=np.zeros((chunks, words_of(COUNTERS)), np.int64),
        place=new_record(PLACE),
        upper=np.zeros(roots, np.uint8),
    )


@kernel
def known_unit(machine, memory, units, ioctl, chunk, period):
    """The unit that found what this one finds, or else the one to forget for it."""
    gig = (chunk + machine.region_shift) >> 9
    if units.place.gig != gig or units.place.stage != ioctl.stage:
        forget_units(memory, units)
        units.place.gig = gig
        units.place.stage = ioctl.stage
    number = chunk % period
    unit = units.units[number]
    if unit.known and not is_like(memory, machine, chunk, unit.before):
        _forget(memory, unit)
    return number


@kernel
def do_again(memory, simulation, units, number, chunk):
    """Leave the chunk as that unit left its own; return how long that takes."""
    unit = units.units[number]
    share(memory, chunk, unit.after)
    simulation.ioctl.changed |= unit.changed
    counted = units.counts[number]
    for index in range(counted.size):
        simulation.counts[index] += counted[index]
    return unit.spent


@kernel
def start_unit(machine, memory, simulation, units, number, chunk):
    """A unit begins: keep what it finds."""
    units.units[number].before = hold(memory, chunk)
    units.units[number].changed = simulation.ioctl.changed
    simulation.ioctl.changed = 0
    for root in range(machine.roots):
        units.upper[root] = memory.sptes[entry_index(memory, machine, root, chunk << 9, 3)]
    counted = units.counts[number]
    for index in range(counted.size):
        counted[index] = simulation.counts[index]


@kernel
def finish_unit(machine, memory, simulation, units, number, chunk, spent):
    """A unit is done, and known from now on, unless it changed more than its chunk: then others find something else."""
    unit = units.units[number]
    changed = simulation.ioctl.changed
    simulation.ioctl.changed |= unit.changed
    for root in range(machine.roots):
        if units.upper[root] != memory.sptes[entry_index(memory, machine, root, chunk << 9, 3)]:
            release(memory, unit.before)
            return
    is_like(memory, machine, chunk, unit.before)  # where nothing was done, nothing needs a block of its own
    unit.after = hold(memory, chunk)
    unit.changed = changed
    unit.spent = spent
    unit.known = 1
    counted = units.counts[number]
    for index in range(counted.size):
        counted[index] = simulation.counts[index] - counted[index]


@kernel
def forget_units(memory, units):
    """Let go of all blocks that were kept."""
    for unit in units.units:
        if unit.known:
            _forget(memory, unit)


@inlined
def _forget(memory, unit):
    unit.known = 0
    release(memory, unit.before)
    release(memory, unit.after)
