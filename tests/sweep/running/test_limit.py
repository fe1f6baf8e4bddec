"""How long a config may take."""

from __future__ import annotations

from core.config import make_config
from sweep.running.limit import LEAST_SECONDS, MEASURED_SECONDS, seconds_allowed
from sweep.running.plan import Task


def task(engine: str = "sim", estimated_seconds: float = 0.1) -> Task:
    return Task("0" * 16, make_config({"engine": engine}), estimated_seconds)


def test_what_the_user_says_counts() -> None:
    assert seconds_allowed(task(estimated_seconds=100), 1.5) == 1.5


def test_a_short_config_has_minutes_and_a_long_one_many_times_its_estimate() -> None:
    assert seconds_allowed(task(), None) == LEAST_SECONDS
    assert seconds_allowed(task(estimated_seconds=100), None) == 2000


def test_what_is_measured_may_wait_for_its_cpus() -> None:
    assert seconds_allowed(task("live"), None) == MEASURED_SECONDS + LEAST_SECONDS
