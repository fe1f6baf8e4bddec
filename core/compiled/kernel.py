"""The one way a function of the engine is compiled: numba, without Python objects, cached across processes.

Kernels own no arrays, they work on those they are given, so reference counting is off (`_nrt`): with it every call
would pay for atomic counts of a dozen arrays. `inlined` is for small steps of the hot loop.

With NUMBA_DISABLE_JIT=1 every kernel runs as the plain Python it is written in; a test compares the two bit for bit.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import core.compiled.cache as kernel_cache

os.environ["NUMBA_CACHE_DIR"] = str(kernel_cache.CACHE_FOLDER)

import numba

if "scipy.linalg" not in sys.modules:
    # numba looks whether SciPy brings it a BLAS, which kernels do not use: a third of the time to load them
    sys.modules["scipy.linalg"] = None  # type: ignore[assignment]
    import numba.np.arraymath

    del sys.modules["scipy.linalg"]

setattr(numba.config, "CACHE_DIR", str(kernel_cache.CACHE_FOLDER))  # noqa: B010  (numba may be imported already)

_OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy", "_nrt": False}

kernel = numba.njit(**_OPTIONS)
inlined = numba.njit(forceinline=True, **_OPTIONS)
