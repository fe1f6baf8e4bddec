"""Running the configs of a night, and running suspects again."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from core.config import Config
from sweep.comparison.compare import SIMULATED

if TYPE_CHECKING:
    from sweep.running.worker import Engine

REPEATS: Final = 10
"""Of a measured config: with 10% noise enough for a family of configs to show 10%, the first night."""


def night_configs(configs: Sequence[Config], repeats: int | None) -> list[Config]:
    """Each measured config as often as wanted: REPEATS times, unless told otherwise or the spec has its own repeats.

    Simulations are exact, so once is enough for them.
    """
    measured = [config for config in configs if config.engine != SIMULATED]
    if repeats is None and any(config.repeat for config in measured):
        return list(configs)
    count = repeats or REPEATS
    found: dict[Config, None] = {}
    for config in configs:
        for repeat in range(1 if config.engine == SIMULATED else count):
            found[dataclasses.replace(config, repeat=repeat)] = None
    return list(found)


def again(configs: Sequence[Config]) -> list[Config]:
    """The same configs as often as they were run, as repeats that nobody has run yet."""
    beyond = max(config.repeat for config in configs) + 1
    return [dataclasses.replace(config, repeat=config.repeat + beyond) for config in configs]


def measure(
    configs: Sequence[Config], location: str, spec_text: str, address: str | None, engine: Engine
) -> int | None:
    """Run configs into a dataset of their own, with progress on stderr. Returns the signal that ended it, if any."""
    from sweep.dataset.place import write_spec
    from sweep.dataset.store import open_store
    from sweep.running.execute import execute
    from sweep.running.place import choice_text, chosen_address
    from sweep.running.plan import make_plan
    from sweep.running.progress import shown_progress

    plan = make_plan(configs, set())
    store = open_store(location)
    place = address or chosen_address(plan.estimated_seconds)
    print(f"{location}: {plan.configs_to_run} runs", file=sys.stderr)
    if address is None:
        print(f"splitsweep: {choice_text(place, plan.estimated_seconds)}", file=sys.stderr)
    with shown_progress(plan.configs_to_run) as report:
        outcome = execute(plan, store, place, report, engine, before_work=lambda: write_spec(store, spec_text))
    return outcome.interrupted_by
