"""What is still to be run, cut into batches. Pure: neither disk nor cluster.

A batch is what one worker takes at a time: up to a second of work, so that handing it over (1.5 ms) and writing its
shard (10 ms) do not show, and so that a kill loses little. Expensive configs go alone and first, the small change last,
in ever smaller batches: that keeps the end short, when workers run out of batches at different times.

A batch of live configs needs a CPU for each vCPU, so its configs have equally many. The widest batches come first: one
that needs many CPUs at once would otherwise wait behind all the others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from typing import Any, Final, overload

from core.config import Config
from core.identity import config_id
from core.run import estimated_seconds
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


@dataclass(frozen=True, slots=True)
class _Cut:
    """Where the configs of a batch stand."""

    places: Any  # an array
    cpus: int
    repeat: int  # of real KVM
    dearest: float  # seconds


@dataclass(frozen=True, slots=True, eq=False)
class Batches(Sequence[Batch]):
    """Batches that are made when they are asked for: the tasks of a million configs are never held together."""

    configs: Sequence[Config]
    names: Any  # the config_ids as an array of 64-bit numbers
    seconds: Any  # an array
    cuts: Sequence[_Cut]

    def __len__(self) -> int:
        return len(self.cuts)

    @overload
    def __getitem__(self, place: int) -> Batch: ...

    @overload
    def __getitem__(self, place: slice) -> tuple[Batch, ...]: ...

    def __getitem__(self, place: int | slice) -> Batch | tuple[Batch, ...]:
        if isinstance(place, slice):
            return tuple(self[single] for single in range(*place.indices(len(self))))
        cut = self.cuts[place]
        places = cut.places.tolist()
        tasks = [Task(id_text(self.names[at]), self.configs[at], float(self.seconds[at])) for at in places]
        return make_batch(tasks, cut.cpus)


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """The batches, those of most CPUs first and then the most expensive, and what they add up to."""

    batches: Sequence[Batch]
    names: Any  # the config_ids to run, as an array of 64-bit numbers
    already_done: int
    estimated_seconds: float  # of one core
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
        return Plan((), names[to_run], already_done, 0.0, ())

    seconds = np.zeros(len(names))
    together = np.zeros(len(names), np.uint16)  # which may share a batch: equal numbers
    engines: dict[tuple[str, int], int] = {}
    examples: dict[object, Config] = {}
    for config, places in configs.alike() if isinstance(configs, Configs) else _each(configs):
        if already_done and not to_run[places].any():
            continue
        seconds[places] = estimated_seconds(config)
        together[places] = engines.setdefault((config.engine, _cpus(config)), len(engines))
        examples.setdefault((config.engine, config.concurrent, config if config.engine == "live" else None), config)

    left = np.flatnonzero(to_run)
    costly_first = left[np.lexsort((names[left], -seconds[left]))]
    cuts: list[_Cut] = []
    for (engine, cpus), number in engines.items():
        of_engine = costly_first[together[costly_first] == number]
        for part in _groups(of_engine, seconds[of_engine].tolist(), MOST_CONFIGS.get(engine, len(of_engine))):
            # Repeats of real KVM are interleaved: all configs once, then all once more, so that drift hits all of them.
            repeat = configs[int(part[0])].repeat if engine == "kvm" else 0
            cuts.append(_Cut(part, 1 if share_cpus else cpus, repeat, float(seconds[part[0]])))
    cuts.sort(key=lambda cut: (-cut.cpus, cut.repeat, -cut.dearest, int(names[cut.places[0]])))
    return Plan(
        batches=Batches(configs, names, seconds, cuts),
        names=names[costly_first],
        already_done=already_done,
        estimated_seconds=sum(float(seconds[cut.places].sum()) * cut.cpus for cut in cuts),
        examples=tuple(examples.values()),
    )


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
    return config.vcpus if config.engine == "live" else 1


def _groups(places: Any, seconds: Sequence[float], most: int) -> Iterator[Any]:
    """Up to `most` neighbours that together cost about what a batch may; alone what costs that much by itself.

    Of the places of configs, the costly first, and of the seconds that each takes.
    """
    start = 0
    total, rest = 0.0, sum(seconds)
    for end, cost in enumerate(seconds):
        limit = max(LAST_BATCH_SECONDS, min(BATCH_SECONDS, rest * PART_OF_REST))
        if end - start == most or (end > start and total + cost > limit):
            yield places[start:end]
            rest -= total
            start, total = end, 0.0
        total += cost
    if len(seconds):
        yield places[start:]
