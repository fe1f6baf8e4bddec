"""What a user sees of a run in progress."""

import io
import threading
import time
from dataclasses import replace

import pytest

from sweep.running.progress import duration_text, progress_text, shown_progress, wait_or_progress_text
from sweep.running.tally import Progress, Running


class Notice(io.StringIO):
    """A stream that tells when something has been written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = threading.Event()

    def write(self, text: str) -> int:
        self.written.set()
        return super().write(text)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def progress(done: int, failed: int = 0, elapsed: float = 0.0, rate: float = 30.0) -> Progress:
    """A run of 480 configs at `rate` a second."""
    left = (480 - done - failed) / rate if done + failed else None
    return Progress(done=done, failed=failed, total=480, rate=rate, seconds_left=left, elapsed=elapsed)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.9, "9.9 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")],
)
def test_a_duration_is_written_in_the_units_of_its_size(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


def test_the_line_has_counts_rate_and_time_left() -> None:
    assert progress_text(progress(done=118, failed=2)) == "120/480 configs, 2 failed, 30.0/s, 12 s left"


def test_a_slow_rate_is_told_by_the_minute() -> None:
    assert progress_text(progress(done=120, rate=0.05)) == "120/480 configs, 3.0/min, 2 h 0 min left"


def test_before_anything_is_done_there_is_no_rate() -> None:
    assert progress_text(progress(done=0)) == "0/480 configs"


def test_without_a_terminal_there_is_a_line_at_the_start_every_ten_seconds_and_at_the_end() -> None:
    stream = io.StringIO()
    with shown_progress(480, stream) as report:
        for tenth in range(241):
            report(progress(done=2 * tenth, elapsed=tenth / 10))
    assert [line.split(",")[0] for line in stream.getvalue().splitlines()] == [
        "0/480 configs",
        "200/480 configs",
        "400/480 configs",
        "480/480 configs",
    ]


def test_on_a_terminal_there_is_a_bar_with_the_same_words() -> None:
    stream = Terminal()
    with shown_progress(480, stream) as report:
        report(progress(done=118, failed=2))
    assert "120/480 configs, 2 failed, 30.0/s, 12 s left" in stream.getvalue()


def test_what_comes_before_the_first_config_is_told_only_if_it_takes_long() -> None:
    before = replace(progress(done=0), doing="starting Ray's workers")
    assert wait_or_progress_text(before, quiet=4) == "starting Ray's workers: 4.0 s"
    stream = io.StringIO()
    with shown_progress(480, stream) as report:
        report(before)
        report(replace(before, elapsed=2.0))
        report(replace(before, elapsed=4.0))
        report(progress(done=0, elapsed=5.0))
    assert stream.getvalue().splitlines() == ["starting Ray's workers: 4.0 s", "0/480 configs"]


def test_what_runs_longest_is_named_once_nothing_has_finished_for_a_while() -> None:
    longest = Running("vcpus=64", since=time.monotonic() - 12, estimated_seconds=2.0)
    slow = replace(progress(done=120), longest=longest)
    assert "vcpus" not in wait_or_progress_text(slow, quiet=4)
    text = wait_or_progress_text(slow, quiet=7)
    assert text.endswith("left; nothing finished for 7.0 s, longest runs vcpus=64: 12 s, expected 2.0 s")


def test_nobody_has_to_report_for_the_clock_to_go_on() -> None:
    stream = Notice()
    with shown_progress(480, stream) as report:
        longest = Running("vcpus=64", since=time.monotonic() - 60, estimated_seconds=2.0)
        report(replace(progress(done=1), longest=longest))
        report(replace(progress(done=1, elapsed=60.0), longest=longest))
        stream.written.clear()
        assert stream.written.wait(60)
    assert "longest runs vcpus=64" in stream.getvalue()
