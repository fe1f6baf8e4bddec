"""What names a config: a hash of everything that decides its results."""

from __future__ import annotations

import functools
import hashlib
import json
from typing import Any, Final

from core.config import CONCURRENT_FIELDS, FIELDS, LIVE_FIELDS, Config, config_record
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
def _unasked(live: bool, concurrent: bool, labelled: bool, refilled: bool) -> frozenset[str]:
    """The fields that such a config does not ask for."""
    unasked = [*(() if live else LIVE_FIELDS), *(() if concurrent else CONCURRENT_FIELDS)]
    return frozenset((*unasked, *(() if labelled else ("label",)), *(() if refilled else ("split_cache",))))


def _unasked_by(config: Config) -> frozenset[str]:
    return _unasked(config.engine == "live", config.concurrent, bool(config.label), config.split_cache == "refilled")


def identifying_record(config: Config) -> dict[str, Any]:
    """The fields that name a config: those of the live engine and of running vCPUs only there, a label and the split
    cache of the thread's first series if there is one.

    They came later: without them results keep the names that they had before.
    """
    unasked = _unasked_by(config)
    return {name: value for name, value in config_record(config).items() if name not in unasked}
