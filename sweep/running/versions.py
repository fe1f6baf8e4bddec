"""What a node of a cluster runs, held against what the driver runs: two versions in one dataset would be nobody's."""

from __future__ import annotations

import functools
import hashlib
import platform
import socket
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypeVar

from sweep.errors import SweepError

B = TypeVar("B")
R = TypeVar("R")


@functools.cache
def own_versions() -> str:
    """splitsweep, with a digest of its source, Python and numba, as one text."""
    try:
        release = version("splitsweep")
    except PackageNotFoundError:
        release = "of a checkout"
    source = f"splitsweep {release} (source {_source_digest()})"
    return f"{source}, Python {platform.python_version()}, numba {version('numba')}"


def on_same_versions(versions: str, function: Callable[[B, int], R], batch: B, attempt: int) -> R:
    """What the function returns; SweepError on a node that runs anything else than `versions`."""
    if own_versions() != versions:
        raise SweepError(
            f"node {socket.gethostname()} runs {own_versions()}; the driver runs {versions}; "
            "install the same on every node"
        )
    return function(batch, attempt)


def _source_digest() -> str:
    digest = hashlib.sha256()
    root = Path(__file__).parents[2]
    for package in ("cluster", "core", "sweep"):
        for path in sorted((root / package).rglob("*.py")):
            digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:8]
