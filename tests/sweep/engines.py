"""Engines for tests of the machinery around them: they answer at once, and some do what engines should not.

What an engine does to a config is told by the config's seed, so that no state is needed.
"""

from __future__ import annotations

import os
from pathlib import Path
from threading import Event

from core.config import Config, config_record, make_config
from core.identity import config_id
from core.live.processes.errors import LiveError
from core.rows import Row
from sweep.dataset.store import Store

RAISES, KILLS, HOLDS = 1_000_001, 1_000_002, 1_000_003
"""Seeds: the engine raises; it kills its process; it never comes back."""


def some_configs(*seeds: int, mem_per_vcpu: str = "1MiB") -> list[Config]:
    """Configs that differ in the seed alone."""
    return [make_config({"access_order": "random", "mem_per_vcpu": mem_per_vcpu, "seed": seed}) for seed in seeds]


def live_configs(*seeds: int, vcpus: int = 1) -> list[Config]:
    """The same for the live engine."""
    return [
        make_config({"engine": "live", "vcpus": vcpus, "access_order": "random", "mem_per_vcpu": "1MiB", "seed": seed})
        for seed in seeds
    ]


def quick_engine(config: Config) -> list[Row]:
    if config.seed == RAISES and config.engine == "live":
        raise LiveError("vCPU 3 died of SIGSEGV")
    if config.seed == RAISES:
        raise ValueError("this seed\nis not liked")
    if config.seed == KILLS:
        os._exit(9)
    if config.seed == HOLDS:
        Event().wait()
    return phase_rows(config)


def phase_rows(config: Config) -> list[Row]:
    row = {"config_id": config_id(config), **config_record(config)}
    return [
        row | {"phase": "populate", "seconds": 0.5, "guest_seconds": 0.125},
        row | {"phase": "dirty", "iteration": 1, "seconds": 0.25},
    ]


def shards(store: Store, table: str) -> list[str]:
    """Names of all files in a table's folder, hidden ones too."""
    return sorted(os.listdir(Path(store.path) / table))
