"""What a user sees of a wait: nothing of a short one, what and how long of a long one."""

from __future__ import annotations

import io
import threading

import pytest

from sweep.running.waiting import shown_wait, wait_text


class Notice(io.StringIO):
    """A stream that tells when something has been written to it."""

    def __init__(self, terminal: bool = False) -> None:
        super().__init__()
        self.written = threading.Event()
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal

    def write(self, text: str) -> int:
        self.written.set()
        return super().write(text)


def test_what_is_over_at_once_leaves_no_word() -> None:
    stream = Notice()
    with shown_wait("simulating", stream=stream):
        pass
    assert stream.getvalue() == ""


@pytest.mark.parametrize("terminal", [False, True])
def test_what_takes_longer_than_the_patience_is_told(terminal: bool) -> None:
    stream = Notice(terminal)
    with shown_wait("simulating", stream=stream, patience=0.0):
        assert stream.written.wait(60)
    assert "simulating: 0." in stream.getvalue()


def test_what_is_expected_to_take_long_is_told_at_once_with_how_long() -> None:
    stream = Notice()
    with shown_wait("simulating", 3600.0, stream=stream, patience=1800.0):
        assert stream.written.wait(60)
    assert "simulating: about 1 h 0 min" in stream.getvalue()


def test_an_error_ends_the_wait() -> None:
    with pytest.raises(ValueError, match="no such"), shown_wait("simulating", stream=Notice()):
        raise ValueError("no such thing")


def test_an_estimate_that_proved_too_short_is_called_so() -> None:
    assert wait_text("simulating", 12, 40) == "simulating: 12 s of about 40 s"
    assert wait_text("simulating", 50, 40) == "simulating: 50 s, longer than the expected 40 s"
    assert wait_text("simulating", 50, None) == "simulating: 50 s"
