"""Who touches which page, and whether it reads or writes: dirty_log_perf_test's guest code.

One pass visits every page of a vCPU's share once. The order is sequential or a seeded permutation; writes follow a
stride over the pages, or one draw of the selftest's generator per visit, whose state runs on from pass to pass.
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
