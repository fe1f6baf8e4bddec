"""Chunks share blocks while they are alike, and change without the others noticing."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from core.compiled.records import Record
from core.config import make_config
from core.mmu.block import hold, is_like, own, release, share
from core.tables import Memory, machine_of, new_memory

CHUNKS = 6
CONFIG = make_config(
    {"mem_per_vcpu": CHUNKS * 2 * 2**20, "backing": "2M", "mmu": "nested", "guest_page": "4K", "guest_roots": 2}
)


def new_machine_and_memory() -> tuple[Record, Memory]:
    machine = machine_of(CONFIG)
    return machine, new_memory(machine)


def write(machine: Record, memory: Memory, chunk: int, place: int, value: int) -> None:
    """Change something of the chunk at every kind of state that a block holds."""
    block = own(memory, machine, chunk)
    memory.sptes[(block * 2 + 1) * 512 + place] = value
    memory.sptes[machine.level2 + block * 2 + 1] = value
    memory.host_writable[block] = value & 1
    memory.dirty[block * 8 + place // 64] = value
    memory.reported[block * 8 + 7] = value


def content(machine: Record, memory: Memory, block: int) -> tuple[bytes, ...]:
    arrays: list[tuple[Any, int]] = [(memory.sptes[: machine.level2], 1024), (memory.sptes[machine.level2 :], 2)]
    arrays += [(memory.host_writable, 1), (memory.dirty, 8), (memory.reported, 8)]
    return tuple(array[block * size : (block + 1) * size].tobytes() for array, size in arrays)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("write"), st.integers(0, CHUNKS - 1), st.integers(0, 511), st.integers(0, 3)),
            st.tuples(st.just("share"), st.integers(0, CHUNKS - 1), st.integers(0, CHUNKS - 1), st.just(0)),
            st.tuples(st.just("compare"), st.integers(0, CHUNKS - 1), st.integers(0, CHUNKS - 1), st.just(0)),
        ),
        max_size=40,
    )
)
def test_chunks_hold_what_was_last_written_to_them(steps: list[tuple[str, int, int, int]]) -> None:
    machine, memory = new_machine_and_memory()
    plain = [content(machine, memory, 0)] * CHUNKS
    for step, chunk, other, value in steps:
        if step == "write":
            write(machine, memory, chunk, other, value)
            plain[chunk] = content(machine, memory, memory.block_of[chunk])
        elif step == "share":
            share(memory, chunk, memory.block_of[other])
            plain[chunk] = plain[other]
        else:
            assert is_like(memory, machine, chunk, memory.block_of[other]) == (plain[chunk] == plain[other])
        assert [content(machine, memory, block) for block in memory.block_of] == plain
        shared = np.bincount(memory.block_of, minlength=machine.blocks)
        shared[0] += 1  # block 0 stays
        assert (memory.references == shared).all()
        in_use = int(memory.block_counts[1] - memory.block_counts[0])
        assert in_use == np.count_nonzero(memory.references)


def test_a_block_that_is_held_stays_as_it_is() -> None:
    machine, memory = new_machine_and_memory()
    write(machine, memory, 2, 5, 7)
    block = hold(memory, 2)
    before = content(machine, memory, block)
    write(machine, memory, 2, 6, 9)
    assert content(machine, memory, block) == before
    assert memory.block_of[2] != block
    assert not is_like(memory, machine, 2, block)
    release(memory, block)
    assert own(memory, machine, 3) == block  # free, and used again
