"""Whether this host can hold what is to be measured on it: told before anything starts, not by the kernel's killer."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Sequence
from pathlib import Path

from core.config import Config, config_text
from core.sim.memory_need import needed_bytes
from core.sizes import PAGE_BYTES, format_size
from sweep.errors import SweepError

_ENTRY_BYTES = 8


def check_memory(config: Config, memory: int, where: str) -> None:
    """Raise SweepError for a simulation that needs more than `memory` bytes, which is all that is had `where`."""
    if needed_bytes(config) > memory:
        raise SweepError(
            f"{config_text(config)}: needs about {memory_text(needed_bytes(config))} of memory, and {where} has "
            f"{memory_text(memory)}; simulate less guest memory, or run it where there is more"
        )


def usable_memory(group: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes of memory that processes here may use together: the machine's, or what their control group is given."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for file in (group / "memory.max", group / "memory" / "memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):  # `max` is no limit
            limits.append(int(file.read_text()))
    return min(limits)


def memory_text(size: int) -> str:
    """A size as a reader takes it in: 210 MiB, 3.5 GiB."""
    return f"{size / 2**20:.0f} MiB" if size < 2**30 else f"{size / 2**30:.1f} GiB"


def check_fits(configs: Sequence[Config], memory: int | None = None) -> None:
    """Raise SweepError for a live config that needs more than `memory` bytes, those that are free here by default."""
    free = memory if memory is not None else _free_memory()
    for config in configs:
        if config.engine == "live" and live_bytes(config) > free:
            raise SweepError(
                f"{config_text(config)}: needs at least {format_size(live_bytes(config))} of memory on this host, of "
                f"which {free / 2**30:.1f} GiB are free; measure less memory, or simulate it (engine=sim)"
            )


def live_bytes(config: Config) -> int:
    """What a live run surely takes: guest memory that is really touched, and an entry for each page that has one."""
    guest = config.pages * PAGE_BYTES if config.touch_memory else 0
    entries = config.pages * _ENTRY_BYTES if config.leaf_level == 1 else 0
    return guest + entries


def _free_memory() -> int:
    """What the kernel says could be had without swapping."""
    try:
        found = re.search(r"^MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return int(found[1]) * 1024 if found else os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
