"""`python -m benchmarks.noise_study [SEEDS]`: how honest the intervals of a calibrated profile are.

A host that is known in full is measured by simulating it and multiplying every time with lognormal noise. A profile is
fitted to a few of its runs, with another host's profile as its base, and its intervals are held against fresh noisy
times of all runs: of those it was fitted to, and of those it has not seen. 90% should lie inside. docs/measuring.md
has the figures.
"""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from core.config import Config, make_config
from core.costs.beliefs import BELIEFS
from core.costs.interval import interval, is_determined
from core.costs.laws import costs_of
from core.costs.profile import Profile, load_profile, profile_of
from core.sim.engine import simulate
from sweep.evidence.fit import RATIOS, fit_profile, near
from sweep.evidence.measurements import Measured, is_modelled

NOISES: Final = (0.05, 0.1, 0.2)
RUNS: Final = (3, 6, 12, 30)
HOSTS_DIFFER: Final = 0.25
"""Standard deviation of the logarithm of a cost of the measured host, against the base profile."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How many times of the fitted runs and of the others lie inside, of those that the timings determine."""

    fitted: tuple[int, int]  # inside, all
    others: tuple[int, int]
    undetermined: int
    median_error: float  # of the times of other runs that are determined, against the host without noise


VCPUS: Final = (2, 4, 8, 16, 32, 64)


def typical_runs(vcpu_counts: Sequence[int] = VCPUS) -> list[Config]:
    """Thirty runs as people take them: three MMUs, splits, 2 to 64 vCPUs."""
    machines = [
        {"mmu": "tdp", "split": "eager"},
        {"mmu": "tdp", "split": "fault"},
        {"mmu": "tdp", "split": "lazy", "kernel": "6.1"},
        {"mmu": "legacy_tdp", "split": "lazy"},
        {"mmu": "shadow", "split": "lazy"},
    ]
    memory = {"backing": "2M", "mem_per_vcpu": "4MiB"}
    return [make_config(memory | machine | {"vcpus": vcpus}) for vcpus in vcpu_counts for machine in machines]


def other_host(base: Profile, generator: np.random.Generator) -> Profile:
    """A host whose costs differ from the base profile's, all together and each by itself."""
    together = generator.normal(0, HOSTS_DIFFER / 2)
    values = dict(base.values)
    for parameter in BELIEFS:
        faster = 0.0 if parameter in RATIOS or "remote" in parameter else together
        values[parameter] *= math.exp(faster + generator.normal(0, HOSTS_DIFFER))
    return profile_of("other", values, "other")


def study(noise: float, runs: int, seed: int, configs: Sequence[Config]) -> Outcome:
    """Fit a profile to so many noisy runs of a host, and hold its intervals against fresh ones of all `configs`."""
    generator = np.random.default_rng([seed, runs, round(1000 * noise)])
    base = load_profile("cascade-lake-2022")
    host = other_host(base, generator)
    chosen = {configs[index] for index in generator.permutation(len(configs))[:runs]}
    true = {config: _times(config, host) for config in configs}
    fit = fit_profile(
        [_noisy(one, noise, generator) for config in configs if config in chosen for one in true[config]],
        base,
        near(base),
    )
    counted = {True: [0, 0], False: [0, 0]}
    undetermined, errors = 0, []
    for config in configs:
        rows = {(row["phase"], row["iteration"]): row for row in simulate(config, costs_of(config, fit.profile))}
        for timing in true[config]:
            row = rows[timing.phase, timing.iteration]
            if not is_determined(config, fit.profile, row):
                undetermined += 1
                continue
            low, high = interval(config, fit.profile, row)
            assert low is not None
            assert high is not None
            counted[config in chosen][0] += low <= _noisy(timing, noise, generator).seconds <= high
            counted[config in chosen][1] += 1
            if config not in chosen:
                errors.append(abs(row["seconds"] / timing.seconds - 1))
    inside, all_ = counted[True]
    other_inside, other_all = counted[False]
    return Outcome(
        (inside, all_), (other_inside, other_all), undetermined, statistics.median(errors) if errors else 0.0
    )


def _times(config: Config, profile: Profile) -> list[Measured]:
    """What the host takes for the phases that are modelled, and that the test times."""
    rows = simulate(config, costs_of(config, profile))
    timings = [
        Measured(config, row["phase"], row["iteration"], row["seconds"], row["phase"]) for row in rows if row["seconds"]
    ]
    return [timing for timing in timings if is_modelled(timing) and timing.phase != "after_disable"]


def _noisy(timing: Measured, noise: float, generator: np.random.Generator) -> Measured:
    seconds = timing.seconds * math.exp(generator.normal(0, noise))
    return Measured(timing.config, timing.phase, timing.iteration, seconds, timing.table)


def _percent(outcomes: Sequence[tuple[int, int]]) -> str:
    inside, all_ = (sum(column) for column in zip(*outcomes, strict=True))
    return f"{inside / all_:.0%} of {all_}" if all_ else "-"


def main(seeds: int) -> None:
    """Print a line for each noise and number of runs."""
    print("| noise | runs | inside, fitted runs | inside, other runs | not determined | median error, other runs |")
    print("|---:|---:|---:|---:|---:|---:|")
    for noise in NOISES:
        for runs in RUNS:
            found = [study(noise, runs, seed, typical_runs()) for seed in range(seeds)]
            cells = [
                f"{noise:.0%}",
                str(runs),
                _percent([one.fitted for one in found]),
                _percent([one.others for one in found]),
            ]
            cells += [
                f"{sum(one.undetermined for one in found) / seeds:.0f}",
                f"{statistics.median(one.median_error for one in found):.1%}",
            ]
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
