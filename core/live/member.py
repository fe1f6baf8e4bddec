"""What each process of a live run does: it takes its part in every phase, one barrier apart, and leaves its figures.

Processes 0 to vcpus - 1 are the vCPUs, the last is the ioctl thread.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import time
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from core.compiled.records import Integers, Record, clear_record, layout, new_record
from core.config import Config, make_config
from core.costs.laws import COSTS
from core.counters import COUNTERS, start_phase
from core.live.clock import Calibration
from core.live.ioctl import run_ioctl
from core.live.meeting import begin, end, meeting_words, prepare_meeting
from core.live.processes.errors import LiveError
from core.live.processes.segment import PAGE, Field, Segment, new_segment
from core.live.running import run_beside
from core.live.sync.barrier import BARRIER_WORDS, prepare_barrier, wait_at_barrier
from core.live.sync.lock import lock_words, prepare_lock
from core.live.sync.waiting import ABORTED, spins_for
from core.live.vcpu import WORDS_PER_PAGE, run_pass
from core.mmu.untracked import untracked_pages
from core.sim.concurrent.outcome import undisturbed_per_ms
from core.sim.concurrent.state import DISTURBANCE, Concurrency, new_concurrency, start_concurrency
from core.sim.concurrent.timeline import BIN, BINS
from core.sim.fast_forward.units import new_units
from core.sim.state.actors import IOCTL, LOCK, TIMES, VCPU
from core.stalls import BUCKETS
from core.steps import PHASE, Step, steps_of
from core.tables import SharedMemory, machine_of, memory_arrays, prepare_shared_memory

PACE: Final = layout(
    [
        *("fault_outside", "fault_fast", "pml_exit", "slot", "flush", "flush_cpu", "kick", "refill"),
        "think",  # what the guest computes between two accesses
        "timeslice",  # after which the ioctl thread lets others in that wait; 0: never
        "spins",  # looks at whether an ioctl has begun, before sleeping
        "picoseconds",
    ]
)
"""How long the CPU spins for what no process can do, in cycles; and 1024 times the picoseconds of a cycle."""

UNDISTURBED: Final = "undisturbed"
"""A phase without a row, in which the vCPUs run as beside an ioctl, but there is none."""

UNDISTURBED_SECONDS: Final = 0.005

SPAN: Final = layout(["start", "end"])
"""When a process began and ended its part of a phase, on the monotonic clock, in nanoseconds."""


class Thread(NamedTuple):
    """What one process keeps of its own."""

    vcpu: Record
    ioctl: Record
    counters: Record
    counts: Integers  # the counters once more, as an array
    times: Record  # in cycles, but for the longest stall
    stalls: Integers
    lock: Record  # its longest hold, in cycles
    concurrency: Concurrency  # what a vCPU felt, or the ioctl thread did, while both ran


@dataclass(frozen=True, slots=True)
class Part:
    """What a process is told."""

    config: Config
    costs: Record  # from the caller: a profile's path means something where the caller is
    calibration: Calibration


def fields_of(config: Config) -> list[Field]:
    """The segment of a run: memory, lock and barrier, and what each process measures in each phase."""
    machine = machine_of(config)
    processes, steps = config.vcpus + 1, len(live_steps(config))
    memory = [Field(name, kind, size, PAGE) for name, (kind, size) in memory_arrays(machine).items()]
    guest_words = config.pages * WORDS_PER_PAGE if config.touch_memory else 0
    return [
        *memory,
        Field("lock", np.int64, lock_words(processes)),
        Field("meeting", np.int64, meeting_words(config.vcpus)),
        Field("barrier", np.int64, BARRIER_WORDS),
        Field("spans", SPAN, steps * processes),
        Field("counters", COUNTERS, steps * processes),
        Field("times", TIMES, steps * processes),
        Field("stalls", np.int64, steps * processes * BUCKETS, PAGE),
        *_felt_fields(steps * processes if config.concurrent else 0),
        Field("guest_memory", np.int64, guest_words, PAGE),
    ]


def _felt_fields(parts: int) -> list[Field]:
    """What each process leaves of each phase where the vCPUs run during the ioctls."""
    return [
        Field("felt", DISTURBANCE, parts),
        Field("felt_stalls", np.int64, parts * 2 * BUCKETS),
        Field("bins", BIN, parts * BINS),
        Field("bin_width", np.int64, parts),
        Field("longest_hold", np.int64, parts),
    ]


def live_steps(config: Config) -> list[Step]:
    """The phases of a run; where vCPUs run during the ioctls, a while before the first tells how fast without any."""
    steps = steps_of(config)
    if config.concurrent:
        rest = new_record(PHASE, {"guest": 1, "visits": config.visits_per_pass})
        steps.insert(1, Step(UNDISTURBED, None, rest))
    return steps


def prepare_segment(config: Config, segment: Segment, cpus: int) -> None:
    """Make a fresh segment ready for the run, whose processes share `cpus`."""
    prepare_shared_memory(shared_memory(config, segment))
    # while some run the rest sleeps: the ioctl thread in a pass, and the vCPUs in an ioctl, unless they run, too
    prepare_lock(segment["lock"], spins_for(config.busy_cpus, cpus))
    # but all of them wait at the barrier: one that spun there would keep another one from its CPU
    prepare_barrier(segment["barrier"], config.vcpus + 1, spins_for(config.vcpus + 1, cpus))


def shared_memory(config: Config, segment: Segment) -> SharedMemory:
    """The page tables and bitmaps of the segment."""
    return SharedMemory(**{name: segment[name] for name in memory_arrays(machine_of(config))})


def run_member(segment: Segment, index: int, part: Part) -> None:
    """Process `index` of a run, from its first phase to its last."""
    config = part.config
    machine, costs = machine_of(config), part.costs
    pace = _pace(config, costs, part.calibration)
    memory = shared_memory(config, segment)
    units = new_units(1, config.guest_roots)
    processes = config.vcpus + 1
    thread = _new_thread(config, index)
    guest_memory = _guest_memory(config, segment)
    lock, barrier, abort, meeting = segment["lock"], segment["barrier"], segment.abort, segment["meeting"]
    undisturbed = undisturbed_per_ms(config, costs, found_small=False)
    is_vcpu = index < config.vcpus
    _touch(memory)
    before = None
    for number, step in enumerate(live_steps(config)):
        start_phase(thread.counters)
        clear_record(thread.times)
        clear_record(thread.lock)
        thread.stalls[:] = 0
        start_concurrency(thread.concurrency, undisturbed)
        if wait_at_barrier(barrier, abort) == ABORTED:
            return
        if config.concurrent:
            if not is_vcpu:
                _check_nothing_lost(config, machine, memory, before)
                prepare_meeting(meeting)
                memory.written[:] = 0
            if wait_at_barrier(barrier, abort) == ABORTED:
                return
        place = number * processes + index
        span, rules = segment["spans"][place], step.rules
        runs_beside = rules.ioctl or step.name == UNDISTURBED
        if is_vcpu and rules.guest and runs_beside:
            run_beside(machine, costs, pace, memory, thread, guest_memory, rules, lock, abort, meeting, index)
        elif is_vcpu and rules.guest:
            run_pass(machine, costs, pace, memory, thread, guest_memory, rules, lock, abort, meeting, index, span)
        elif not is_vcpu and rules.ioctl:
            if not config.concurrent:
                memory.written[:] = 0
            run_ioctl(machine, costs, pace, memory, thread, units, rules, lock, abort, meeting, index, span)
        elif not is_vcpu and step.name == UNDISTURBED:
            _let_run(meeting, config.vcpus, span)
        segment["counters"][place] = thread.counters
        segment["times"][place] = thread.times
        segment["stalls"][place * BUCKETS : (place + 1) * BUCKETS] = thread.stalls
        if config.concurrent:
            _leave_felt(segment, place, thread)
        before = step
    wait_at_barrier(barrier, abort)  # a process that ends would take CPU time from the last pass of the others


def _let_run(meeting: Integers, vcpus: int, span: Record) -> None:
    """Let the vCPUs run for a while, with no ioctl beside them."""
    span.start = time.monotonic_ns()
    begin(meeting, int(span.start), vcpus)
    time.sleep(UNDISTURBED_SECONDS)
    span.end = time.monotonic_ns()
    end(meeting)


def _check_nothing_lost(config: Config, machine: Record, memory: SharedMemory, step: Step | None) -> None:
    """Raise LiveError where a page could be written now and no get would tell: a race that KVM must not lose either."""
    if step is not None and step.rules.logging:
        lost = untracked_pages(config, machine, memory)
        if lost:
            raise LiveError(f"after {step.name} {lost} pages can be written unseen: their dirty bits were lost")


def _leave_felt(segment: Segment, place: int, thread: Thread) -> None:
    concurrency = thread.concurrency
    segment["felt"][place] = concurrency.felt
    segment["felt_stalls"][place * 2 * BUCKETS : (place + 1) * 2 * BUCKETS] = concurrency.stalls.ravel()
    segment["bins"][place * BINS : (place + 1) * BINS] = concurrency.timeline.bins
    segment["bin_width"][place] = concurrency.timeline.scale.width
    segment["longest_hold"][place] = thread.lock.longest_hold


def load_kernels() -> None:
    """Compile or load everything that `run_member` calls, in the server, so that its processes have it at once."""
    config = make_config({"mem_per_vcpu": "2MiB", "engine": "live", "iterations": 1})
    with new_segment(fields_of(config)) as segment:
        memory = shared_memory(config, segment)
        prepare_segment(config, segment, 1)
        prepare_barrier(segment["barrier"], 1, 1)
        part = Part(config, new_record(COSTS), Calibration(1.0))
        run_member(segment, 0, part)
        memory.sptes[:] = 0
        run_member(segment, 1, part)
        _load_running(config, segment, memory)


def _load_running(config: Config, segment: Segment, memory: SharedMemory) -> None:
    """A vCPU beside an ioctl that is over before it looks."""
    machine, costs, thread = machine_of(config), new_record(COSTS), _new_thread(config, 0)
    pace, rules = _pace(config, costs, Calibration(1.0)), live_steps(config)[1].rules
    meeting = segment["meeting"]
    start_concurrency(thread.concurrency, 1.0)
    begin(meeting, time.monotonic_ns(), 0)
    end(meeting)
    guest_memory, lock, abort = segment["guest_memory"], segment["lock"], segment.abort
    run_beside(machine, costs, pace, memory, thread, guest_memory, rules, lock, abort, meeting, 0)


def _new_thread(config: Config, index: int) -> Thread:
    vcpu = new_record(VCPU)
    vcpu.draw = config.seed + index
    counters = np.zeros(1, COUNTERS)
    stalls = np.zeros(BUCKETS, np.int64)
    return Thread(
        vcpu=vcpu,
        ioctl=new_record(IOCTL),
        counters=counters[0],
        counts=counters.view(np.int64),
        times=new_record(TIMES),
        stalls=stalls,
        lock=new_record(LOCK),
        concurrency=new_concurrency(1),
    )


def _pace(config: Config, costs: Record, calibration: Calibration) -> Record:
    picoseconds = {
        "fault_outside": max(0, int(costs.fault_outside - costs.live_fault)),
        "fault_fast": max(0, int(costs.fault_fast - costs.live_fast)),
        "pml_exit": int(costs.pml_exit),
        "slot": int(costs.slot),
        "flush": int(costs.flush),
        "flush_cpu": int(costs.flush_cpu),
        "kick": int(costs.kick),
        "refill": int(costs.refill),
        "think": config.think_ns * 1000,
        "timeslice": int(costs.timeslice),
    }
    values = {name: calibration.cycles(spin / 1000) for name, spin in picoseconds.items()}
    values["spins"] = spins_for(config.vcpus + 1, len(os.sched_getaffinity(0)))
    return new_record(PACE, values | {"picoseconds": round(1024 * calibration.nanoseconds(1000))})


def _touch(memory: SharedMemory) -> None:
    """Map the tables and bitmaps into this process: the host's faults on them are no work of KVM's, and not timed."""
    for array in memory:
        array.view(np.uint8)[::PAGE].max(initial=0)


def _guest_memory(config: Config, segment: Segment) -> npt.NDArray[Any]:
    """The guest's real memory, if the run has any, in huge pages where the host gives them."""
    memory = segment["guest_memory"]
    if memory.size and config.backing != "4K":
        mapping = segment.mapping
        start = memory.ctypes.data - segment.abort.ctypes.data
        with contextlib.suppress(OSError, ValueError):  # a host without huge pages for shared memory
            mapping.madvise(mmap.MADV_HUGEPAGE, start // PAGE * PAGE, memory.nbytes)
    return memory
