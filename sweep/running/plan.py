"""What is still to be run, cut into batches. Pure: neither disk nor cluster.

A batch is what one worker takes at a time: up to a second of work, so that handing it over (1.5 ms) and writing its
shard (10 ms) do not show, and so that a kill loses little. Expensive configs go alone and first, the small change last,
in ever smaller batches: that keeps the end short, when workers run out of batches at different times.

A batch of live configs needs a CPU for each vCPU, so its configs have equally many. The widest batches come first: one
that needs many CPUs at once would otherwise wait behind all the others.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from typing import Any, Final, overload

from core.config import Config
from core.identity import config_id
from core.run import estimated_seconds
from core.sim.memory_need import needed_bytes
from sweep.spec.configs import Configs

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


@dataclass(frozen=True, slots=True, eq=False)
class Batches(Sequence[Batch]):
    """Batches that are made when they are asked for: the tasks of a million configs are never held together."""

    configs: Sequence[Config]
    names: Any  # the config_ids as an array of 64-bit numbers
    seconds: Any  # an array
    places: Any  # of the configs to run, batch by batch, as an array
    starts: Any  # of the batches in it, and where they end
    ends: Any
    cpus: Any

    def __len__(self) -> int:
        return len(self.starts)

    @overload
    def __getitem__(self, place: int) -> Batch: ...

    @overload
    def __getitem__(self, place: slice) -> tuple[Batch, ...]: ...

    def __getitem__(self, place: int | slice) -> Batch | tuple[Batch, ...]:
        if isinstance(place, slice):
            return tuple(self[single] for single in range(*place.indices(len(self))))
        places = self.places[self.starts[place] : self.ends[place]].tolist()
        tasks = [Task(id_text(self.names[at]), self.configs[at], float(self.seconds[at])) for at in places]
        return make_batch(tasks, int(self.cpus[place]))


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """The batches, those of most CPUs first and then the most expensive, and what they add up to."""

    batches: Sequence[Batch]
    names: Any  # the config_ids to run, as an array of 64-bit numbers
    already_done: int
    estimated_seconds: float  # of one core
    largest: Config | None  # the simulation that needs the most memory
    examples: tuple[Config, ...]  # one of each way to run that is needed; of live ones each, up to seed and repeat

    @property
    def configs_to_run(self) -> int:
        return len(self.names)

    def count(self, finished: Set[str]) -> int:
        """How many of the configs to run are among those with these config_ids."""
        return sum(id_text(name) in finished for name in self.names.tolist())


def id_text(name: int) -> str:
    """The config_id that a number stands for."""
    return f"{name:016x}"


def make_plan(configs: Sequence[Config], finished: Set[str], *, share_cpus: bool = False) -> Plan:
    """Batches that cover each config once, without those whose config_id is in `finished`.

    With `share_cpus` a batch of live configs asks for one CPU, as one of simulations does.
    """
    import numpy as np

    names = configs.names if isinstance(configs, Configs) else _numbers(map(config_id, configs))
    _, first = np.unique(names, return_index=True)
    is_done = np.isin(names, _numbers(finished))
    to_run = np.zeros(len(names), bool)
    to_run[first] = True
    already_done = int(np.count_nonzero(to_run & is_done))
    to_run &= ~is_done
    if not to_run.any():
        return Plan((), names[to_run], already_done, 0.0, None, ())

    seconds = np.zeros(len(names))
    together = np.zeros(len(names), np.uint16)  # which may share a batch: equal numbers
    engines: dict[tuple[str, int], int] = {}
    examples: dict[object, Config] = {}
    largest: Config | None = None
    for config, places in configs.alike() if isinstance(configs, Configs) else _each(configs):
        if already_done and not to_run[places].any():
            continue
        seconds[places] = estimated_seconds(config)
        if config.engine == "sim" and (largest is None or needed_bytes(config) > needed_bytes(largest)):
            largest = config
        together[places] = engines.setdefault((config.engine, _cpus(config)), len(engines))
        examples.setdefault((config.engine, config.concurrent, config if config.engine == "live" else None), config)

    left = np.flatnonzero(to_run)
    costly_first = left[np.lexsort((names[left], -seconds[left]))]
    parts: list[Any] = []
    ends: list[Any] = []
    cpus_of: list[Any] = []
    before = 0
    for (engine, cpus), number in engines.items():
        part = costly_first[together[costly_first] == number]
        ends.append(before + _ends_of_batches(seconds[part].tolist(), MOST_CONFIGS.get(engine, len(part))))
        cpus_of.append(np.full(len(ends[-1]), 1 if share_cpus else cpus))
        parts.append(part)
        before += len(part)
    by_batch, all_ends, all_cpus = np.concatenate(parts), np.concatenate(ends), np.concatenate(cpus_of)
    starts = np.concatenate([[0], all_ends[:-1]])
    firsts = by_batch[starts]
    # Repeats of real KVM are interleaved: all configs once, then all once more, so that drift hits all of them.
    repeats = np.zeros(len(starts)) if not _measures_kvm(examples.values()) else _repeats(configs, firsts)
    order = np.lexsort((names[firsts], -seconds[firsts], repeats, -all_cpus))
    core_seconds = np.add.reduceat(seconds[by_batch], starts) * all_cpus
    return Plan(
        batches=Batches(configs, names, seconds, by_batch, starts[order], all_ends[order], all_cpus[order]),
        names=names[costly_first],
        already_done=already_done,
        estimated_seconds=float(core_seconds.sum()),
        examples=tuple(examples.values()),
        largest=largest,
    )


def _measures_kvm(configs: Iterable[Config]) -> bool:
    return any(config.engine == "kvm" for config in configs)


def _repeats(configs: Sequence[Config], places: Any) -> Any:
    """The number of the repeat of those that measure KVM, 0 of the others."""
    import numpy as np

    chosen = (configs[place] for place in places.tolist())
    return np.array([config.repeat if config.engine == "kvm" else 0 for config in chosen])


def _numbers(config_ids: Iterable[str]) -> Any:
    """config_ids as an array of 64-bit numbers."""
    import numpy as np

    return np.frombuffer(bytes.fromhex("".join(config_ids)), ">u8").astype(np.uint64)


def _each(configs: Sequence[Config]) -> Iterator[tuple[Config, Any]]:
    import numpy as np

    return ((config, np.array([place])) for place, config in enumerate(configs))


def make_batch(tasks: Sequence[Task], cpus: int) -> Batch:
    """The batch of these tasks."""
    names = ",".join(sorted(task.config_id for task in tasks))
    digest = hashlib.sha256(names.encode()).hexdigest()[:16]
    return Batch(digest, tuple(tasks), sum(task.estimated_seconds for task in tasks), cpus)


def split_batch(batch: Batch) -> list[Batch]:
    """A batch for each of its tasks."""
    return [make_batch([task], batch.cpus) for task in batch.tasks]


def _cpus(config: Config) -> int:
    """How many CPUs a run of the config keeps busy."""
    return config.busy_cpus if config.engine == "live" else 1


def _ends_of_batches(seconds: Sequence[float], most: int) -> Any:
    """Where batches end among configs that take so many seconds each, the costly first, as an array.

    Up to `most` neighbours that together cost about what a batch may; alone what costs that much by itself.
    """
    import numpy as np

    ends = array("q")
    start, total, rest = 0, 0.0, sum(seconds)
    for end, cost in enumerate(seconds):
        limit = max(LAST_BATCH_SECONDS, min(BATCH_SECONDS, rest * PART_OF_REST))
        if end - start == most or (end > start and total + cost > limit):
            ends.append(end)
            rest -= total
            start, total = end, 0.0
        total += cost
    ends.append(len(seconds))
    return np.array(ends)
