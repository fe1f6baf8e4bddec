"""The engine's front door: one Config in, the rows of its phases out."""

from __future__ import annotations

from core.config import Config, make_config
from core.profile import load_profile
from core.rows import Row


def run_config(config: Config) -> list[Row]:
    """Simulate `config` and return one row per phase and iteration, with the columns of rows.PHASE_COLUMNS."""
    from core.interval import interval  # imported only where something runs: the command line starts without numpy
    from core.sim.engine import simulate

    rows = simulate(config)
    profile = load_profile(config.profile)
    for row in rows:
        row["seconds_lo"], row["seconds_hi"] = interval(config, profile, row)
    return rows


def warm_up() -> None:
    """Compile and store every kernel, once per machine and version, so that many processes can load them at once."""
    from core.kernel_cache import is_warm, mark_warm

    if not is_warm():
        run_config(make_config({"mem_per_vcpu": "2MiB"}))
        mark_warm()


def estimated_seconds(config: Config) -> float:
    """A rough guess of the engine time of `config` in seconds of one core, for sizing batches.

    Two parts: what grows with the chunks of memory, and the faults and visits that are stepped through one by one.
    """
    overlap = 1 if config.partitioned else config.vcpus
    visits = config.pages * overlap
    written = visits * config.write_percent / 100
    logged = config.iterations - (1 if config.initially_all_set else 0)  # passes that have anything to log
    locked = 0.0  # faults that take the lock
    if config.mmu in ("shadow", "nested"):
        locked += written * logged
    if logged and config.split == "lazy" and config.leaf_level > config.track_level:
        locked = max(locked, visits + (locked - written if locked else 0.0))
    if config.leaf_level == 1:
        locked += config.pages * config.address_spaces
    stepped = visits * (config.iterations + 2) * 8e-9 + written * logged * 8e-9 + locked * 60e-9
    if config.mmu == "tdp" and config.vcpus > 16:  # readers that queue change places at every table, so nothing repeats
        stepped += locked * 30e-9
        repeating = 0.0 if locked else 1.0
    else:
        repeating = 1.0
    if overlap > 1 or config.access_order == "random" or config.write_pattern == "random":
        repeating = 0.0
    stepped_first = min(1.0, 4 * 512 * config.vcpus / config.pages)  # before anything has repeated itself
    chunks = config.pages / 512 * (2 * config.iterations + 4)
    return 0.002 + chunks * 1.5e-7 + stepped * (1 - repeating * (1 - stepped_first))
