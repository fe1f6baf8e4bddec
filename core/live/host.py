"""What a row of a live run tells about its host: a measurement means little without the machine it was made on.

Everything is read from /proc and /sys, and what a machine does not tell is null. A container may tell the host's
values: the kernel is the host's anyway, and cores and huge pages are what the run had under it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from core.config import Config
from core.live.cpus import usable_cpus
from core.rows import Row

HUGE_PAGE_FOLDERS: Final = {"2M": "hugepages-2048kB", "1G": "hugepages-1048576kB"}


def host_facts(config: Config, root: Path = Path("/")) -> Row:
    """The columns of a run row that describe this host, now; tests have files of their own under `root`."""
    cpu_info = _text(root / "proc/cpuinfo")
    load = _text(root / "proc/loadavg")
    return {
        "cpu_model": _found(r"^model name\s*:\s*(.+)$", cpu_info),
        "cores": _cores(root / "sys/devices/system/cpu"),
        "numa_nodes": _listed(_text(root / "sys/devices/system/node/online")),
        "huge_pages": _huge_pages(root / "sys/kernel/mm"),
        "load_at_start": float(load.split()[0]) if load else None,
        "oversubscribed": config.busy_cpus > len(usable_cpus()),
    }


def _cores(folder: Path) -> int | None:
    """Physical cores: each is one set of sibling threads. A CPU that is offline has no topology."""
    siblings = {_text(file) for file in folder.glob("cpu[0-9]*/topology/thread_siblings_list")}
    return len(siblings) or None


def _huge_pages(folder: Path) -> str | None:
    """Such as `2M: thp madvise, 0 reserved; 1G: 0 reserved`, whatever of it there is."""
    transparent = _found(r"\[(\w+)\]", _text(folder / "transparent_hugepage/enabled"))
    sizes = []
    for size, name in HUGE_PAGE_FOLDERS.items():
        reserved = _text(folder / "hugepages" / name / "nr_hugepages")
        told = [f"thp {transparent}"] if transparent and size == "2M" else []
        told += [f"{reserved} reserved"] if reserved else []
        if told:
            sizes.append(f"{size}: {', '.join(told)}")
    return "; ".join(sizes) or None


def _listed(text: str) -> int | None:
    """How many numbers a list such as `0-3,8` has."""
    ranges = re.findall(r"(\d+)(?:-(\d+))?", text)
    return sum(int(last or first) - int(first) + 1 for first, last in ranges) or None


def _found(pattern: str, text: str) -> str | None:
    match = re.search(pattern, text, re.MULTILINE)
    return match[1].strip() if match else None


def _text(file: Path) -> str:
    """What the file says, and nothing if there is none."""
    try:
        return file.read_text(errors="replace").strip()
    except OSError:
        return ""
