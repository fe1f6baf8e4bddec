"""What a process asks of Linux about itself (prctl): to die with its parent, and to be called something.

Imports nothing of ours, so that the process server can ask before it spends a second on imports.
"""

from __future__ import annotations

import ctypes
import os
import signal
from typing import Final

_SET_DEATH_SIGNAL: Final = 1
_SET_NAME: Final = 15
_LONGEST_NAME: Final = 15


def die_with(parent: int) -> None:
    """From now on the kernel kills this process when the thread of `parent` that started it ends."""
    _prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:  # it was too late to ask
        os._exit(1)


def outlive_thread() -> None:
    """Undo `die_with`."""
    _prctl(_SET_DEATH_SIGNAL, 0)


def be_called(name: str) -> None:
    """Set the name that ps and top show."""
    _prctl(_SET_NAME, name.encode()[:_LONGEST_NAME])


def _prctl(operation: int, argument: int | bytes) -> None:
    value = ctypes.c_char_p(argument) if isinstance(argument, bytes) else ctypes.c_ulong(argument)
    unused = ctypes.c_ulong(0)
    ctypes.CDLL(None).prctl(operation, value, unused, unused, unused)
