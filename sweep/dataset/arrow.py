"""pyarrow made light: without pandas, and with memory that goes back when it is done with.

It imports pandas when it makes its first array, only to recognise what comes from there. That took a third of a second
of every worker's start, of a run's, and of `status`. Nothing of ours comes from pandas.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

import pyarrow as pa


class _NoPandas:
    """A finder that says pandas is not installed."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name == "pandas":
            raise ModuleNotFoundError(name=name)
        return None


def spare_memory() -> None:
    """Let pyarrow take memory from the C library: its own allocator keeps 50 MiB more of a query, and saves no time."""
    pa.set_memory_pool(pa.system_memory_pool())


def spare_pandas() -> None:
    """Let pyarrow look for pandas now, and find none. Who wants pandas later gets it, pyarrow's `to_pandas` too."""
    if "pandas" in sys.modules:
        return
    sys.meta_path.insert(0, _NoPandas)
    try:
        pa.scalar(0)
    finally:
        sys.meta_path.remove(_NoPandas)
