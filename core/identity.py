"""What names a config: a hash of everything that decides its results."""

from __future__ import annotations

import functools
import hashlib
import json
from typing import Any, Final

from core.config import CONCURRENT_FIELDS, LIVE_FIELDS, Config, config_record
from core.costs.profile import load_profile

ENGINE_VERSION: Final = "3"
"""Version of the semantics: raised when the same config may give other rows, so that old results are not reused."""


@functools.lru_cache(maxsize=1024)  # every row of a config asks for it
def config_id(config: Config) -> str:
    """A stable name of the config, its profile's content and the engine's semantics: 16 hexadecimal digits."""
    profile = load_profile(config.profile)
    text = json.dumps([identifying_record(config), profile.digest, ENGINE_VERSION], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def identifying_record(config: Config) -> dict[str, Any]:
    """The fields that name a config: those of the live engine and of running vCPUs only there, a label if there is one.

    They came later: without them results keep the names that they had before.
    """
    record = config_record(config)
    unasked = set() if config.engine == "live" else set(LIVE_FIELDS)
    unasked |= set() if config.concurrent else set(CONCURRENT_FIELDS)
    unasked |= set() if config.label else {"label"}
    return {name: record[name] for name in record if name not in unasked}
