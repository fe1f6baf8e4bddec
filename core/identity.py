"""What names a config: a hash of everything that decides its results."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any, Final

from core.config import CONCURRENT_FIELDS, FIELDS, LIVE_FIELDS, OPTIONAL_FIELDS, Config, config_record
from core.costs.profile import load_profile

ENGINE_VERSION: Final = "5"
"""Version of the semantics: raised when the same config may give other rows, so that old results are not reused."""


@functools.lru_cache(maxsize=1024)  # every row of a config asks for it
def config_id(config: Config) -> str:
    """A stable name of the config, its profile's content and the engine's semantics: 16 hexadecimal digits."""
    names, values = _asked(_unasked_by(config))
    return _digest(_text(map(_json_member, names, values(config)), config.profile)).hex()


def config_ids(config: Config, fields: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """The names of configs that differ from `config` in these fields only, one for each row of values: 8 bytes each.

    The fields must be of those that every config asks for.
    """
    names, values = _asked(_unasked_by(config))
    members = map(_json_member, names, values(config))
    if not fields:
        return _digest(_text(members, config.profile)) * sum(1 for _ in rows)
    marked = ("\0" if name in fields else member for name, member in zip(names, members, strict=True))
    text = _text(marked, config.profile)  # no JSON has a zero in it
    pattern = text.replace("%", "%%").replace("\0", "%s")
    in_order = sorted(range(len(fields)), key=lambda place: fields[place])
    return b"".join(
        [_digest(pattern % tuple([_json_member(fields[place], row[place]) for place in in_order])) for row in rows]
    )


def _text(members: Iterable[str], profile: str) -> str:
    """What is digested, as json.dumps of a record, the profile's digest and the engine's version would write it."""
    return f'[{{{", ".join(members)}}}, "{load_profile(profile).digest}", "{ENGINE_VERSION}"]'


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()[:8]


@functools.lru_cache(maxsize=65536)  # a sweep's fields have few values, and its plan asks for each of its configs
def _json_member(name: str, value: object) -> str:
    return f'"{name}": {json.dumps(value)}'


@functools.cache
def _asked(unasked: frozenset[str]) -> tuple[tuple[str, ...], attrgetter[tuple[object, ...]]]:
    """The other fields in their order, and what takes their values from a config."""
    names = tuple(sorted(FIELDS.keys() - unasked))
    return names, attrgetter(*names)


@functools.cache
def _unasked(live: bool, concurrent: bool, left_alone: tuple[str, ...]) -> frozenset[str]:
    """The fields that such a config does not ask for."""
    return frozenset((*left_alone, *(() if live else LIVE_FIELDS), *(() if concurrent else CONCURRENT_FIELDS)))


def _unasked_by(config: Config) -> frozenset[str]:
    left_alone = tuple(name for name, before in OPTIONAL_FIELDS.items() if getattr(config, name) == before)
    return _unasked(config.engine == "live", config.concurrent, left_alone)


def identifying_record(config: Config) -> dict[str, Any]:
    """The fields that name a config: those of the live engine and of running vCPUs only there, those that came later
    only where they differ from what all configs had before, so that results keep the names they had.
    """
    unasked = _unasked_by(config)
    return {name: value for name, value in config_record(config).items() if name not in unasked}
