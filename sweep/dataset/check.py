"""`splitsweep check`: a dataset looked at as a whole, every byte of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from sweep.dataset.listing import list_shards
from sweep.dataset.schema import PHASES, RUNS, SCHEMAS
from sweep.dataset.shard import column_names, is_former_version, is_sound, read_columns, read_every_page, runs_copy
from sweep.dataset.store import Store, listed, read_file, reason

RUN_AGAIN: Final = "`splitsweep run` puts it aside and runs its configs again"
TIDY: Final = "harmless; `splitsweep run` or `splitsweep compact` tidies it up"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as a finished run leaves it."""

    what: str
    cure: str
    is_damage: bool  # or only untidy: every reader copes with it


def check(store: Store) -> Iterator[Finding]:
    """Everything that is wrong with the dataset, and what to do about it; nothing if all is well."""
    listing = list_shards(store)
    for name in listing.cut_off:
        yield Finding(f"shard {name}: phases file is cut off", RUN_AGAIN, is_damage=True)
    holders: Counter[str] = Counter()
    for name in listing.counting:
        try:
            files = {table: read_file(store, store.file(table, name)) for table in (RUNS, PHASES)}
            yield from _of_shard(name, files, holders)
        except (OSError, pa.ArrowException) as error:
            yield Finding(f"shard {name}: cannot be read: {reason(error)}", RUN_AGAIN, is_damage=True)
    doubled = sum(count > 1 for count in holders.values())
    if doubled:
        yield Finding(f"{doubled:,} configs stand in several shards, readers see the best row", TIDY, is_damage=False)
    yield from _untidy("shards whose runs file is still to come", listing.without_runs)
    yield from _untidy("runs files that an interrupted deletion left", listing.without_phases)
    yield from _untidy("shards whose rows stand in a merged one", listing.superseded)
    hidden = [name for table in (RUNS, PHASES) for name in listed(store, table) if name.endswith(".tmp")]
    yield from _untidy("temporary files", hidden)
    aside = len(listed(store, "damaged"))
    if aside:
        yield Finding(
            f"{aside} damaged files put aside in damaged/", "look into them, then delete them", is_damage=False
        )


def _untidy(what: str, names: Any) -> Iterator[Finding]:
    if names:
        yield Finding(f"{len(names):,} {what}, like {names[0]}", TIDY, is_damage=False)


def _of_shard(name: str, files: dict[str, Any], holders: Counter[str]) -> Iterator[Finding]:
    """What is wrong with one shard; its configs are counted in `holders`."""
    if not is_sound(name, files[RUNS], files[PHASES]):
        copy = runs_copy(files[PHASES])
        of_runs = copy is not None and is_sound(name, copy, files[PHASES])
        file, cure = ("runs", "`splitsweep run` writes it again") if of_runs else ("phases", RUN_AGAIN)
        yield Finding(f"shard {name}: {file} file is not what was written", cure, is_damage=True)
        return
    for table, file in files.items():
        yield from _of_schema(name, table, column_names(file))
    runs = read_columns(files[RUNS], ["config_id", "status"])
    read_every_page(files[PHASES])
    phases = set(read_columns(files[PHASES], ["config_id"])["config_id"])
    done = {config for config, status in zip(runs["config_id"], runs["status"], strict=True) if status == "ok"}
    holders.update(runs["config_id"])
    for configs, what in ((done - phases, "done and without phases"), (phases - done, "with phases and not done")):
        if configs:
            counted = f"{len(configs):,} configs {what}, like {min(configs)}"
            yield Finding(f"shard {name}: {counted}", RUN_AGAIN, is_damage=True)


def _of_schema(name: str, table: str, columns: list[str]) -> Iterator[Finding]:
    """Columns that are none of ours. A former version lacks some, and is read all the same."""
    unknown = [column for column in columns if column not in SCHEMAS[table].names]
    if unknown and not is_former_version(name):
        what = f"shard {name}: {table}: columns that this version does not know: {', '.join(unknown)}"
        yield Finding(what, "read it with the version that wrote it", is_damage=False)
