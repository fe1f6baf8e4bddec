"""The one way a function of the engine is compiled: numba, without Python objects, stored for later processes.

Kernels own no arrays, they work on those they are given. `inlined` is for small steps of the hot loop.

A kernel that Python calls is compiled, together with all that it calls, when no machine code for such arguments is
stored. Where it is, the code is loaded and numba is not even imported: that takes a second, most of what a small sweep
takes.

With NUMBA_DISABLE_JIT=1 every kernel runs as the plain Python it is written in; a test compares the two bit for bit.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial, update_wrapper
from typing import Any, Final

from core.compiled.arguments import Words, words_of
from core.compiled.stored import Code, compiling, load_code, store_code

_IS_COMPILED: Final = os.environ.get("NUMBA_DISABLE_JIT", "0") == "0"


class Kernel:
    """A function that kernels call as a part of their own, and Python as a function compiled by itself."""

    def __init__(self, function: Callable[..., Any], *, force_inline: bool) -> None:
        self.py_func = function
        self.force_inline = force_inline
        self._codes: dict[tuple[Any, ...], Code] = {}
        update_wrapper(self, function)
        KERNELS.append(self)

    def __call__(self, *arguments: Any) -> Any:
        """Call it from Python: TypeError for arguments that no kernel takes."""
        return self._call(words_of(arguments), arguments)

    @property
    def _numba_type_(self) -> Any:
        """What numba takes it for when another kernel names it."""
        from core.compiled.lowering.parts import part_of

        return part_of(self.py_func, self.force_inline)._numba_type_

    def call_bound(self, words: Words, first: tuple[Any, ...], *rest: Any) -> Any:
        """Call it with arguments of which the first were turned into words before."""
        return self._call(words + words_of(rest), first + rest)

    def _call(self, words: Words, arguments: tuple[Any, ...]) -> Any:
        code = self._codes.get(words.kinds)
        if code is None:
            code = self._codes[words.kinds] = self._code(words.kinds, arguments)
        return code(words)

    def _code(self, kinds: tuple[Any, ...], arguments: tuple[Any, ...]) -> Code:
        code = load_code(self.py_func, kinds)
        if code is None:
            from core.compiled.lowering.parts import machine_code

            with compiling(self.py_func, kinds):
                code = load_code(self.py_func, kinds)  # another process may have compiled it meanwhile
                if code is None:
                    store_code(self.py_func, kinds, *machine_code(self.py_func, self.force_inline, arguments))
                    code = load_code(self.py_func, kinds)
        assert code is not None
        return code


KERNELS: Final[list[Kernel]] = []
"""All that are defined."""


def kernel(function: Callable[..., Any]) -> Any:
    """Compile `function` when it is first called: by itself if from Python, as a part of the kernel that calls it."""
    return Kernel(function, force_inline=False) if _IS_COMPILED else function


def inlined(function: Callable[..., Any]) -> Any:
    """The same, and kernels that call it get a copy at every call."""
    return Kernel(function, force_inline=True) if _IS_COMPILED else function


def bound(function: Callable[..., Any], *first: Any) -> Callable[..., Any]:
    """A kernel with its first arguments given, which are looked at once and not at every call."""
    if isinstance(function, Kernel):
        return partial(function.call_bound, words_of(first), first)
    return partial(function, *first)


def reported(report: Callable[[int, int], None]) -> AbstractContextManager[None]:
    """Call `report(compiled, defined)` after each kernel that is compiled meanwhile: how many are, and how many exist.

    Not all need be compiled, and the last step, after all of them, takes a quarter of the time.
    """
    from core.compiled.lowering.parts import reported as each_reported

    return each_reported(lambda compiled: report(compiled, len(KERNELS)))
