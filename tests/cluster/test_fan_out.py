"""What fan_out promises, on real workers: every batch gets one event, whatever happens to the others."""

from __future__ import annotations

import os
import signal
import sys
import threading
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
from ray import cloudpickle

from cluster.fan_out import Done, Event, Failed, Interrupted, fan_out
from cluster.on_ray import IN_FLIGHT_PER_CPU
from cluster.session import ClusterError, Session, open_session

# Workers need not find the tests.
cloudpickle.register_pickle_by_value(sys.modules[__name__])  # type: ignore[no-untyped-call]

EXECUTORS = pytest.mark.parametrize("address", ["inline", "local"])


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


def process_of(batch: int, attempt: int) -> int:
    return os.getpid()


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


def test_a_batch_that_kills_its_worker_each_time_fails_and_the_others_finish(on_ray: Session) -> None:
    events = list(fan_out(on_ray, exit_on_three, range(6), attempts=2))
    failed = [event for event in events if isinstance(event, Failed)]
    assert [(event.batch, event.crashed, event.attempts) for event in failed] == [(3, True, 2)]
    assert {event.batch for event in events if isinstance(event, Done)} == {0, 1, 2, 4, 5}


def test_a_batch_whose_worker_died_is_started_again(on_ray: Session) -> None:
    assert list(fan_out(on_ray, exit_at_first, [7], attempts=2)) == [Done(7, 7, attempts=2)]


def test_events_come_in_the_order_of_completion(on_ray: Session, tmp_path: Path) -> None:
    late, early = tmp_path / "late", tmp_path / "early"
    early.touch()
    names = []
    for event in fan_out(on_ray, wait_for, [late, early]):
        assert isinstance(event, Done)
        names.append(event.result)
        late.touch()
    assert names == ["early", "late"]


def test_batches_are_taken_only_when_there_is_room(on_ray: Session) -> None:
    room = IN_FLIGHT_PER_CPU * cpus_of(on_ray)
    taken = 0

    def batches() -> Iterator[int]:
        nonlocal taken
        for batch in range(10 * room):
            taken += 1
            yield batch

    # An event is answered before it is counted here, and those ready with it are out of flight too.
    answered = 0
    for _ in fan_out(on_ray, double, batches()):
        answered += 1
        assert taken - answered < 2 * room
    assert taken == answered == 10 * room


def cpus_of(session: Session) -> int:
    import ray

    return int(ray.cluster_resources()["CPU"])  # type: ignore[no-untyped-call]


def test_batches_that_ask_for_all_cpus_run_one_after_the_other(on_ray: Session, tmp_path: Path) -> None:
    cpus = cpus_of(on_ray)
    events = list(fan_out(on_ray, alone_with, [tmp_path / "place"] * 5, cpus=lambda batch: cpus))
    assert [event.result for event in events if isinstance(event, Done)] == [True] * 5


@EXECUTORS
def test_batches_that_ask_for_more_cpus_than_there_are_run_all_the_same(session: Session) -> None:
    events = list(fan_out(session, double, range(1, 4), cpus=lambda batch: 1000 * batch))
    assert sorted(event.result for event in events if isinstance(event, Done)) == [2, 4, 6]


def test_batches_of_many_cpus_take_as_much_room(on_ray: Session) -> None:
    cpus = cpus_of(on_ray)
    taken = answered = 0

    def batches() -> Iterator[int]:
        nonlocal taken
        for batch in range(10):
            taken += 1
            yield batch

    for _ in fan_out(on_ray, double, batches(), cpus=lambda batch: cpus):
        answered += 1
        assert taken - answered < 2 * IN_FLIGHT_PER_CPU
    assert taken == answered == 10


@EXECUTORS
def test_prepare_runs_once_in_each_process_before_its_first_batch(session: Session, tmp_path: Path) -> None:
    folder = tmp_path / "notes"
    folder.mkdir()

    def note_process() -> None:
        with open(folder / str(os.getpid()), "a") as file:
            file.write("x")

    events = list(fan_out(session, process_of, range(10), prepare=note_process))
    used = {str(event.result) for event in events if isinstance(event, Done)}
    assert used
    assert {file.name: file.read_text() for file in folder.iterdir()} == dict.fromkeys(used, "x")


@EXECUTORS
def test_ctrl_c_keeps_what_is_finished_and_says_so(session: Session) -> None:
    seen: list[Event[int, int]] = []
    for event in fan_out(session, double, range(1000)):
        seen.append(event)
        if len(seen) == 3:
            signal.raise_signal(signal.SIGINT)
    assert seen[-1] == Interrupted()
    assert all(isinstance(event, Done) for event in seen[:-1])
    assert 3 <= len(seen) - 1 < 1000


def test_ctrl_c_acts_as_usual_afterwards(on_ray: Session) -> None:
    list(fan_out(on_ray, double, range(2)))
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_workers_that_lack_the_function_are_an_error_in_one_line(on_ray: Session) -> None:
    module = types.ModuleType("only_on_the_driver")
    exec("def work(batch, attempt): return batch", module.__dict__)
    sys.modules[module.__name__] = module
    with pytest.raises(ClusterError, match=r"^the cluster cannot run the work: .*only_on_the_driver.*every node\?$"):
        list(fan_out(on_ray, module.work, [1]))
