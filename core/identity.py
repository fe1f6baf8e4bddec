"""What names a config: a hash of everything that decides its results."""

from __future__ import annotations

import functools
import hashlib
import json
from typing import Any, Final

from core.config import LIVE_FIELDS, Config, config_record
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
    """The fields that name a config: those of the live engine only where it runs, a label only where there is one.

    They came later: without them results keep the names that they had before.
    """
    record = config_record(config)
    if config.engine != "live":
        record = {name: record[name] for name in record if name not in LIVE_FIELDS}
    if not config.label:
        del record["label"]
    return record
