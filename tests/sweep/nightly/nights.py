"""Nights for tests: real runs of an engine that answers at once, with times that a test can state."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import patch

from core.config import Config
from core.rows import Row
from sweep.nightly.night import Request, Result, keep, run_night
from sweep.spec.configs import load_spec, resolved_text
from tests.sweep.engines import phase_rows

MEASURED = """
name = "measured"
[fixed]
engine = "kvm"
mem_per_vcpu = "2MiB"
[[grid]]
mmu = ["tdp", "shadow"]
vcpus = [1, 2]
"""

SIM = MEASURED.replace('"kvm"', '"sim"').replace('"measured"', '"simulated"')

Factor = Callable[[Config], float]

_calls = itertools.count()


def one(config: Config) -> float:
    return 1.0


def engine(factor: Factor, spread: float = 0.02) -> Callable[[Config], list[Row]]:
    """An engine whose times are the usual ones times `factor`; measured ones have noise, never the same."""

    def run(config: Config) -> list[Row]:
        noise = random.Random(f"{config} {next(_calls)}")
        scatter = noise.lognormvariate(0, spread) if config.engine == "kvm" else 1.0
        return [row | {"seconds": row["seconds"] * factor(config) * scatter} for row in phase_rows(config)]

    return run


def night(
    history: Path, factor: Factor = one, *, spec: str = MEASURED, host: str = "node-a", **asked: object
) -> Result:
    """Run a night, a second after the one before, and keep it."""
    file = history.parent / "spec.toml"
    file.write_text(spec)
    sweep = load_spec(file)
    request = Request(
        sweep=sweep,
        spec_text=resolved_text(sweep),
        history=str(history),
        baseline="last",
        repeats=6,
        confirm=True,
        revision=None,
        threshold=0.05,
        address="inline",
        engine=engine(factor),
    )
    with patch("sweep.running.worker._machine", lambda: {"host": host, "node_cpus": 2, "kernel_release": "6.12"}):
        result = run_night(replace(request, **asked), datetime.fromtimestamp(1.8e9 + next(_calls), UTC))  # type: ignore[arg-type]
    keep(request, result)
    return result
