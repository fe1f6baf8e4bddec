"""The engine's front door: one Config in, the rows of its phases out."""

from __future__ import annotations

import math
import os
from collections.abc import Callable

from core.config import Config
from core.costs.profile import load_profile
from core.rows import Row
from core.shares import are_vcpus_disjoint, write_period
from core.sizes import PAGES_PER_1G


def run_config(config: Config, *, share_cpus: bool = False, binary: str | None = None) -> list[Row]:
    """Simulate or measure `config`: one row per phase and iteration, with the columns of rows.PHASE_COLUMNS.

    A live run waits for CPUs that no other live run of this host has, unless they may be shared. A run of real KVM
    needs its selftest: `binary`, or the one on PATH.
    """
    if config.engine == "kvm":
        from core.kvm.engine import measure

        return measure(config, binary)
    return _measured(config, share_cpus) if config.engine == "live" else _simulated(config)


def _simulated(config: Config) -> list[Row]:
    from core.costs.interval import (
        interval,  # imported only where something runs: the command line starts without numpy
    )
    from core.sim.engine import simulate

    rows = simulate(config)
    profile = load_profile(config.profile)
    for row in rows:
        if row.get("dip_depth") is None:  # what running vCPUs do to an ioctl, no published timing determines
            row["seconds_lo"], row["seconds_hi"] = interval(config, profile, row)
    return rows


def _measured(config: Config, share_cpus: bool) -> list[Row]:
    from core.live.cpus import own_cpus
    from core.live.engine import measure

    with own_cpus(config.busy_cpus, share=share_cpus):
        return measure(config)  # seconds_lo and seconds_hi stay null: a measurement is what it is


def warm_up(kind: str = "sim", report: Callable[[int, int], None] = lambda compiled, kernels: None) -> None:
    """Compile and store kernels, once per machine and version, so that many processes can load them.

    `kind` is "sim" for simulations, "concurrent" for those where the vCPUs run while the ioctls do, or "live".
    `core.compiled.cache.is_warm(kind)` tells beforehand, without loading numba, whether there is anything to do: it
    takes half a minute of CPU time for each. Meanwhile `report(compiled, kernels)` is called after each kernel. The
    last quarter of the time comes after all of them: then they are optimised together. `kernels` are all that there
    are; none of the kinds needs all, so `compiled` ends short of it. Of several processes that try, one does it and
    the others wait.
    """
    from core.compiled.cache import is_warm, mark_warm

    if is_warm(kind):
        return
    if kind == "live":
        from core.live.member import load_kernels as load
    elif kind == "concurrent":
        from core.sim.engine import load_concurrent_kernels as load
    else:
        from core.sim.engine import load_kernels as load
    from core.compiled.kernel import reported

    with reported(report):
        load()
    mark_warm(kind)


def estimated_seconds(config: Config) -> float:
    """A rough guess of the engine time of `config` in seconds, for sizing batches.

    A simulation has two parts: what grows with the chunks of memory, and the faults and visits that are stepped through
    one by one.
    """
    if config.engine == "kvm":
        return _kvm_seconds(config)
    if config.engine == "live":
        return _live_seconds(config)
    visits = config.visits_per_pass * config.vcpus
    written = visits * config.write_percent / 100
    logged = config.iterations - (1 if config.initially_all_set else 0)  # passes that have anything to log
    locked = 0.0  # faults that take the lock
    if config.mmu in ("shadow", "nested"):
        locked += written * logged
    lazy = logged and config.split == "lazy" and config.leaf_level > config.track_level
    if lazy:
        locked = max(locked, visits + (locked - written if locked else 0.0))
    if config.leaf_level == 1:
        locked += config.pages * (config.guest_roots if config.guest_page == "4K" else 1)
    stepped = visits * (config.iterations + 2) * 8e-9 + written * logged * 8e-9 + locked * 60e-9
    repeating, queued = 1.0, 0.0
    if config.mmu == "tdp":  # readers that queue are stepped through (docs/performance.md), but for a steady long line
        if (lazy and config.vcpus > 2) or (config.leaf_level == 1 and config.vcpus > 4):
            stepped += locked * 20e-9
            repeating = 0.0 if lazy or config.vcpus <= 32 else 0.9
        if config.leaf_level > 1 and config.vcpus > 16:  # they populate, and come back once logging is off
            queued = 2 * config.pages / 512 ** (config.leaf_level - 1) * 1e-6
    if config.access_order == "random":  # caches miss the more, the more memory there is
        stepped += visits * (config.iterations + 1) * 10e-9 * max(0.0, math.log2(config.pages / PAGES_PER_1G))
    are_apart = are_vcpus_disjoint(config) or (config.partitioned and config.guest_roots == 1)
    if not are_apart or write_period(config) == 0 or config.skew < 100:
        repeating = 0.0
    stepped_first = min(1.0, 4 * 512 * config.vcpus / config.pages)  # before anything has repeated itself
    chunks = config.pages / 512 * (2 * config.iterations + 4)
    running = _running_seconds(config) if config.concurrent else 0.0
    return 0.002 + chunks * 1.5e-7 + queued + stepped * (1 - repeating * (1 - stepped_first)) + running


def _running_seconds(config: Config) -> float:
    """What it takes to simulate vCPUs that run during the ioctls.

    Between two units of the ioctl thread each vCPU is looked at. Its accesses go by the table, where they follow a
    pattern on memory of its own, else one by one. Writers that fault wait for a thread that keeps the lock, and then
    there is little to do; where it lets them in, each fault makes all vCPUs stop.
    """
    chunks, is_eager = config.pages / 512, config.split == "eager"
    enables = 0 if config.initially_all_set else 1 + int(is_eager) + int(config.pml)
    walks = enables + config.iterations * (1 + int(config.manual_protect)) + 1
    accesses = _ioctl_seconds(config) * config.vcpus / _access_seconds(config)
    is_apart = are_vcpus_disjoint(config)
    by_table = config.access_order == "sequential" and config.write_pattern == "stride" and config.skew == 100
    each = (1.4e-9 if by_table else 33e-9) if is_apart else 300e-9
    running = chunks * walks * config.vcpus * 0.9e-6 + accesses * each
    writes = config.visits_per_pass * config.vcpus * config.write_percent / 100
    if writes and config.mmu in ("shadow", "nested"):
        if config.preempt == "full":
            return 0.01 + running + writes * config.vcpus * 0.75e-6
        return 0.01 + running * (0.5 if enables else 0.12)
    return 0.01 + running


def _ioctl_seconds(config: Config) -> float:
    """Roughly how long the ioctls of a run take, in simulated time."""
    costs = load_profile(config.profile)
    kind = {"tdp": "tdp", "nested": "nested"}.get(config.mmu, "rmap")
    remote = max(0.0, 1 - costs["machine.node_gib"] * PAGES_PER_1G / config.pages)
    clear = 3 * costs["ioctl.scan_head_ns"] + costs["ioctl.clear_page_protect_ns"] * config.write_percent / 100
    page = 3 * costs["ioctl.scan_head_ns"] + costs["ioctl.protect_ns"] + config.iterations * clear
    page += costs[f"ioctl.split_{kind}_ns"] if config.split == "eager" else 0.0
    page += costs["ioctl.zap_tdp_ns"] if kind == "tdp" else costs["ioctl.zap_rmap_ns"] + costs["ioctl.host_level_ns"]
    page *= 1 + costs["ioctl.remote_update"] * remote
    is_flushed = config.kernel != "7.3" and (kind == "tdp" or config.split == "eager")
    flush = config.vcpus * costs["fault.flush_cpu_ns"] / 512 if is_flushed else 0.0
    return (page + flush) * config.pages * 1e-9


def _access_seconds(config: Config) -> float:
    """Roughly how long an access of the guest takes, in simulated time."""
    costs, writes = load_profile(config.profile), config.write_percent / 100
    plain = writes * costs["guest.write_ns"] + (1 - writes) * costs["guest.read_ns"] + costs["guest.small_leaf_ns"] / 2
    return (
        plain * (1 + costs["guest.contention"] * min(1.0, config.vcpus / costs["machine.cores"])) + config.think_ns
    ) * 1e-9


def _live_seconds(config: Config) -> float:
    """The same for a live run: its processes start, and share the visits and faults as far as there are CPUs."""
    visits = config.pages * (1 if config.partitioned else config.vcpus)
    logged_writes = visits * config.write_percent / 100 * config.iterations
    first_touches = config.guest_roots * config.pages / 512.0 ** (config.leaf_level - 1)
    busy = visits * (config.iterations + 2) * 15e-9 + (first_touches + logged_writes) * 1e-6
    return 0.1 + 0.01 * config.vcpus + busy / min(config.vcpus, os.cpu_count() or 1)


def _kvm_seconds(config: Config) -> float:
    """The same for a run of real KVM: the host sets up its memory, and each pass visits or faults on its pages."""
    visits = config.pages * (1 if config.partitioned else config.vcpus)
    return 1 + 0.01 * config.vcpus + config.pages * 5e-7 + visits * config.iterations * 5e-7
