"""The exceptions of this package that a user can meet."""

from __future__ import annotations


class ClusterError(Exception):
    """The cluster cannot be used. The message is one line: which address, what is wrong, what to do."""


class BrokenClusterError(ClusterError):
    """The cluster went away in the middle of the work: what is done is kept. The message is one line: what happened."""


def first_line(error: BaseException) -> str:
    """The first line of an error's message that says something, else its class."""
    lines = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line), type(error).__name__)
