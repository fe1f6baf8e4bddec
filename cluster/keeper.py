"""Ends the Ray that was started for one driver, however that driver ends, and clears its folder away.

Ray's own processes outlive a driver that is killed: agents for a minute, workers as long as their task takes; and its
folder of logs and sockets stays for ever. So a small process of its own waits until the driver is gone or says that it
is done, ends whatever has its output in that folder, and deletes it. It is no child of the driver's, so that what ends
a driver's family leaves it alone.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final

_LONGEST_FOLDER: Final = 32
"""Ray puts sockets below it, and their whole names have at most 107 bytes."""

_PATIENCE_SECONDS: Final = 1.0
_END_SECONDS: Final = 10.0


class Keeper:
    """A folder for a Ray, and the process that looks after both."""

    def __init__(self) -> None:
        """Make the folder and start the process."""
        base = tempfile.gettempdir()
        self.folder = tempfile.mkdtemp(prefix="splitsweep-", dir=base if len(base) < _LONGEST_FOLDER else "/tmp")
        command = [sys.executable, "-I", "-S", __file__, self.folder, str(os.getpid())]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)

    def __enter__(self) -> Keeper:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.end()

    def end(self) -> None:
        """Have everything ended, and wait until it is."""
        with self._process:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            if not self._process.stdin.closed:
                self._process.stdin.close()
                self._process.stdout.read()


def keep(folder: str, driver: int) -> None:
    """What the process does: wait until the driver is done or dead, then leave nothing behind."""
    if os.fork():
        os._exit(0)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while os.read(0, 1):
        pass
    end_users(folder, but=driver)
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)


def end_users(folder: str, but: int) -> None:
    """End the processes that have a file of the folder open; asked at first, so that they take their children along."""
    start = time.monotonic()
    while time.monotonic() - start < _END_SECONDS and (found := [user for user in _users(folder) if user != but]):
        number = signal.SIGTERM if time.monotonic() - start < _PATIENCE_SECONDS else signal.SIGKILL
        for process in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process, number)
        time.sleep(0.05)


def _users(folder: str) -> Iterator[int]:
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # ended meanwhile, or somebody else's
            if any(os.readlink(file.path).startswith(f"{folder}/") for file in os.scandir(entry / "fd")):
                yield int(entry.name)


if __name__ == "__main__":
    keep(sys.argv[1], int(sys.argv[2]))
