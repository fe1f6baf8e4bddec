"""What a user of core can cause or put right, each with the sentence that tells what to do about it."""

from __future__ import annotations


class ConfigError(ValueError):
    """A value that cannot be simulated. The message names the field, the value and what is allowed."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field


class ProfileError(ValueError):
    """A cost profile that cannot be used. The message names the file, the key and what is allowed."""


class CacheError(Exception):
    """There is no folder where compiled code can be kept safely. The message is one line: which, and what to do."""
