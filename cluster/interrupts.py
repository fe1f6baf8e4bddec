"""Signals that ask a run to end: Ctrl-C, SIGTERM (systemd, Slurm, Kubernetes) and SIGHUP (the terminal is gone).

They are noticed, not raised: an exception could strike between a batch's answer and its being counted, or inside Ray,
which then aborts natively; a flag cannot. The first one asks for an orderly end, the second for one at once.

What the caller's environment ignores stays ignored: `nohup` does that with SIGHUP, a shell with the SIGINT of what it
runs in the background.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Final

ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(slots=True)
class Interrupts:
    """What has been noticed inside a `noticed_signals` block."""

    number: int | None = None
    """The first signal that came."""

    at_first: Callable[[int], None] | None = None
    """Called with its number when it comes."""

    at_second: Callable[[int], None] | None = None
    """Called with the number of each further signal; without it that raises KeyboardInterrupt."""

    def install(self) -> None:
        """Notice signals from now on: again, where somebody (Ray does) has set handlers of their own since."""
        for number in _noticeable():
            signal.signal(number, self._notice)

    def _notice(self, number: int, frame: FrameType | None) -> None:
        if self.number is None:
            self.number = number
            if self.at_first is not None:
                self.at_first(number)
        elif self.at_second is not None:
            self.at_second(number)
        else:
            raise KeyboardInterrupt


_current: Interrupts | None = None


@contextmanager
def noticed_signals(
    at_first: Callable[[int], None] | None = None, at_second: Callable[[int], None] | None = None
) -> Iterator[Interrupts]:
    """Signals are noticed inside the block, and act as before after it. Inside another such block it is that one."""
    global _current
    if _current is not None or threading.current_thread() is not threading.main_thread():
        yield _current or Interrupts()  # only the main thread gets signals
        return
    before = {number: signal.getsignal(number) for number in _noticeable()}
    _current = Interrupts(at_first=at_first, at_second=at_second)
    try:
        _current.install()
        yield _current
    finally:
        _current = None
        for number, handler in before.items():
            signal.signal(number, handler)


def _noticeable() -> list[signal.Signals]:
    return [number for number in ENDING if signal.getsignal(number) is not signal.SIG_IGN]
