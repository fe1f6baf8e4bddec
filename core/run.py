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
    """A rough guess of the engine time of `config` in seconds of one core, for sizing batches."""
    overlap = 1 if config.partitioned else config.vcpus
    logged = config.iterations - (1 if config.initially_all_set else 0)  # passes that have anything to log
    written = config.pages * overlap * config.write_percent / 100
    locked = 0.0  # faults that take the lock
    if config.mmu in ("shadow", "nested"):
        locked += written * logged
    if logged and config.split == "lazy" and config.leaf_level > config.track_level:
        locked = max(locked, config.pages * overlap + (locked - written if locked else 0.0))
    if config.leaf_level == 1:
        locked += config.pages * config.address_spaces
    visits = config.pages * overlap * (config.iterations + 2)
    if not config.partitioned or config.mmu == "tdp":
        locked *= 2  # each fault is several events there
    return 0.003 + visits * 4e-9 + written * logged * 6e-9 + locked * 40e-9
