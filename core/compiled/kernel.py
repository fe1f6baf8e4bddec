"""The one way a function of the engine is compiled: numba, without Python objects, cached across processes.

Kernels own no arrays, they work on those they are given, so reference counting is off (`_nrt`): with it every call
would pay for atomic counts of a dozen arrays. `inlined` is for small steps of the hot loop.

With NUMBA_DISABLE_JIT=1 every kernel runs as the plain Python it is written in; a test compares the two bit for bit.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import core.compiled.cache as kernel_cache

os.environ["NUMBA_CACHE_DIR"] = str(kernel_cache.CACHE_FOLDER)

import numba

from core.compiled.dispatcher import Kernel

if "scipy.linalg" not in sys.modules:
    # numba looks whether SciPy brings it a BLAS, which kernels do not use: a third of the time to load them
    sys.modules["scipy.linalg"] = None  # type: ignore[assignment]
    import numba.np.arraymath

    del sys.modules["scipy.linalg"]

_CONFIG: Any = numba.config
_CONFIG.CACHE_DIR = str(kernel_cache.CACHE_FOLDER)  # numba may be imported already

_OPTIONS: dict[str, Any] = {"nopython": True, "nogil": True, "error_model": "numpy", "_nrt": False}


def kernel(function: Callable[..., Any]) -> Any:
    """Compile `function` when it is first called: by itself if from Python, as a part of the kernel that calls it."""
    return function if _CONFIG.DISABLE_JIT else Kernel(function, targetoptions=_OPTIONS)


def inlined(function: Callable[..., Any]) -> Any:
    """The same, and kernels that call it get a copy at every call."""
    return function if _CONFIG.DISABLE_JIT else Kernel(function, targetoptions=_OPTIONS | {"forceinline": True})
