"""The history: a folder or URI in which every night has a place of its own.

    HISTORY/nights/2026-11-25T013000Z/           the dataset of the night: spec.toml, runs/, phases/
                                     confirm/    the dataset of what was run again, if anything was
                                     levels.parquet  the level of every config and phase, for looking back quickly
                                     summary.md, verdict.json, junit.xml, report.html
                                     night.json  what the night was; written last, so a night that has none is no night

Names are times in UTC, so they sort. Nothing is ever changed in a night that is done.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from sweep.errors import QueryError, StoreError

if TYPE_CHECKING:
    from sweep.dataset.store import Store

NIGHT_FILE: Final = "night.json"
LEVELS_FILE: Final = "levels.parquet"

_NAME: Final = "%Y-%m-%dT%H%M%SZ"


@dataclass(frozen=True, slots=True)
class Night:
    """One night: when, of what, where, and what came of it."""

    name: str
    spec: str
    started_at: str  # UTC, ISO 8601
    splitsweep_revision: str | None
    revision: str | None  # of what is tested
    labels: tuple[str, ...]
    hosts: tuple[str, ...]  # that measured; empty where everything was simulated
    kernels: tuple[str, ...]
    wanted: int  # configs, repeats counted
    measured: int
    verdict: str = ""
    baseline: str | None = None
    alarms: tuple[str, ...] = ()  # the metrics in which something was said to be worse


def night_name(started: datetime) -> str:
    """The name of a night that starts then."""
    return started.astimezone(UTC).strftime(_NAME)


def night_location(history: str, name: str) -> str:
    """Where the dataset of a night is, in the words in which the history was named; a URI's query stays at its end."""
    place, question, query = history.partition("?")
    return f"{place.rstrip('/')}/nights/{name}{question}{query}"


def read_nights(history: str) -> list[Night]:
    """The nights that are done, the earliest first; none where there is no history yet."""
    from pyarrow import fs

    from sweep.dataset.store import open_store

    store = open_store(history)
    selector = fs.FileSelector(f"{store.path}/nights", allow_not_found=True)
    try:
        places = [info for info in store.filesystem.get_file_info(selector) if info.type == fs.FileType.Directory]
    except OSError as error:
        raise StoreError(f"history {history}: cannot be read: {str(error).splitlines()[0]}") from None
    found = (_read_night(store, info.base_name) for info in sorted(places, key=lambda info: info.base_name))
    return [night for night in found if night is not None]


def existing_nights(history: str) -> list[Night]:
    """The same; QueryError where there is none."""
    nights = read_nights(history)
    if not nights:
        raise QueryError(f"{history}: no nights there; `splitsweep nightly SPEC --history {history}` makes the first")
    return nights


def nights_of(nights: Sequence[Night], spec: str | None, host: str | None) -> list[Night]:
    """The nights of one sweep on one host; those of the latest night unless named. QueryError if there are none."""
    wanted = spec or nights[-1].spec
    of_sweep = [night for night in nights if night.spec == wanted]
    if not of_sweep:
        raise QueryError(f"--spec: no night of {wanted!r}; allowed: {_listed(night.spec for night in nights)}")
    hosts = of_sweep[-1].hosts if host is None else (host,)
    found = [night for night in of_sweep if night.hosts == hosts]
    if not found:
        measured = _listed(", ".join(night.hosts) for night in of_sweep)
        raise QueryError(f"--host: no night of {wanted!r} on {host!r}; allowed: {measured or 'none, all is simulated'}")
    return found


def _listed(words: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(word for word in words if word))


def write_night(history: str, night: Night) -> None:
    """Make a night part of the history: the last thing that is written of it."""
    write_file(history, night.name, NIGHT_FILE, json.dumps(dataclasses.asdict(night), indent=1).encode())


def write_file(history: str, night: str, name: str, content: bytes) -> None:
    """Write a file of a night, whole or not at all."""
    from sweep.dataset.store import open_store

    store = open_store(night_location(history, night))
    path = f"{store.path}/{name}"
    try:
        store.filesystem.create_dir(store.path, recursive=True)
        hidden = f"{store.path}/.{name}.tmp" if store.is_local else path
        with store.filesystem.open_output_stream(hidden) as stream:
            stream.write(content)
        if store.is_local:
            os.replace(hidden, path)
    except OSError as error:
        raise StoreError(f"history {history}: {name} cannot be written: {str(error).splitlines()[0]}") from None


def read_file(history: str, night: str, name: str) -> bytes | None:
    """The content of a file of a night; None if there is no such file."""
    from sweep.dataset.store import open_store

    store = open_store(night_location(history, night))
    try:
        with store.filesystem.open_input_stream(f"{store.path}/{name}") as stream:
            return bytes(stream.read())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"history {history}: {night}/{name} cannot be read: {str(error).splitlines()[0]}") from None


def _read_night(store: Store, name: str) -> Night | None:
    content = read_file(store.location, name, NIGHT_FILE)
    if content is None:
        return None
    try:
        values: dict[str, Any] = json.loads(content)
        known = {field.name for field in dataclasses.fields(Night)}
        night: Any = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
        return Night(**{key: value for key, value in night.items() if key in known})
    except (ValueError, TypeError, AttributeError):
        raise QueryError(f"{store.location}: the {NIGHT_FILE} of {name} is damaged; delete that night") from None
