"""The event queue: earliest first, the lowest actor first among equals."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from core.sim.state.event_queue import NEVER, new_ring, next_time, put, take


@given(
    st.lists(
        st.tuples(st.integers(0, 20), st.integers(0, 1000), st.booleans()), max_size=60, unique_by=lambda step: step[1]
    )
)
def test_events_come_out_by_time_and_then_by_actor(steps: list[tuple[int, int, bool]]) -> None:
    queue = new_ring(64)
    waiting: list[tuple[int, int]] = []
    for time, number, then_take in steps:
        put(queue, time, number)
        waiting.append((time, number))
        if then_take:
            earliest = min(waiting)
            assert (next_time(queue), take(queue)) == earliest
            waiting.remove(earliest)
    for event in sorted(waiting):
        assert (next_time(queue), take(queue)) == event
    assert next_time(queue) == NEVER
