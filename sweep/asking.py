"""A question to another machine that may never answer: the clients of object stores try for minutes."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")

_NAME: Final = "asking another machine"


def within(seconds: float, ask: Callable[[], T]) -> T:
    """What `ask` returns; OSError if that takes longer. The question itself cannot be taken back: see `is_asking`."""
    answers: queue.SimpleQueue[tuple[T | None, Exception | None]] = queue.SimpleQueue()

    def answer() -> None:
        try:
            answers.put((ask(), None))
        except Exception as error:
            answers.put((None, error))

    threading.Thread(target=answer, name=_NAME, daemon=True).start()
    try:
        answered, error = answers.get(timeout=seconds)
    except queue.Empty:
        raise OSError(f"no answer within {seconds:g} s; is it reachable from here, with these credentials?") from None
    if error is not None:
        raise error
    return answered  # type: ignore[return-value]


def is_asking() -> bool:
    """Whether a question is still open. Then a process must not end in the usual way, which waits for its client."""
    return any(thread.name == _NAME for thread in threading.enumerate())
