"""What fan_out promises, on real workers: every batch gets one event, whatever happens to the others."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ray import cloudpickle

from cluster.attempt import Tell
from cluster.errors import BrokenClusterError, ClusterError
from cluster.fan_out import Done, Event, Failed, Interrupted, _fan_out, fan_out
from cluster.interrupts import Interrupts
from cluster.on_ray import IN_FLIGHT_PER_CPU
from cluster.session import Session, open_session

# Workers need not find the tests.
cloudpickle.register_pickle_by_value(sys.modules[__name__])  # type: ignore[no-untyped-call]

EXECUTORS = pytest.mark.parametrize("address", ["inline", "pool", "local"])
WORKERS = pytest.mark.parametrize("address", ["pool", "local"])


def double(batch: int, attempt: int) -> int:
    return 2 * batch


def fail_on_three(batch: int, attempt: int) -> int:
    if batch == 3:
        raise ValueError("three is\nnot allowed")
    return batch


def exit_on_three(batch: int, attempt: int) -> int:
    if batch == 3:
        os._exit(1)
    return batch


def process_of_brief_work(batch: int, attempt: int) -> int:
    threading.Event().wait(0.002)
    return os.getpid()


def interrupted_at_first(batch: int, attempt: int) -> int:
    if attempt == 1:
        raise KeyboardInterrupt
    return batch


def exit_at_first(batch: int, attempt: int) -> int:
    if attempt == 1:
        os._exit(1)
    return batch


def wait_for(batch: Path, attempt: int) -> str:
    """Return once the file is there; the file `now` exists from the start."""
    while not batch.exists():
        threading.Event().wait(0.01)
    return batch.name


def alone_with(batch: Path, attempt: int) -> bool:
    """Whether nobody else was at it at the same time."""
    try:
        batch.touch(exist_ok=False)
    except FileExistsError:
        return False
    threading.Event().wait(0.05)
    batch.unlink()
    return True


preparations: list[int] = []


def tell_half(tell: Tell) -> None:
    tell(1, 2)


def note_preparation(tell: Tell) -> None:
    preparations.append(os.getpid())


def processes_prepared(batch: int, attempt: int) -> tuple[int, ...]:
    return tuple(preparations)


def times_prepared(batch: int, attempt: int) -> int:
    return len(preparations)


@pytest.fixture
def session(address: str, request: pytest.FixtureRequest) -> Iterator[Session]:
    if address == "local":
        yield request.getfixturevalue("on_ray")
    else:
        with open_session(address) as session:
            yield session


@EXECUTORS
def test_every_batch_gets_its_result(session: Session) -> None:
    events = list(fan_out(session, double, range(20)))
    assert sorted((event.batch, event.result) for event in events if isinstance(event, Done)) == [
        (batch, 2 * batch) for batch in range(20)
    ]


@EXECUTORS
def test_no_batches_give_no_events(session: Session) -> None:
    nothing: list[int] = []
    assert list(fan_out(session, double, nothing)) == []


@EXECUTORS
def test_an_exception_fails_its_own_batch_and_no_other(session: Session) -> None:
    events = list(fan_out(session, fail_on_three, range(6)))
    failed = [event for event in events if isinstance(event, Failed)]
    assert [(event.batch, event.error_type, event.error, event.crashed, event.attempts) for event in failed] == [
        (3, "ValueError", "three is", False, 1)
    ]
    assert "fail_on_three" in failed[0].details
    assert {event.batch for event in events if isinstance(event, Done)} == {0, 1, 2, 4, 5}


@WORKERS
def test_a_batch_that_kills_its_worker_each_time_fails_and_the_others_finish(session: Session) -> None:
    events = list(fan_out(session, exit_on_three, range(6), attempts=2))
    failed = [event for event in events if isinstance(event, Failed)]
    assert [(event.batch, event.crashed, event.attempts) for event in failed] == [(3, True, 2)]
    assert {event.batch for event in events if isinstance(event, Done)} == {0, 1, 2, 4, 5}


@WORKERS
def test_a_batch_whose_worker_died_is_started_again(session: Session) -> None:
    assert list(fan_out(session, exit_at_first, [7], attempts=2)) == [Done(7, 7, attempts=2)]


@WORKERS
def test_workers_that_are_killed_at_any_moment_lose_no_batch(session: Session) -> None:
    """Between batches, too: whoever kills does not ask what a worker is doing."""
    batches = range(300)
    events = []
    for event in fan_out(session, process_of_brief_work, batches, attempts=100):
        events.append(event)
        if isinstance(event, Done) and len(events) % 10 == 0:
            with contextlib.suppress(ProcessLookupError):
                os.kill(event.result, signal.SIGKILL)
    assert sorted(event.batch for event in events if isinstance(event, Done)) == list(batches)


@WORKERS
def test_an_interrupt_that_strikes_a_worker_is_no_fault_of_its_batch(session: Session) -> None:
    assert list(fan_out(session, interrupted_at_first, [7], attempts=2)) == [Done(7, 7, attempts=2)]


@WORKERS
def test_whatever_is_started_is_told(session: Session) -> None:
    told: list[int] = []
    list(fan_out(session, exit_on_three, range(6), attempts=2, started=told.append))
    assert sorted(told) == [0, 1, 2, 3, 3, 4, 5]


@WORKERS
def test_events_come_in_the_order_of_completion(session: Session, tmp_path: Path) -> None:
    late, early = tmp_path / "late", tmp_path / "early"
    early.touch()
    names = []
    for event in fan_out(session, wait_for, [late, early]):
        assert isinstance(event, Done)
        names.append(event.result)
        late.touch()
    assert names == ["early", "late"]


@WORKERS
def test_batches_are_taken_only_when_there_is_room(session: Session) -> None:
    room = IN_FLIGHT_PER_CPU * cpus_of(session)
    taken = 0

    def batches() -> Iterator[int]:
        nonlocal taken
        for batch in range(10 * room):
            taken += 1
            yield batch

    # An event is answered before it is counted here, and those ready with it are out of flight too.
    answered = 0
    for _ in fan_out(session, double, batches()):
        answered += 1
        assert taken - answered < 2 * room
    assert taken == answered == 10 * room


def cpus_of(session: Session) -> int:
    if session.pool is not None:
        return session.pool.cpus
    import ray

    return int(ray.cluster_resources()["CPU"])  # type: ignore[no-untyped-call]


@WORKERS
def test_batches_that_ask_for_all_cpus_run_one_after_the_other(session: Session, tmp_path: Path) -> None:
    cpus = cpus_of(session)
    events = list(fan_out(session, alone_with, [tmp_path / "place"] * 5, cpus=lambda batch: cpus))
    assert [event.result for event in events if isinstance(event, Done)] == [True] * 5


@EXECUTORS
def test_batches_that_ask_for_more_cpus_than_there_are_run_all_the_same(session: Session) -> None:
    events = list(fan_out(session, double, range(1, 4), cpus=lambda batch: 1000 * batch))
    assert sorted(event.result for event in events if isinstance(event, Done)) == [2, 4, 6]


@WORKERS
def test_batches_of_many_cpus_take_as_much_room(session: Session) -> None:
    cpus = cpus_of(session)
    taken = answered = 0

    def batches() -> Iterator[int]:
        nonlocal taken
        for batch in range(10):
            taken += 1
            yield batch

    for _ in fan_out(session, double, batches(), cpus=lambda batch: cpus):
        answered += 1
        assert taken - answered < 2 * IN_FLIGHT_PER_CPU
    assert taken == answered == 10


@EXECUTORS
def test_prepare_is_done_before_a_process_gets_its_first_batch(session: Session) -> None:
    preparations.clear()  # what an earlier test did in this process would travel with the function
    results = [event.result for event in fan_out(session, times_prepared, range(10), prepare=note_preparation)]
    assert results == [1] * 10


@pytest.mark.parametrize("address", ["inline", "pool"])
def test_how_far_preparation_is_is_told_on_this_machine(address: str) -> None:
    told: list[tuple[int, int]] = []
    with open_session(address, tell_half) as session:
        list(fan_out(session, double, [1], prepare=tell_half, preparing=lambda *how_far: told.append(how_far)))
    assert told == [(1, 2)]


def test_a_pool_prepares_once_for_all_its_workers() -> None:
    with open_session("pool", note_preparation) as session:
        events = list(fan_out(session, processes_prepared, range(20), prepare=note_preparation))
    assert len({event.result for event in events if isinstance(event, Done)}) == 1


@EXECUTORS
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_keeps_what_is_finished_and_says_so(session: Session, number: signal.Signals) -> None:
    seen: list[Event[int, int]] = []
    for event in fan_out(session, double, range(1000)):
        seen.append(event)
        if len(seen) == 3:
            signal.raise_signal(number)
    assert seen[-1] == Interrupted(number)
    assert all(isinstance(event, Done) for event in seen[:-1])
    assert 3 <= len(seen) - 1 < 1000


class LostCluster:
    """Work on a cluster that goes away while it is waited for; `at_wait` is what happens then, too."""

    in_flight = 1

    def __init__(self, at_wait: Callable[[], None]) -> None:
        self._at_wait = at_wait
        self.is_cancelled = False

    def has_room(self) -> bool:
        return False

    def submit(self, batch: int, attempt: int) -> None:
        raise AssertionError("there is no room")

    def answers(self, timeout: float) -> Iterator[tuple[int, int, int]]:
        self._at_wait()
        raise BrokenClusterError("the head is dead")

    last_answers = answers

    def cancel(self) -> None:
        self.is_cancelled = True


def test_a_cluster_that_goes_away_after_a_signal_leaves_the_signal_as_the_end() -> None:
    interrupts = Interrupts()

    def be_signalled() -> None:
        interrupts.number = signal.SIGTERM

    tasks = LostCluster(be_signalled)
    assert list(_fan_out(tasks, range(3), 3, interrupts)) == [Interrupted(signal.SIGTERM)]
    assert tasks.is_cancelled


def test_a_cluster_that_goes_away_by_itself_is_an_error() -> None:
    tasks = LostCluster(lambda: None)
    with pytest.raises(BrokenClusterError, match=r"^the head is dead$"):
        list(_fan_out(tasks, range(3), 3, Interrupts()))
    assert tasks.is_cancelled


@EXECUTORS
def test_ctrl_c_acts_as_usual_afterwards(session: Session) -> None:
    list(fan_out(session, double, range(2)))
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


@WORKERS
def test_workers_that_lack_the_function_are_an_error_in_one_line(session: Session) -> None:
    module = types.ModuleType("only_on_the_driver")
    exec("def work(batch, attempt): return batch", module.__dict__)
    sys.modules[module.__name__] = module
    with pytest.raises(ClusterError, match=r"^the .* cannot run the work: .*only_on_the_driver"):
        list(fan_out(session, module.work, [1]))
