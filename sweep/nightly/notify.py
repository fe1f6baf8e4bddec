"""Telling a chat or a robot about a night: one JSON object by POST, in the form that Slack's webhooks take.

The address is a secret, so it is never printed; and a message that cannot be delivered never changes a verdict.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from sweep.errors import QueryError

TRIES: Final = 4
SECONDS: Final = 10.0
_AGAIN: Final = (429, 500, 502, 503, 504)


def check_url(url: str | None) -> None:
    """Raise QueryError unless it is an address that a message can be posted to."""
    parts = urlsplit("https://none" if url is None else url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise QueryError("--notify: not an address to post to; allowed: http://... or https://...")


def notify(url: str, message: Mapping[str, Any], wait: float = 1.0) -> str | None:
    """Post the message, trying again where that may help; returns why it failed, or None.

    `wait` is the pause after the second try in seconds; it doubles each time, and Retry-After is obeyed.
    """
    import urllib3

    retries = urllib3.Retry(
        TRIES - 1, allowed_methods=None, status_forcelist=_AGAIN, backoff_factor=wait, raise_on_status=False
    )
    try:
        answer = urllib3.PoolManager().request("POST", url, json=dict(message), retries=retries, timeout=SECONDS)
    except urllib3.exceptions.HTTPError as error:
        return f"not delivered: {type(error).__name__}"
    return None if answer.status < 300 else f"not delivered: the receiver answers {answer.status}"
