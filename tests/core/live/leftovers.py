"""What a run could leave behind: processes, descriptors, memory."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Iterable
from pathlib import Path


def descriptors(process: int | str = "self") -> int:
    """How many descriptors a process has open."""
    gc.collect()  # what earlier tests left to the collector is not what is counted
    return len(os.listdir(f"/proc/{process}/fd"))


def memory_files(process: int | str) -> list[str]:
    """The live segments that a process has open or mapped."""
    gc.collect()
    opened = []
    for descriptor in Path(f"/proc/{process}/fd").iterdir():
        try:
            opened.append(str(descriptor.readlink()))
        except FileNotFoundError:  # the one that lists the folder
            continue
    mapped = Path(f"/proc/{process}/maps").read_text().splitlines()
    return [line for line in opened + mapped if "memfd:splitsweep" in line]


def family(process: int) -> dict[str, int]:
    """The processes that `process` has started, and those that they have, by name."""
    found = {}
    for task in Path(f"/proc/{process}/task").glob("*/children"):
        try:
            children = {child: Path(f"/proc/{child}/comm").read_text().strip() for child in task.read_text().split()}
        except (FileNotFoundError, ProcessLookupError):  # ended meanwhile
            continue
        for child, name in children.items():
            found |= {name: int(child)} | family(int(child))
    return found


def is_alive(process: int) -> bool:
    """Whether a process runs; one that has ended but is not reaped does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def still_alive(processes: Iterable[int], seconds: float = 10) -> list[int]:
    """Those of `processes` that have not ended after so long."""
    end = time.monotonic() + seconds
    left = [process for process in processes if is_alive(process)]
    while left and time.monotonic() < end:
        time.sleep(0.01)
        left = [process for process in left if is_alive(process)]
    return left
