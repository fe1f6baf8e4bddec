"""The event queue: earliest first, first come first among equals."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from core.config import make_config
from core.sim.event_queue import NEVER, next_time, put, take
from core.sim.state import new_simulation
from core.tables import machine_of


@given(st.lists(st.tuples(st.integers(0, 20), st.booleans()), max_size=60))
def test_events_come_out_by_time_and_then_by_arrival(steps: list[tuple[int, bool]]) -> None:
    simulation = new_simulation(machine_of(make_config({"vcpus": 64})))
    waiting: list[tuple[int, int]] = []
    for number, (time, then_take) in enumerate(steps):
        put(simulation, time, number)
        waiting.append((time, number))
        if then_take:
            earliest = min(waiting)
            assert (next_time(simulation), take(simulation)) == earliest
            waiting.remove(earliest)
    for event in sorted(waiting):
        assert (next_time(simulation), take(simulation)) == event
    assert next_time(simulation) == NEVER
