"""Credentials in a URI, as in s3://KEY:SECRET@bucket/folder: known to whoever opens it, and neither shown nor stored.

A mark stands for each secret from the moment the URI comes in (the command line, `load`, `run`); only
sweep/dataset/store.py puts it back, when it opens the place. So messages, commands to go on with, stored specs, rows,
reports and histories have nothing to hide.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote

from sweep.errors import StoreError

MARK: Final = "***"

# Up to the last @ where there is a colon: secrets have slashes in them, and people forget to quote those.
_USER: Final = re.compile(r"(?P<before>[A-Za-z][A-Za-z0-9+.-]*://)(?P<secret>[^\s?&]*:[^\s?&]*|[^\s/?&@]+)(?=@)")
_PARAMETER: Final = re.compile(
    r"(?P<before>[?&][\w.-]*(?:key|secret|token|password|passwd|signature|sig|credential)[\w.-]*=)(?P<secret>[^&\s]+)",
    re.IGNORECASE,
)
_MARKS: Final = re.compile(r"\*{3}\d*")
_OPEN: Final = ("anonymous", "")  # no secrets

_secrets: dict[str, str] = {}
"""By mark, those of this process."""


def hide_secrets(uri: str) -> str:
    """The URI with a mark instead of each secret. A word that is no URI stays as it is."""
    if "://" not in uri:
        return uri
    for pattern in (_USER, _PARAMETER):
        uri = pattern.sub(_hidden, uri)
    return uri


def with_secrets(uri: str) -> str:
    """The URI as it came in; StoreError if it has a mark that stands for nothing here."""
    for mark in _MARKS.findall(uri):
        if mark not in _secrets:
            raise StoreError(
                f"results {uri}: {mark} stands for credentials that were not kept; write them there, or leave them out "
                "and set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (for other stores what their clients read)"
            )
    return _MARKS.sub(lambda match: _secrets[match[0]], uri)


def without_secrets(text: str) -> str:
    """Any text, such as a client's error message, with marks where it repeats a secret."""
    for mark, secret in _secrets.items():
        for form in {secret, unquote(secret), *unquote(secret).split(":")}:
            if len(form) > 3:
                text = text.replace(form, mark)
    return text


def has_secrets(uri: str) -> bool:
    """Whether there is a mark or a secret in it."""
    return MARK in hide_secrets(uri)


def _hidden(match: re.Match[str]) -> str:
    secret = match["secret"]
    if secret in _OPEN or _MARKS.fullmatch(secret):
        return match[0]
    known = next((mark for mark, other in _secrets.items() if other == secret), None)
    mark = known or (MARK if not _secrets else f"{MARK}{len(_secrets) + 1}")
    _secrets[mark] = secret
    return match["before"] + mark
