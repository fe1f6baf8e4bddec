"""The one exception of the live engine that a user can meet."""

from __future__ import annotations


class LiveError(RuntimeError):
    """A live run that cannot start or did not end well. The message is one line: who failed, and of what."""
