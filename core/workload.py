"""Who touches which page, and whether it reads or writes: dirty_log_perf_test's guest code.

One pass visits every page of a vCPU's share once. The order is sequential or a seeded permutation; writes follow a
stride over the pages, or one draw of the selftest's generator per visit, whose state runs on from pass to pass.

The test knows no working set. A guest that has one visits the first pages of its share in every pass; of the others,
with some skew, the next few, so that many passes reach them all.
"""

from __future__ import annotations

from core.compiled.kernel import inlined, kernel

MODULUS = 2**31 - 1
MULTIPLIER = 48271


@inlined
def next_draw(state):
    """The selftest's generator: the state after one more draw, in [1, 2**31 - 2]."""
    return state * MULTIPLIER % MODULUS


@kernel
def draw_after(state, draws):
    """The state after `draws` more draws."""
    factor = MULTIPLIER
    while draws:
        if draws & 1:
            state = state * factor % MODULUS
        factor = factor * factor % MODULUS
        draws >>= 1
    return state


@inlined
def is_written_by_stride(page, write_percent, write_stride):
    """Whether page number `page` of the share is written: every F-th from the first on, or as even a spread.

    `write_stride` is F where it has to be told (see tables.write_stride); 0 spreads write_percent over each 100 pages,
    which for write_percent = 100 / F are the pages with page % F == 0.
    """
    if write_stride:
        return page % write_stride == 0
    return page * write_percent % 100 < write_percent


@inlined
def stride_writes(first, last, write_percent, write_stride):
    """How many of the pages first..last-1 of a share are written by stride."""
    if write_stride:
        return (last - 1) // write_stride - (first - 1) // write_stride
    return (last - 1) * write_percent // 100 - (first - 1) * write_percent // 100


@inlined
def is_in_order(machine, phase):
    """Whether the visits of a pass go page after page through the share, as far as they go."""
    return phase.in_order == 1 or (not machine.random_order and machine.skew == 100)


@inlined
def page_of_visit(machine, phase, visit, pass_number, key):
    """The page of its share that a vCPU visits as number `visit` of a pass; `key` is that of `order_key`."""
    if is_in_order(machine, phase):
        return visit
    if machine.skew == 100:
        return shuffled(visit, machine.working_set, key)
    return _page_of_mix(machine, phase, visit, pass_number, key)


@kernel
def _page_of_mix(machine, phase, visit, pass_number, key):
    """The same where so many of a hundred visits, evenly spread, go beyond the working set, on from pass to pass."""
    beyond = visit * (100 - machine.skew) // 100
    if (visit + 1) * (100 - machine.skew) // 100 == beyond:
        number = visit - beyond
        return shuffled(number, machine.working_set, key) if machine.random_order else number
    others = machine.share - machine.working_set
    number = (pass_number * (phase.visits - machine.working_set) + beyond) % others
    return machine.working_set + (shuffled(number, others, key) if machine.random_order else number)


@kernel
def shuffled(visit, pages, key):
    """The page visited as number `visit` in a random order of `pages` pages: a permutation chosen by `key`.

    Multiplication by an odd number and xor with a shift permute the numbers below a power of two; numbers beyond
    `pages` are sent round again until they fall inside.
    """
    bits = 1
    while (1 << bits) < pages:
        bits += 1
    mask = (1 << bits) - 1
    half = (bits + 1) >> 1
    first = (key & 0xFFFFFFF) | 1
    second = ((key >> 28) & 0xFFFFFFF) | 1
    page = visit
    while True:
        page = (page * first + second) & mask
        page ^= page >> half
        page = (page * second + first) & mask
        page ^= page >> half
        if page < pages:
            return page


@kernel
def order_key(seed, vcpu, pass_number):
    """A key for `shuffled` that differs between seeds, vCPUs and passes: 56 well-mixed bits."""
    low = seed + vcpu
    high = pass_number + 1
    for _ in range(4):
        low = next_draw(low % (MODULUS - 1) + 1)
        high = next_draw((high + low) % (MODULUS - 1) + 1)
    return ((high << 28) ^ low) & ((1 << 56) - 1)
