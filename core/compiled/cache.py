"""Where compiled kernels are kept: one folder per content of core's sources, so that a stale kernel is never loaded.

The folder is this user's alone: whoever can write the code in it decides what runs.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Final

from core.errors import CacheError


def cache_folder() -> Path:
    """The folder of this source tree's kernels: in the user's cache folder, or a temporary one if that is no use.

    CacheError if neither is this user's alone.
    """
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "splitsweep"
    temporary = Path(tempfile.gettempdir()) / f"splitsweep-{os.getuid()}"
    for base in (home, temporary):
        if _is_private(base):
            return base / _source_hash()
    raise CacheError(
        f"compiled code cannot be kept in {home} or {temporary}: each must be a folder that this user owns and "
        "nobody else can write; set XDG_CACHE_HOME to such a folder"
    )


def is_warm(kind: str = "sim") -> bool:
    """Whether the kernels of that kind (core.run.warm_up) are compiled and stored, for any number of processes."""
    return _warm_mark(kind).exists()


def mark_warm(kind: str = "sim") -> None:
    """Note that every kernel of that kind is stored."""
    CACHE_FOLDER.mkdir(parents=True, exist_ok=True)
    _warm_mark(kind).touch()


def _warm_mark(kind: str) -> Path:
    return CACHE_FOLDER / f"warm-{kind}"


def _source_hash() -> str:
    digest = hashlib.sha256(f"{sys.version} {version('numba')} {version('numpy')}".encode())
    root = Path(__file__).parents[1]
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _is_private(folder: Path) -> bool:
    """Whether the folder, made if it is not there, is this user's, and nobody else can write it."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return False
    mine = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022
    return mine and os.access(folder, os.W_OK)


CACHE_FOLDER: Final = cache_folder()
