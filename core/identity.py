"""What names a config: a hash of everything that decides its results."""

from __future__ import annotations

import functools
import hashlib
import json
from typing import Any, Final

from core.config import CONCURRENT_FIELDS, FIELDS, LIVE_FIELDS, OPTIONAL_FIELDS, Config, config_record
from core.costs.profile import load_profile

ENGINE_VERSION: Final = "4"
"""Version of the semantics: raised when the same config may give other rows, so that old results are not reused."""

_SORTED_FIELDS: Final = tuple(sorted(FIELDS))


@functools.lru_cache(maxsize=1024)  # every row of a config asks for it
def config_id(config: Config) -> str:
    """A stable name of the config, its profile's content and the engine's semantics: 16 hexadecimal digits."""
    profile = load_profile(config.profile)
    unasked = _unasked_by(config)
    record = ", ".join(_json_member(name, getattr(config, name)) for name in _SORTED_FIELDS if name not in unasked)
    text = f'[{{{record}}}, "{profile.digest}", "{ENGINE_VERSION}"]'  # as json.dumps of the three writes it
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@functools.lru_cache(maxsize=65536)  # a sweep's fields have few values, and its plan asks for each of its configs
def _json_member(name: str, value: object) -> str:
    return f'"{name}": {json.dumps(value)}'


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
