"""What is still to be run, cut into batches. Pure: neither disk nor cluster.

A batch is what one worker takes at a time: up to a second of work, so that handing it over (1.5 ms) and writing its
shard (10 ms) do not show, and so that a kill loses little. Expensive configs go alone and first, the small change last,
in ever smaller batches: that keeps the end short, when workers run out of batches at different times.

A batch of live configs needs a CPU for each vCPU, so its configs have equally many. The widest batches come first: one
that needs many CPUs at once would otherwise wait behind all the others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from typing import Final

from core.config import Config
from core.identity import config_id
from core.run import estimated_seconds

BATCH_SECONDS: Final = 1.0
LAST_BATCH_SECONDS: Final = 0.2
PART_OF_REST: Final = 1 / 8  # a batch takes so much of what is left, within these bounds
LIVE_BATCH_CONFIGS: Final = 4  # at most: the time of a live run is only guessed, and a kill loses all of it
MOST_CONFIGS: Final = {"live": LIVE_BATCH_CONFIGS, "kvm": 1}


@dataclass(frozen=True, slots=True)
class Task:
    """One config to run, with its name and its guessed cost."""

    config_id: str
    config: Config
    estimated_seconds: float


@dataclass(frozen=True, slots=True)
class Batch:
    """Configs that one worker runs and writes as one shard.

    The name follows from the configs: the same batch again replaces its shard, another batch never does.
    """

    name: str
    tasks: tuple[Task, ...]
    estimated_seconds: float
    cpus: int  # which it keeps busy

    @property
    def core_seconds(self) -> float:
        return self.estimated_seconds * self.cpus


@dataclass(frozen=True, slots=True)
class Plan:
    """The batches, those of most CPUs first and then the most expensive, and what they add up to."""

    batches: tuple[Batch, ...]
    configs_to_run: int
    already_done: int
    estimated_seconds: float  # of one core


def make_plan(configs: Sequence[Config], finished: Set[str], *, share_cpus: bool = False) -> Plan:
    """Batches that cover each config once, without those whose config_id is in `finished`.

    With `share_cpus` a batch of live configs asks for one CPU, as one of simulations does.
    """
    tasks: dict[str, Task] = {}
    done: set[str] = set()
    for config in configs:
        name = config_id(config)
        if name in finished:
            done.add(name)
        elif name not in tasks:
            tasks[name] = Task(name, config, estimated_seconds(config))
    costly_first = sorted(tasks.values(), key=lambda task: (-task.estimated_seconds, task.config_id))
    alike: dict[tuple[str, int], list[Task]] = {}
    for task in costly_first:
        alike.setdefault((task.config.engine, _cpus(task.config)), []).append(task)
    batches = [
        make_batch(group, 1 if share_cpus else cpus)
        for (engine, cpus), tasks_alike in alike.items()
        for group in _groups(tasks_alike, MOST_CONFIGS.get(engine, len(tasks_alike)))
    ]
    batches.sort(key=lambda batch: (-batch.cpus, _round(batch), -batch.tasks[0].estimated_seconds))
    seconds = sum(batch.core_seconds for batch in batches)
    return Plan(tuple(batches), configs_to_run=len(tasks), already_done=len(done), estimated_seconds=seconds)


def make_batch(tasks: Sequence[Task], cpus: int) -> Batch:
    """The batch of these tasks."""
    names = ",".join(sorted(task.config_id for task in tasks))
    digest = hashlib.sha256(names.encode()).hexdigest()[:16]
    return Batch(digest, tuple(tasks), sum(task.estimated_seconds for task in tasks), cpus)


def split_batch(batch: Batch) -> list[Batch]:
    """A batch for each of its tasks."""
    return [make_batch([task], batch.cpus) for task in batch.tasks]


def _round(batch: Batch) -> int:
    """Repeats of real KVM are interleaved: all configs once, then all once more, so that drift hits all of them."""
    first = batch.tasks[0].config
    return first.repeat if first.engine == "kvm" else 0


def _cpus(config: Config) -> int:
    """How many CPUs a run of the config keeps busy."""
    return config.vcpus if config.engine == "live" else 1


def _groups(costly_first: Sequence[Task], most: int) -> Iterator[list[Task]]:
    """Up to `most` neighbours that together cost about what a batch may; alone what costs that much by itself."""
    group: list[Task] = []
    seconds = 0.0
    rest = sum(task.estimated_seconds for task in costly_first)
    for task in costly_first:
        limit = max(LAST_BATCH_SECONDS, min(BATCH_SECONDS, rest * PART_OF_REST))
        if len(group) == most or (group and seconds + task.estimated_seconds > limit):
            yield group
            rest -= seconds
            group, seconds = [], 0.0
        group.append(task)
        seconds += task.estimated_seconds
    if group:
        yield group
