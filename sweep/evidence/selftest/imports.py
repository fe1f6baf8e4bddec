"""Runs of the real dirty_log_perf_test made part of a dataset: same rows as a simulation's, with engine = kvm.

A run's config_id is a hash of its fields, host, kernel and timings, and of how often all that stood in the file before:
the same file imported again gives the same ids, which are there already and are left alone. `repeat` is not part of it;
it counts the different runs of a config on a host and kernel in the order in which they came to the dataset. The
profile has no effect on a measurement; it keeps its default, so that measurements and predictions differ in `engine`
alone.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from core.config import FIELDS, Config, config_record, config_text, make_config
from core.identity import identifying_record
from core.kvm import ENGINE_VERSION
from core.kvm.output import Timing
from core.rows import Row
from sweep.evidence.selftest.configs import ConfiguredRun

if TYPE_CHECKING:
    from sweep.dataset.store import Store

ENGINE: Final = "kvm"

TOO_DIFFERENT: Final = 1.5
"""Repeats whose times differ by more than this factor are hardly runs of one config: a user is warned."""


class Kind(NamedTuple):
    """What repeats of each other have in common."""

    config: Config  # with repeat = 0
    host: str | None
    kernel_release: str | None


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of one run."""

    config: Config
    run: ConfiguredRun
    is_new: bool
    same_timings_as: str = ""  # the other config, if the dataset holds these timings under one


@dataclass(slots=True)
class _Held:
    """The measurements of a dataset by config_id and by their timings, and the next free repeat of each kind."""

    configs: dict[str, Config]
    by_timings: dict[frozenset[Timing], Config]  # with repeat = 0
    next_repeat: Counter[Kind]
    timings: dict[Kind, list[frozenset[Timing]]]


def import_runs(store: Store, runs: Sequence[ConfiguredRun]) -> tuple[list[Imported], list[str]]:
    """Add the runs that the dataset does not hold yet, in one shard; returns what became of each, and warnings."""
    from sweep.dataset.store import write_shard
    from sweep.dataset.upkeep import only_writer, repair

    with only_writer(store):
        repair(store)
        held = _held(store)
        before = dict(held.by_timings)
        outcomes: list[Imported] = []
        new: dict[str, Imported] = {}
        for name, run in _named(runs):
            is_new = name not in held.configs
            if is_new:
                _hold(held, name, _kind(run), run.timings)
            same = before.get(frozenset(run.timings)) if is_new else None
            outcome = Imported(held.configs[name], run, is_new, config_text(same) if same else "")
            outcomes.append(outcome)
            if is_new:
                new[name] = outcome
        if new:
            run_rows = [_run_row(name, outcome) for name, outcome in new.items()]
            phase_rows = [row for name, outcome in new.items() for row in _phase_rows(name, outcome)]
            write_shard(store, run_rows, phase_rows)
        return outcomes, list(_warnings(held, {_kind(outcome.run) for outcome in new.values()}))


def _named(runs: Iterable[ConfiguredRun]) -> Iterator[tuple[str, ConfiguredRun]]:
    """The runs of one import with their config_ids; a file that is named twice is one file."""
    seen: Counter[tuple[str, str]] = Counter()
    names: dict[str, str] = {}
    for run in runs:
        if run.place not in names:
            times = [[timing.phase, timing.iteration, timing.seconds] for timing in run.timings]
            fields = identifying_record(run.config) | {"engine": ENGINE}
            text = json.dumps([fields, run.host, run.kernel_release, times], sort_keys=True)
            names[run.place] = hashlib.sha256(f"{text} {seen[text, run.source]}".encode()).hexdigest()[:16]
            seen[text, run.source] += 1
        yield names[run.place], run


def _kind(run: ConfiguredRun) -> Kind:
    return Kind(dataclasses.replace(run.config, repeat=0), run.host, run.kernel_release)


def _hold(held: _Held, name: str, kind: Kind, timings: Iterable[Timing]) -> None:
    """Take a measurement up, under the next free repeat of its kind."""
    held.configs[name] = dataclasses.replace(kind.config, repeat=held.next_repeat[kind])
    held.next_repeat[kind] += 1
    held.by_timings.setdefault(frozenset(timings), kind.config)
    held.timings.setdefault(kind, []).append(frozenset(timings))


def _held(store: Store) -> _Held:
    """The measurements that lie in the dataset."""
    from sweep.dataset.query import select
    from sweep.dataset.views import has_results, open_dataset

    held = _Held({}, {}, Counter(), {})
    if not has_results(store):
        return held
    columns = ", ".join(["config_id", *FIELDS, "host", "kernel_release", "phase", "iteration", "seconds"])
    with open_dataset(store.location) as dataset:
        rows = select(dataset, f"SELECT {columns} FROM phases WHERE engine = '{ENGINE}' ORDER BY ALL").to_pylist()
    timings: dict[str, list[Timing]] = {}
    kinds: dict[str, Kind] = {}
    for row in rows:
        timings.setdefault(row["config_id"], []).append(Timing(row["phase"], row["iteration"], row["seconds"]))
        if row["config_id"] not in held.configs:
            config = _config_of(row)
            held.configs[row["config_id"]] = config
            kinds[row["config_id"]] = Kind(dataclasses.replace(config, repeat=0), row["host"], row["kernel_release"])
    for name, kind in kinds.items():
        held.next_repeat[kind] = max(held.next_repeat[kind], held.configs[name].repeat + 1)
        held.by_timings.setdefault(frozenset(timings[name]), kind.config)
        held.timings.setdefault(kind, []).append(frozenset(timings[name]))
    return held


def _config_of(row: Mapping[str, Any]) -> Config:
    """The config of a measurement's row, without the engine: it is that of the run it was read from."""
    return make_config({name: row[name] for name in FIELDS if name != "engine" and row[name] is not None})


def _run_row(name: str, outcome: Imported) -> Row:
    run = outcome.run
    origin = {name: getattr(run, name) for name in ("host", "kernel_release", "source", "started_at")}
    return _fields(name, outcome.config) | origin | {"engine_version": ENGINE_VERSION, "status": "ok", "attempts": 1}


def _fields(name: str, config: Config) -> Row:
    return {"config_id": name, **config_record(config), "engine": ENGINE}


def _phase_rows(name: str, outcome: Imported) -> list[Row]:
    fields = _fields(name, outcome.config)
    return [fields | dataclasses.asdict(timing) for timing in outcome.run.timings]


def _warnings(held: _Held, kinds: Iterable[Kind]) -> Iterator[str]:
    """A sentence for each kind whose repeats differ too much, about the phase where they do so most."""
    for kind in sorted(kinds, key=str):
        times: dict[str, list[float]] = {}
        for timing in (timing for repeat in held.timings[kind] for timing in repeat):
            if timing.seconds > 0:
                times.setdefault(f"{timing.phase} {timing.iteration or ''}".strip(), []).append(timing.seconds)
        factors = {phase: max(seconds) / min(seconds) for phase, seconds in times.items()}
        worst = max(factors, key=factors.__getitem__, default=None)
        if worst is not None and factors[worst] > TOO_DIFFERENT:
            yield (
                f"the {len(held.timings[kind])} repeats of {config_text(kind.config)} differ by a factor of "
                f"{factors[worst]:.3g} in {worst} ({min(times[worst]):.6g}s to {max(times[worst]):.6g}s); "
                "if they are not one configuration, tell them apart with --label or a line `# label=WORD`"
            )
