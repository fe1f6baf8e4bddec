"""Kernels that are compiled as parts of those that call them, and optimised once.

numba makes a library of every function it compiles: it optimises the function together with copies of all those that
it calls, turns them into machine code, wraps them for calls from Python, and stores them. In a tree of calls as deep as
a simulation's, that does the same work over and over: it took two thirds of the time to compile. So here a kernel that
another kernel calls is typed and lowered only. It is optimised as a part of the kernel that Python calls, which alone
is turned into machine code and stored. The code is no slower for it.

A kernel that Python calls, too, is compiled by numba as usual for that. What is used of numba's compiler to do this is
not promised by its documentation: pyproject.toml names the versions that were tried.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any, Final

import numba
from numba import types
from numba.core import event
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler
from numba.core.compiler_machinery import register_pass
from numba.core.registry import CPUDispatcher
from numba.core.typed_passes import NativeLowering

_COMPILE: Final = "numba:compile"


class Kernel(CPUDispatcher):
    """A function that kernels call as a part of their own, and Python as a function compiled by itself."""

    def __init__(self, function: Any, locals: Any = None, targetoptions: Any = None) -> None:  # noqa: A002 (numba's)
        super().__init__(function, locals, targetoptions, pipeline_class=_PartCompiler)
        _defined.append(self)

    def __call__(self, *arguments: Any) -> Any:
        return self.standalone(*arguments)

    @cached_property
    def standalone(self) -> Any:
        """The function as Python calls it, stored from one process to the next."""
        options = {name: value for name, value in self.targetoptions.items() if name not in ("nopython", "forceinline")}
        return numba.njit(cache=True, **options)(self.py_func)

    def get_call_template(self, arguments: Any, keywords: Any) -> Any:
        """One version for all integers: a literal one is a constant to the optimiser anyway."""
        return super().get_call_template(tuple(types.unliteral(argument) for argument in arguments), keywords)

    def add_overload(self, result: Any) -> None:
        """Keep a compiled version for kernels; there is none for Python."""
        self.overloads[tuple(result.signature.args)] = result


_defined: Final[list[Kernel]] = []


class _Part(JITCodeLibrary):
    """Code to link into that of a caller: not optimised, and no machine code."""

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True


@register_pass(mutates_CFG=True, analysis_only=False)
class _PartLowering(NativeLowering):
    """Lowers a kernel into a `_Part`. Callers find it by its descriptor: there is no function that Python can call."""

    _name = "part_lowering"

    def run_pass(self, state: Any) -> bool:
        state.flags.no_compile = state.flags.no_cpython_wrapper = state.flags.no_cfunc_wrapper = True
        state.library = _Part(state.targetctx.codegen(), state.func_id.func_qualname)
        super().run_pass(state)
        descriptor = state["cr"].fndesc
        state["cr"] = state["cr"]._replace(cfunc=descriptor)
        state.targetctx.insert_user_function(descriptor, descriptor, [state.library])
        return True


class _PartCompiler(Compiler):
    """numba's own passes, but for the lowering."""

    def define_pipelines(self) -> Any:
        (pipeline,) = super().define_pipelines()
        pipeline.passes = [(_PartLowering if step is NativeLowering else step, why) for step, why in pipeline.passes]
        pipeline.finalize()
        return [pipeline]


class _Listener(event.Listener):
    """Reports each kernel when it is compiled, once."""

    def __init__(self, report: Callable[[int, int], None]) -> None:
        self._report = report
        self._compiled: set[Kernel] = set()

    def on_start(self, occurrence: Any) -> None:
        pass

    def on_end(self, occurrence: Any) -> None:
        dispatcher = occurrence.data["dispatcher"]
        if isinstance(dispatcher, Kernel) and dispatcher not in self._compiled:
            self._compiled.add(dispatcher)
            self._report(len(self._compiled), len(_defined))


@contextmanager
def reported(report: Callable[[int, int], None]) -> Iterator[None]:
    """Call `report(compiled, defined)` after each kernel that is compiled meanwhile: how many are, and how many exist.

    Not all need be compiled, and the last step, after all of them, takes a quarter of the time.
    """
    with event.install_listener(_COMPILE, _Listener(report)):
        yield
