"""What a user sees of a run in progress."""

import io

import pytest

from sweep.running.execute import Progress
from sweep.running.progress import duration_text, progress_text, shown_progress


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
    assert "starting workers" in stream.getvalue()
    assert "120/480 configs, 2 failed, 30.0/s, 12 s left" in stream.getvalue()
