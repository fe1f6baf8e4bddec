"""What each process of a live run does: it takes its part in every phase, one barrier apart, and leaves its figures.

Processes 0 to vcpus - 1 are the vCPUs, the last is the ioctl thread.
"""

from __future__ import annotations

import contextlib
import mmap
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
from core.live.processes.segment import PAGE, Field, Segment, new_segment
from core.live.sync.barrier import BARRIER_WORDS, prepare_barrier, wait_at_barrier
from core.live.sync.lock import lock_words, prepare_lock
from core.live.sync.waiting import ABORTED, spins_for
from core.live.vcpu import WORDS_PER_PAGE, run_pass
from core.sim.fast_forward.units import new_units
from core.sim.state.actors import IOCTL, TIMES, VCPU
from core.stalls import BUCKETS
from core.steps import steps_of
from core.tables import SharedMemory, machine_of, memory_arrays, prepare_shared_memory

PACE: Final = layout(["fault_outside", "fault_fast", "pml_exit", "slot", "flush", "picoseconds"])
"""How long the CPU spins for what no process can do, in cycles; and 1024 times the picoseconds of a cycle."""

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


@dataclass(frozen=True, slots=True)
class Part:
    """What a process is told."""

    config: Config
    costs: Record  # from the caller: a profile's path means something where the caller is
    calibration: Calibration


def fields_of(config: Config) -> list[Field]:
    """The segment of a run: memory, lock and barrier, and what each process measures in each phase."""
    machine = machine_of(config)
    processes, steps = config.vcpus + 1, len(steps_of(config))
    memory = [Field(name, kind, size, PAGE) for name, (kind, size) in memory_arrays(machine).items()]
    guest_words = config.pages * WORDS_PER_PAGE if config.touch_memory else 0
    return [
        *memory,
        Field("lock", np.int64, lock_words(processes)),
        Field("barrier", np.int64, BARRIER_WORDS),
        Field("spans", SPAN, steps * processes),
        Field("counters", COUNTERS, steps * processes),
        Field("times", TIMES, steps * processes),
        Field("stalls", np.int64, steps * processes * BUCKETS, PAGE),
        Field("guest_memory", np.int64, guest_words, PAGE),
    ]


def prepare_segment(config: Config, segment: Segment, cpus: int) -> None:
    """Make a fresh segment ready for the run, whose processes share `cpus`."""
    prepare_shared_memory(shared_memory(config, segment))
    # while some run the rest sleeps: the ioctl thread in a pass, the vCPUs in an ioctl
    prepare_lock(segment["lock"], spins_for(config.vcpus, cpus))
    # but all of them wait at the barrier: one that spun there would keep another one from its CPU
    prepare_barrier(segment["barrier"], config.vcpus + 1, spins_for(config.vcpus + 1, cpus))


def shared_memory(config: Config, segment: Segment) -> SharedMemory:
    """The page tables and bitmaps of the segment."""
    return SharedMemory(**{name: segment[name] for name in memory_arrays(machine_of(config))})


def run_member(segment: Segment, index: int, part: Part) -> None:
    """Process `index` of a run, from its first phase to its last."""
    config = part.config
    machine, costs = machine_of(config), part.costs
    pace = _pace(costs, part.calibration)
    memory = shared_memory(config, segment)
    units = new_units(1, config.guest_roots)
    processes = config.vcpus + 1
    thread = _new_thread(config, index)
    guest_memory = _guest_memory(config, segment)
    lock, barrier, abort = segment["lock"], segment["barrier"], segment.abort
    _touch(memory)
    for number, step in enumerate(steps_of(config)):
        start_phase(thread.counters)
        clear_record(thread.times)
        thread.stalls[:] = 0
        if wait_at_barrier(barrier, abort) == ABORTED:
            return
        place = number * processes + index
        span = segment["spans"][place]
        if index < config.vcpus and step.rules.guest:
            run_pass(machine, costs, pace, memory, thread, guest_memory, step.rules, lock, abort, index, span)
        elif index == config.vcpus and step.rules.ioctl:
            memory.written[:] = 0
            run_ioctl(machine, costs, pace, memory, thread, units, step.rules, lock, abort, index, span)
        segment["counters"][place] = thread.counters
        segment["times"][place] = thread.times
        segment["stalls"][place * BUCKETS : (place + 1) * BUCKETS] = thread.stalls
    wait_at_barrier(barrier, abort)  # a process that ends would take CPU time from the last pass of the others


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


def _new_thread(config: Config, index: int) -> Thread:
    vcpu = new_record(VCPU)
    vcpu.draw = config.seed + index
    counters = np.zeros(1, COUNTERS)
    stalls = np.zeros(BUCKETS, np.int64)
    return Thread(vcpu, new_record(IOCTL), counters[0], counters.view(np.int64), new_record(TIMES), stalls)


def _pace(costs: Record, calibration: Calibration) -> Record:
    picoseconds = {
        "fault_outside": max(0, int(costs.fault_outside - costs.live_fault)),
        "fault_fast": max(0, int(costs.fault_fast - costs.live_fast)),
        "pml_exit": int(costs.pml_exit),
        "slot": int(costs.slot),
        "flush": int(costs.flush),
    }
    values = {name: calibration.cycles(spin / 1000) for name, spin in picoseconds.items()}
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
