"""The simulating engine: runs the phases of dirty_log_perf_test for one Config and returns their rows."""

from __future__ import annotations

import math
from collections.abc import Callable

from core.compiled.kernel import bound
from core.compiled.records import Record, clear_record
from core.config import Config, make_config
from core.costs.laws import costs_of
from core.costs.profile import load_profile
from core.counters import start_phase
from core.phase_row import Outcome, phase_row
from core.rows import Row
from core.shares import write_period
from core.sim.concurrent.loop import run_concurrently
from core.sim.concurrent.outcome import concurrency_columns, undisturbed_per_ms
from core.sim.concurrent.state import new_concurrency, start_concurrency
from core.sim.fast_forward.marks import new_marks
from core.sim.fast_forward.units import new_units
from core.sim.loop import run_phase
from core.sim.state.actors import new_simulation
from core.sizes import PAGES_PER_2M
from core.steps import Step, steps_of
from core.tables import Memory, machine_of, new_memory

Observer = Callable[[str, int | None, Memory], None]
"""Called after each phase with its name, its iteration and the guest's memory; tests look at the bitmap with it."""


def period_of(config: Config, machine: Record, rules: Record) -> int:
    """Pages after which a pass may do again what it did, or 0: whole chunks and whole periods of the write pattern.

    An ioctl finds what the passes left. Where PML logs, the buffer's fill must repeat, too: it holds one chunk's pages.
    """
    pattern = write_period(config)
    if rules.guest and rules.ioctl:
        return 0
    if not rules.guest:
        return math.lcm(PAGES_PER_2M, pattern or 1)
    if rules.write_all:
        pattern = 1
    # several roots may share tables, so that what is linked for one page maps another vCPU's
    are_apart = machine.vcpus_disjoint or (machine.partitioned and machine.roots == 1)
    is_in_order = rules.in_order or (config.access_order == "sequential" and config.skew == 100)
    if not are_apart or pattern == 0 or not is_in_order:
        return 0
    return PAGES_PER_2M * pattern if rules.logging and config.pml else math.lcm(PAGES_PER_2M, pattern)


def _check_sums(config: Config, step: Step, duration: int) -> None:
    """Times are added up over all vCPUs, in 64 bits: 107 days at most."""
    if duration * (config.vcpus + 1) >= 2**63:
        raise OverflowError(
            f"{step.name} takes {duration / 1e12:,.0f} s, and its {config.vcpus} vCPUs together longer than can be "
            "added up (107 days): take fewer vCPUs or less memory"
        )


def load_kernels() -> None:
    """Compile or load everything that `simulate` calls where the vCPUs rest during the ioctls."""
    simulate(make_config({"mem_per_vcpu": "2MiB"}))


def load_concurrent_kernels() -> None:
    """The same where they run."""
    simulate(make_config({"mem_per_vcpu": "2MiB", "backing": "2M", "concurrent": True}))


def simulate(
    config: Config,
    costs: Record | None = None,
    observe: Observer | None = None,
    *,
    fast_forward: bool = True,
    event_by_event: bool = False,
) -> list[Row]:
    """Simulate `config` and return one row per phase and iteration; `costs` are those of its profile unless given.

    Without `fast_forward` everything is stepped through, with the same result: for tests and benchmarks.
    """
    machine = machine_of(config)
    costs = costs_of(config, load_profile(config.profile)) if costs is None else costs
    memory = new_memory(machine)
    simulation = new_simulation(machine)
    chunks = max(1, write_period(config))  # of the longest period
    marks = new_marks(config.vcpus, chunks)
    units = new_units(chunks, config.guest_roots)
    concurrency = new_concurrency(config.vcpus)
    phase = bound(run_phase, machine, costs, memory, simulation, marks, units)
    rows = []
    for step in steps_of(config):
        start_phase(simulation.counters)
        clear_record(simulation.lock)
        clear_record(simulation.times)
        simulation.stalls[:] = 0
        simulation.releases.ends[:] = 0
        memory.written[:] = 0
        step.rules.period = period_of(config, machine, step.rules) if fast_forward and not event_by_event else 0
        is_concurrent = step.rules.guest and step.rules.ioctl
        if is_concurrent or event_by_event:
            undisturbed = undisturbed_per_ms(config, costs, found_small=simulation.counters.leaves[1] > 0)
            start_concurrency(concurrency, undisturbed)
            duration = run_concurrently(machine, costs, memory, simulation, concurrency, units, step.rules)
            if is_concurrent:
                simulation.vcpus["finish"] = duration
        else:
            duration = phase(step.rules)
        _check_sums(config, step, int(duration))
        finish = simulation.vcpus["finish"]
        outcome = Outcome(int(duration), finish, simulation.counters, simulation.times, simulation.stalls)
        rows.append(phase_row(config, step.name, step.iteration, outcome))
        if is_concurrent:
            longest_hold = int(simulation.lock.longest_hold)
            counters = simulation.counters
            rows[-1] |= concurrency_columns(concurrency, counters, longest_hold, int(duration), undisturbed)
        if observe is not None:
            observe(step.name, step.iteration, memory)
    return rows
