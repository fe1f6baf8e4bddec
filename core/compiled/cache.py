"""Where compiled kernels are kept: one folder per content of core's sources, so that a stale kernel is never loaded.

numba caches by file and does not notice when a function imported from another file changes. A folder named by a hash
of everything the kernels are made from removes that trap, and lets the kernels live in several files. Importing this
module sets the folder; it must come before the first kernel is defined, which `core.compiled.kernel` sees to.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Final


def cache_folder() -> Path:
    """The folder of this source tree's kernels: in the user's cache folder, or a temporary one if that is read-only."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "splitsweep"
    if not _writable(base):
        base = Path(tempfile.gettempdir()) / f"splitsweep-{os.getuid()}"
    return base / _source_hash()


def is_warm(engine: str = "sim") -> bool:
    """Whether all kernels of an engine are compiled and stored, so that any number of processes may load them."""
    return _warm_mark(engine).exists()


def mark_warm(engine: str = "sim") -> None:
    """Note that every kernel of an engine is stored."""
    CACHE_FOLDER.mkdir(parents=True, exist_ok=True)
    _warm_mark(engine).touch()


def _warm_mark(engine: str) -> Path:
    return CACHE_FOLDER / f"warm-{engine}"


def _source_hash() -> str:
    digest = hashlib.sha256(f"{sys.version} {version('numba')} {version('numpy')}".encode())
    root = Path(__file__).parents[1]
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    # numba's own file names hash the path: two checkouts share the parent folder without mixing
    digest.update(str(root).encode())
    return digest.hexdigest()[:16]


def _writable(folder: Path) -> bool:
    while not folder.exists():
        folder = folder.parent
    return os.access(folder, os.W_OK)


CACHE_FOLDER: Final = cache_folder()
