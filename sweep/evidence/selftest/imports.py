"""Runs of the real dirty_log_perf_test made part of a dataset: same rows as a simulation's, with engine = kvm.

The engine `kvm` marks a measurement; no user can run it, so core.config refuses it and it is set here, on the rows.

A run's config_id is a hash of its fields, its timings, and how often the same fields and timings stood in the file
before: the same file imported again gives the same ids, which are there already and are left alone. `repeat` is not
part of it; it counts the different runs of a config in the order in which they came to the dataset. The profile has no
effect on a measurement; it keeps its default, so that measurements and predictions differ in `engine` alone.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from core.config import FIELDS, Config, config_record, config_text, make_config
from core.errors import ConfigError
from core.identity import identifying_record
from core.rows import Row
from core.sizes import format_size
from sweep.evidence.measurements import MeasurementError
from sweep.evidence.selftest.text import TimedRun, Timing

if TYPE_CHECKING:
    from sweep.dataset.store import Store

ENGINE: Final = "kvm"
ENGINE_VERSION: Final = "dirty_log_perf_test"


@dataclass(frozen=True, slots=True)
class ConfiguredRun:
    """A run with its config (repeat = 0 until it is stored) and its id."""

    config_id: str
    config: Config
    run: TimedRun


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of one run."""

    config: Config
    run: TimedRun
    is_new: bool
    same_timings_as: str = ""  # the other config, if the dataset holds these timings under one


@dataclass(slots=True)
class _Held:
    """The measurements of a dataset by config_id and by their timings, and the next free repeat of each config."""

    configs: dict[str, Config]
    by_timings: dict[frozenset[Timing], Config]  # with repeat = 0
    next_repeat: Counter[Config]


def configured_runs(runs: Iterable[TimedRun], words: Mapping[str, object]) -> list[ConfiguredRun]:
    """The runs of one file, with what the words of the command line say about all of them."""
    seen: Counter[str] = Counter()
    configured = []
    for run in runs:
        config = run_config(run, words)
        times = [[timing.phase, timing.iteration, timing.seconds] for timing in run.timings]
        text = json.dumps([identifying_record(config) | {"engine": ENGINE}, times], sort_keys=True)
        name = hashlib.sha256(f"{text} {seen[text]}".encode()).hexdigest()[:16]
        seen[text] += 1
        configured.append(ConfiguredRun(name, config, run))
    return configured


def run_config(run: TimedRun, words: Mapping[str, object]) -> Config:
    """The config of a run: what its header says, else its command line and `words`, else the defaults.

    Raises MeasurementError naming the place of the run if these contradict each other or what the test printed.
    """
    try:
        return make_config(_with_printed(run, _stated(run, words)))
    except (ConfigError, MeasurementError) as error:
        raise MeasurementError(f"{run.place}: {error}") from None


def _stated(run: TimedRun, words: Mapping[str, object]) -> dict[str, object]:
    for name, value in words.items():
        if name not in run.header:
            _check_agrees(name, value, run.command.fields.get(name, value), "the test's command line")
    stated = {**words, **run.command.fields, **run.header}
    if run.command.unclear_source and not {"backing"} & (words.keys() | run.header.keys()):
        raise MeasurementError(f"backing: -s {run.command.unclear_source} does not tell it; add backing=4K, 2M or 1G")
    return stated


def _with_printed(run: TimedRun, stated: dict[str, object]) -> dict[str, object]:
    """The stated fields and those that the output itself tells."""
    printed: dict[str, object] = {"iterations": run.iterations, "manual_protect": run.has_clear}
    if run.seed is not None:
        printed["seed"] = run.seed
    for name, value in printed.items():
        _check_agrees(name, stated.get(name, value), value, "what the test printed")
    fields = stated | printed
    return fields if run.memory is None else fields | _memory_fields(run.memory, fields)


def _memory_fields(memory: int, fields: Mapping[str, object]) -> dict[str, object]:
    """The size of the test memory is vcpus x mem_per_vcpu: where one of them is not stated, it follows."""
    vcpus, each = (fields.get(name) for name in ("vcpus", "mem_per_vcpu"))
    if vcpus is None and isinstance(each, int) and memory % each == 0:
        return {"vcpus": memory // each}
    count = vcpus if isinstance(vcpus, int) else Config().vcpus
    if each is None and memory % count == 0:
        return {"mem_per_vcpu": memory // count}
    if not isinstance(each, int) or count * each != memory:
        size = format_size(each) if isinstance(each, int) else "mem_per_vcpu"
        raise MeasurementError(
            f"vcpus: the test memory is {format_size(memory)}, which is not {count} x {size}; "
            "correct vcpus or mem_per_vcpu"
        )
    return {}


def _check_agrees(name: str, given: object, found: object, source: str) -> None:
    if given != found:
        raise MeasurementError(f"{name}: {_text(given)} is given, but {source} says {_text(found)}")


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def import_runs(store: Store, runs: Sequence[ConfiguredRun]) -> list[Imported]:
    """Add the runs that the dataset does not hold yet, in one shard, and tell what became of each."""
    from sweep.dataset.store import write_shard
    from sweep.dataset.upkeep import only_writer, repair

    with only_writer(store):
        repair(store)
        held = _held(store)
        before = dict(held.by_timings)
        outcomes: list[Imported] = []
        new: dict[str, Imported] = {}
        for item in runs:
            is_new = item.config_id not in held.configs
            if is_new:
                _hold(held, item.config_id, item.config, item.run.timings)
            same = before.get(frozenset(item.run.timings)) if is_new else None
            outcome = Imported(held.configs[item.config_id], item.run, is_new, config_text(same) if same else "")
            outcomes.append(outcome)
            if is_new:
                new[item.config_id] = outcome
        if new:
            run_rows = [_run_row(name, outcome.config) for name, outcome in new.items()]
            phase_rows = [row for name, outcome in new.items() for row in _phase_rows(name, outcome)]
            write_shard(store, hashlib.sha256(",".join(new).encode()).hexdigest()[:16], run_rows, phase_rows)
        return outcomes


def _hold(held: _Held, name: str, config: Config, timings: Iterable[Timing]) -> None:
    """Take a measurement up, under the next free repeat of its config."""
    kind = dataclasses.replace(config, repeat=0)
    held.configs[name] = dataclasses.replace(config, repeat=held.next_repeat[kind])
    held.next_repeat[kind] += 1
    held.by_timings.setdefault(frozenset(timings), kind)


def _held(store: Store) -> _Held:
    """The measurements that lie in the dataset."""
    from sweep.dataset.query import select
    from sweep.dataset.views import has_results, open_dataset

    held = _Held({}, {}, Counter())
    if not has_results(store):
        return held
    columns = ", ".join(["config_id", *FIELDS, "phase", "iteration", "seconds"])
    with open_dataset(store.location) as dataset:
        rows = select(dataset, f"SELECT {columns} FROM phases WHERE engine = '{ENGINE}' ORDER BY ALL").to_pylist()
    timings: dict[str, list[Timing]] = {}
    for row in rows:
        timings.setdefault(row["config_id"], []).append(Timing(row["phase"], row["iteration"], row["seconds"]))
        held.configs.setdefault(row["config_id"], _config_of(row))
    for name, config in held.configs.items():
        kind = dataclasses.replace(config, repeat=0)
        held.next_repeat[kind] = max(held.next_repeat[kind], config.repeat + 1)
        held.by_timings.setdefault(frozenset(timings[name]), kind)
    return held


def _config_of(row: Mapping[str, Any]) -> Config:
    """The config of a measurement's row, without the engine that no user may name."""
    return make_config({name: row[name] for name in FIELDS if name != "engine"})


def _fields(name: str, config: Config) -> Row:
    return {"config_id": name, **config_record(config), "engine": ENGINE}


def _run_row(name: str, config: Config) -> Row:
    return _fields(name, config) | {"engine_version": ENGINE_VERSION, "status": "ok", "attempts": 1}


def _phase_rows(name: str, outcome: Imported) -> list[Row]:
    fields = _fields(name, outcome.config)
    return [fields | dataclasses.asdict(timing) for timing in outcome.run.timings]
