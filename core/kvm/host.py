"""The settings of a host that KVM's behaviour depends on: read, changed for a run, and put back.

Module parameters that can be written while the module is loaded are written; for the others KVM is loaded anew, which
the kernel refuses while a virtual machine runs. Huge pages are reserved beyond those that are free. All of it is done
by the attendant (core/kvm/attendant.py), which outlives whoever asked for it.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from core.kvm.errors import SelftestError
from core.kvm.parameters import MODULES, parse_switch

HUGE_PAGE_FOLDERS: Final = {"2M": "hugepages-2048kB", "1G": "hugepages-1048576kB"}
VENDOR_MODULES: Final = ("kvm_intel", "kvm_amd")
RELOAD_SECONDS: Final = 60
RESERVATIONS: Final = 3  # tries to get huge pages, as memory is compacted in between


@dataclass(frozen=True, slots=True)
class Host:
    """Where this host's settings are; tests have files of their own under another root."""

    root: Path = Path("/")

    def vendor_module(self) -> str:
        """The loaded module of this CPU's vendor; SelftestError if KVM is not there."""
        for module in VENDOR_MODULES:
            if (self.root / "sys/module" / module).exists():
                return module
        raise SelftestError(
            "KVM: neither kvm_intel nor kvm_amd is loaded on this host; load one, or run on another host"
        )

    def release(self) -> str:
        """The release of its kernel, as uname -r says it."""
        return _text(self.root / "proc/sys/kernel/osrelease").strip()

    def parameters(self) -> dict[str, bool]:
        """The parameters that decide anything, as they are now; those that this kernel does not have are left out."""
        values = {name: parse_switch(_text(self._parameter(name))) for name in MODULES}
        return {name: value for name, value in values.items() if value is not None}

    def huge_pages(self, size: str) -> tuple[int, int]:
        """How many huge pages of this size are reserved, and how many of those are free."""
        folder = self._huge_pages(size)
        return _number(folder / "nr_hugepages"), _number(folder / "free_hugepages")

    def set_parameters(self, wanted: Mapping[str, bool]) -> None:
        """Bring the parameters to these values; SelftestError, naming what is not as wanted, if that cannot be done."""
        now = self.parameters()
        wrong = {name: value for name, value in wanted.items() if now.get(name) is not value}
        if not wrong:
            return
        if missing := sorted(name for name in wrong if name not in now):
            raise SelftestError(f"{missing[0]}: this kernel has no such parameter, and {_told(wrong)} is needed")
        reason = (
            self._written(wrong)
            if all(self._is_writable(name) for name in wrong)
            else self._reloaded(now | dict(wanted))
        )
        now = self.parameters()
        wrong = {name: value for name, value in wanted.items() if now.get(name) is not value}
        if wrong:
            has = _told({name: now[name] for name in wrong if name in now})
            raise SelftestError(f"module parameters: {_told(wrong)} is needed, this host has {has}; {reason}")

    def set_huge_pages(self, size: str, count: int) -> None:
        """Reserve so many huge pages; the kernel gives as many as it finds."""
        try:
            (self._huge_pages(size) / "nr_hugepages").write_text(str(count))
        except OSError as error:
            raise SelftestError(f"{_how_to_reserve(size, count)} ({error.strerror})") from None

    def reserve_huge_pages(self, size: str, needed: int) -> None:
        """Have so many huge pages free; SelftestError, saying how to reserve them, if the host does not give them."""
        if not self._huge_pages(size).exists():
            raise SelftestError(f"backing: this host has no huge pages of {size}")
        reserved, free = self.huge_pages(size)
        if free >= needed:
            return
        wanted = reserved + needed - free
        for _ in range(RESERVATIONS):
            self.set_huge_pages(size, wanted)
            reserved, free = self.huge_pages(size)
            if free >= needed:
                return
            with suppress(OSError):  # movable pages may lie in the way
                (self.root / "proc/sys/vm/compact_memory").write_text("1")
        raise SelftestError(f"{_how_to_reserve(size, wanted)} (free now: {free} of {needed})")

    def _parameter(self, name: str) -> Path:
        return self.root / "sys/module" / MODULES[name] / "parameters" / name

    def _huge_pages(self, size: str) -> Path:
        return self.root / "sys/kernel/mm/hugepages" / HUGE_PAGE_FOLDERS[size]

    def _is_writable(self, name: str) -> bool:
        return bool(self._parameter(name).stat().st_mode & 0o200)

    def _written(self, values: Mapping[str, bool]) -> str:
        for name, value in values.items():
            try:
                self._parameter(name).write_text("Y" if value else "N")
            except OSError as error:
                return f"it cannot be set: {error.strerror}"
        return "it was set and did not stay"

    def _reloaded(self, values: Mapping[str, bool]) -> str:
        """Load KVM anew with these parameters; says why if that failed. Other options are those of modprobe.d."""
        if self.root == Path("/") and os.geteuid():
            return "KVM can be loaded anew by root only"
        vendor = self.vendor_module()
        given = {module: _words(values, module) for module in ("kvm", vendor)}
        for command in (
            ["modprobe", "-r", vendor, "kvm"],
            *(["modprobe", name, *words] for name, words in given.items()),
        ):
            try:
                done = subprocess.run(command, capture_output=True, text=True, timeout=RELOAD_SECONDS, check=False)
            except (OSError, subprocess.TimeoutExpired) as error:
                return f"KVM cannot be loaded anew: {error}"
            if done.returncode:
                subprocess.run(["modprobe", vendor], capture_output=True, timeout=RELOAD_SECONDS, check=False)
                return f"KVM cannot be loaded anew: {done.stderr.strip() or 'modprobe failed'}"
        return "KVM was loaded anew, and did not take it"


def _words(values: Mapping[str, bool], module: str) -> list[str]:
    return [f"{name}={'Y' if value else 'N'}" for name, value in values.items() if MODULES[name] == module]


def _told(values: Mapping[str, bool]) -> str:
    return " ".join(f"{name}={'Y' if value else 'N'}" for name, value in sorted(values.items())) or "none of them"


def _how_to_reserve(size: str, count: int) -> str:
    path = f"/sys/kernel/mm/hugepages/{HUGE_PAGE_FOLDERS[size]}/nr_hugepages"
    boot = "; 1G pages are best reserved at boot: hugepagesz=1G hugepages=N" if size == "1G" else ""
    return f"backing: {count} huge pages of {size} are needed; as root: echo {count} > {path}{boot}"


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _number(path: Path) -> int:
    text = _text(path).strip()
    return int(text) if text.isdecimal() else 0
