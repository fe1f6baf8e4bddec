"""What a waiting process tells its CPU and its kernel, and the cycle counter: for compiled code.

Here they are in plain Python, for NUMBA_DISABLE_JIT=1, where a single process runs and waits for nobody;
core/compiled/lowering/instructions.py has what they are in compiled code.
"""

from __future__ import annotations

import os
import time
from typing import Any


def pause() -> None:
    """Tell the CPU that this is a spin loop: it saves power, and leaves more to the core's other thread."""


def read_cycles() -> int:
    """The CPU's cycle counter, or the clock where programs may not read it; `core.live.clock` knows its rate."""
    return time.monotonic_ns()


def read_nanoseconds() -> int:
    """The monotonic clock, the same in all processes of this host."""
    return time.monotonic_ns()


def yield_cpu() -> None:
    """Let another process run on this CPU."""
    os.sched_yield()


def park(word: Any, index: int, value: int, timeout: int) -> None:
    """Sleep while word[index] is `value`, until somebody wakes it.

    `timeout` is the address of a C timespec: how long to sleep at most. It may return for no reason at all, so callers
    look again. Only the low 32 bits are compared.
    """
    os.sched_yield()


def wake(word: Any, index: int, count: int) -> None:
    """Wake up to `count` processes that sleep on word[index], whatever their address for it."""
