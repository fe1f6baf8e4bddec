"""Faults per second where they hurt most: 64 vCPUs that write their memory for the first time, behind one FIFO lock.

The same queue is programmed four times, and all must end at the same picosecond with the same sum of waits:

* core's simulator, with everything it does besides: page tables, dirty bitmap, counters, histogram of stalls. It runs
  twice: stepping through every fault, as the others do, and with fast-forward, as users run it;
* SimPy, as its manual would have it: a process a vCPU, a Resource for the lock;
* plain Python around a heapq, the fastest that came to mind;
* a compiled C loop, the limit (queue_limit.c).

Each runs a size that takes it a good part of a second, in turn, one round after the other.
"""

from __future__ import annotations

import ctypes
import heapq
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from benchmarks.measure import Options, in_turn, ratio, spread
from benchmarks.report import Cell, Table
from core.compiled.records import Record
from core.config import Config, make_config
from core.costs.laws import costs_of
from core.costs.profile import load_profile
from core.sizes import PAGES_PER_2M

VCPUS: Final = 64
ROUNDS: Final = 5

STEPPING, FORWARD = "splitsweep, stepping", "splitsweep with fast-forward"
C_LOOP, HEAPQ, SIMPY = "C, queue arithmetic only", "Python, heapq", "SimPy"
SIZES: Final = {STEPPING: "256MiB", FORWARD: "256MiB", C_LOOP: "256MiB", HEAPQ: "8MiB", SIMPY: "2MiB"}
"""Memory of each vCPU, by program."""

Result = tuple[int, int]
"""When the last vCPU is done, and all waits for the lock with its hand-overs added up; picoseconds."""


@dataclass(frozen=True, slots=True)
class Queue:
    """The faults of one pass as a queue in front of a lock. Times are picoseconds."""

    accesses: int  # of each vCPU
    starts: tuple[int, ...]  # of each vCPU
    outside: int  # of the lock, before it
    hand_over: int
    hold: int
    region_hold: int  # for the first access to a 2M region: it drops the huge leaf and links a table
    plain: int

    def hold_of(self, number: int) -> int:
        """How long the fault of a vCPU's access holds the lock."""
        return self.hold if number % PAGES_PER_2M else self.region_hold


def run(options: Options) -> list[Table]:
    """Measure all programs, in turn."""
    with tempfile.TemporaryDirectory() as folder:
        programs: dict[str, Callable[[Queue], Result]] = {
            C_LOOP: _c_loop(Path(folder)),
            HEAPQ: _heapq,
        }
        if _has_simpy():
            programs[SIMPY] = _simpy
        measures = {
            STEPPING: partial(_stepping_nanoseconds, SIZES[STEPPING]),
            FORWARD: partial(_forward_nanoseconds, SIZES[FORWARD]),
        }
        for name, program in programs.items():
            measures[name] = partial(_nanoseconds, program, SIZES[name])
        for measure in measures.values():
            measure()  # compiles, and fills the caches
        taken = in_turn(measures, ROUNDS)
    rows = [_row(name, taken) for name in SIZES]
    title = f"Faults of {VCPUS} vCPUs behind the write lock (legacy_tdp, lazy, 2M backing), median of {ROUNDS} rounds"
    columns = ("program", "faults", "ns per fault", "million faults per second", "time against stepping")
    return [Table(title, columns, rows)]


def _row(name: str, taken: dict[str, list[float]]) -> tuple[Cell, ...]:
    faults = VCPUS * _config(SIZES[name]).pages_per_vcpu
    if name not in taken:
        return (f"{name}: not installed", faults, None, None, None)
    rates = [1000 / nanoseconds for nanoseconds in taken[name]]
    return (name, faults, spread(taken[name]), spread(rates).median, ratio(taken[name], taken[STEPPING]))


def _config(size: str) -> Config:
    """One logged pass in which every access faults and takes the lock for write."""
    return make_config(
        {
            "vcpus": VCPUS,
            "mem_per_vcpu": size,
            "backing": "2M",
            "mmu": "legacy_tdp",
            "split": "lazy",
            "initially_all_set": False,
            "iterations": 1,
        }
    )


def _costs(config: Config) -> Record:
    """The costs, but that a hand-over of the lock costs the same however many wait, as in the other queues."""
    costs = costs_of(config, load_profile(config.profile))
    costs.hand_over_doubling = costs.flush_cpu = 0
    return costs


def _queue(config: Config) -> Queue:
    """The same pass without the memory."""
    costs = _costs(config)
    return Queue(
        accesses=config.pages_per_vcpu,
        starts=tuple(int(costs.stagger) * vcpu // (VCPUS - 1) for vcpu in range(VCPUS)),
        outside=int(costs.fault_outside),
        hand_over=int(costs.hand_over),
        hold=int(costs.map_hold),
        region_hold=int(costs.map_hold + costs.drop_hold + costs.table_hold),
        plain=int(costs.write),
    )


def _core_pass(size: str, *, fast_forward: bool) -> tuple[float, tuple[float, float]]:
    """Wall seconds of the simulator's pass, and its result in seconds."""
    from core.sim.engine import simulate

    ends: dict[str, float] = {}

    def observe(phase: str, iteration: int | None, memory: object) -> None:
        ends[phase] = time.perf_counter()

    config = _config(size)
    rows = simulate(config, _costs(config), observe, fast_forward=fast_forward)
    row = next(row for row in rows if row["phase"] == "dirty")
    assert row["faults"] == row["lock_acquisitions"] == config.pages
    return ends["dirty"] - ends["enable"], (row["seconds"], row["lock_wait_seconds"])


def _stepping_nanoseconds(size: str) -> float:
    """Wall time per fault of the simulator when it goes through each."""
    seconds, _ = _core_pass(size, fast_forward=False)
    return seconds / _config(size).pages * 1e9


def _forward_nanoseconds(size: str) -> float:
    """The same with what repeats itself skipped; the result must not change."""
    seconds, result = _core_pass(size, fast_forward=True)
    _, expected = _core_pass(size, fast_forward=False)
    assert result == expected, (result, expected)
    return seconds / _config(size).pages * 1e9


def _nanoseconds(program: Callable[[Queue], Result], size: str) -> float:
    """Wall time per fault of another program, whose result must be the simulator's."""
    config = _config(size)
    queue = _queue(config)
    start = time.perf_counter()
    result = program(queue)
    seconds = time.perf_counter() - start
    _, expected = _core_pass(size, fast_forward=False)
    assert tuple(value / 1e12 for value in result) == expected, (program, result, expected)
    return seconds / config.pages * 1e9


def _c_loop(folder: Path) -> Callable[[Queue], Result]:
    """queue_limit.c, compiled for this machine."""
    library = folder / "queue_limit.so"
    source = Path(__file__).with_name("queue_limit.c")
    subprocess.run(["gcc", "-O3", "-march=native", "-shared", "-fPIC", "-o", library, source], check=True)
    function = ctypes.CDLL(str(library)).queue_limit
    integer, pointer = ctypes.c_int64, ctypes.POINTER(ctypes.c_int64)
    function.argtypes = [integer, integer, pointer, *[integer] * 5, pointer]
    function.restype = integer

    def call(queue: Queue) -> Result:
        waited = integer()
        starts = (integer * VCPUS)(*queue.starts)
        costs = (queue.outside, queue.hand_over, queue.hold, queue.region_hold, queue.plain)
        last = function(VCPUS, queue.accesses, starts, *costs, ctypes.byref(waited))
        return int(last), waited.value

    return call


def _heapq(queue: Queue) -> Result:
    """The lock serves in order of arrival, so a fault's outcome is known when it arrives: one event each."""
    arrivals = [(start + queue.outside, vcpu, vcpu) for vcpu, start in enumerate(queue.starts)]
    heapq.heapify(arrivals)
    done = [0] * VCPUS
    away = queue.plain + queue.outside
    sequence, free, waited, last = VCPUS, 0, 0, 0
    while arrivals:
        asked, _, vcpu = arrivals[0]
        granted = max(asked, free)
        number = done[vcpu]
        done[vcpu] = number + 1
        waited += granted - asked + queue.hand_over
        free = granted + queue.hand_over + queue.hold_of(number)
        if number + 1 == queue.accesses:
            heapq.heappop(arrivals)
            last = free + queue.plain
        else:
            heapq.heapreplace(arrivals, (free + away, sequence, vcpu))
            sequence += 1
    return last, waited


def _has_simpy() -> bool:
    try:
        import simpy  # noqa: F401
    except ImportError:
        return False
    return True


def _simpy(queue: Queue) -> Result:
    """A process a vCPU; what lies between two critical sections is one timeout."""
    import simpy

    environment = simpy.Environment()
    lock = simpy.Resource(environment, capacity=1)
    waits = [0] * VCPUS

    def guest(vcpu: int) -> Generator[simpy.Event, Any, None]:
        yield environment.timeout(queue.starts[vcpu] + queue.outside)
        for number in range(queue.accesses):
            if number:
                yield environment.timeout(queue.plain + queue.outside)
            asked = int(environment.now)
            with lock.request() as request:
                yield request
                waits[vcpu] += int(environment.now) - asked + queue.hand_over
                yield environment.timeout(queue.hand_over + queue.hold_of(number))
        yield environment.timeout(queue.plain)

    for vcpu in range(VCPUS):
        environment.process(guest(vcpu))
    environment.run()
    return int(environment.now), sum(waits)
