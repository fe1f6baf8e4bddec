"""Kernels as numba compiles them: as parts of those that call them, optimised once and as a whole.

numba makes a library of every function it compiles: it optimises the function together with copies of all those that
it calls, turns them into machine code, and wraps them for calls from Python. In a tree of calls as deep as a
simulation's, that does the same work over and over: it took two thirds of the time to compile. So here a kernel is
typed and lowered only. What Python calls is a small function around it: linked with all the parts, that is optimised
and turned into machine code. The code is no slower for it.

What is used of numba's compiler to do this is not promised by its documentation: pyproject.toml names the versions
that were tried.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, Final

if "scipy.linalg" not in sys.modules:
    # numba looks whether SciPy brings it a BLAS, which kernels do not use: a third of the time to import it
    sys.modules["scipy.linalg"] = None  # type: ignore[assignment]
    import numba.np.arraymath

    del sys.modules["scipy.linalg"]

import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils, event
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler
from numba.core.compiler_lock import global_compiler_lock
from numba.core.compiler_machinery import register_pass
from numba.core.registry import CPUDispatcher
from numba.core.typed_passes import NativeLowering
from numba.extending import overload

import core.compiled.lowering.atomics
import core.compiled.lowering.instructions  # noqa: F401
from core.compiled.alternatives import COMPILED_AS

# Kernels own no arrays, so reference counting is off (`_nrt`): with it every call would pay for atomic counts of a
# dozen arrays.
_OPTIONS: Final[dict[str, Any]] = {"nopython": True, "nogil": True, "error_model": "numpy", "_nrt": False}

_COMPILE: Final = "numba:compile"


class _Part(CPUDispatcher):
    """A kernel as numba knows it. Nobody calls it from Python."""

    def __init__(self, function: Any, locals: Any = None, targetoptions: Any = None) -> None:  # noqa: A002 (numba's)
        super().__init__(function, locals, targetoptions, pipeline_class=_PartCompiler)

    def get_call_template(self, arguments: Any, keywords: Any) -> Any:
        """One version for all integers: a literal one is a constant to the optimiser anyway."""
        return super().get_call_template(tuple(types.unliteral(argument) for argument in arguments), keywords)

    def add_overload(self, result: Any) -> None:
        """Keep a compiled version for kernels; there is none for Python."""
        self.overloads[tuple(result.signature.args)] = result


class _PartLibrary(JITCodeLibrary):
    """Code to link into that of a caller: not optimised, and no machine code."""

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True


class _WholeLibrary(JITCodeLibrary):
    """Code of a kernel with all its parts, optimised; its machine code is stored, and loaded from there."""

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True

    def machine_code(self) -> bytes:
        code: bytes = self._codegen._tm.emit_object(self._final_module)
        return code


@register_pass(mutates_CFG=True, analysis_only=False)
class _PartLowering(NativeLowering):
    """Lowers a kernel into a `_PartLibrary`. Callers find it by its descriptor."""

    _name = "part_lowering"

    def run_pass(self, state: Any) -> bool:
        state.flags.no_compile = state.flags.no_cpython_wrapper = state.flags.no_cfunc_wrapper = True
        state.library = _PartLibrary(state.targetctx.codegen(), state.func_id.func_qualname)
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


@cache
def part_of(function: Callable[..., Any], force_inline: bool) -> _Part:
    """The kernel as numba knows it."""
    while COMPILED_AS:
        plain, choose = COMPILED_AS.pop()
        overload(plain, inline="always", strict=False)(choose)
    return _Part(function, targetoptions=_OPTIONS | ({"forceinline": True} if force_inline else {}))


def machine_code(
    function: Callable[..., Any], force_inline: bool, arguments: Sequence[Any]
) -> tuple[str, Sequence[str] | str, bytes]:
    """Compile for such arguments: the name of the function, the kinds of its results (or of its result), the code.

    The function takes the addresses of two blocks of 64-bit words, the arguments (core/compiled/arguments.py) and the
    results, and returns 0 unless the kernel raised.
    """
    part = part_of(function, force_inline)
    signature = tuple(types.unliteral(numba.typeof(argument)) for argument in arguments)
    part.compile(signature)
    compiled: Any = part.overloads[signature]
    context, name = compiled.target_context, f"splitsweep.{function.__name__}"
    library = _WholeLibrary(context.codegen(), name)
    with global_compiler_lock:
        library.add_linking_library(compiled.library)
        library.add_ir_module(_called_from_python(context, compiled.fndesc, name))
        library.finalize()
    return name, _result_kinds(compiled.fndesc.restype), library.machine_code()


def _called_from_python(context: Any, descriptor: Any, name: str) -> Any:
    """A module with the function that Python calls: it takes the arguments from the one block, fills the other."""
    module = context.create_module(f"{name}.module")
    word, number = ir.IntType(64), ir.IntType(32)
    callee = ir.Function(
        module,
        context.call_conv.get_function_type(descriptor.restype, descriptor.argtypes),
        descriptor.llvm_func_name,
    )
    function = ir.Function(module, ir.FunctionType(number, [word.as_pointer()] * 2), name)
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    block, results = function.args

    packer = context.get_arg_packer(descriptor.argtypes)
    words = [
        _from_word(builder, builder.load(builder.gep(block, [number(index)])), kind)
        for index, kind in enumerate(packer.argument_types)
    ]
    arguments = packer.from_arguments(builder, words)
    result = descriptor.restype
    status, returned = context.call_conv.call_function(builder, callee, result, descriptor.argtypes, arguments)
    elements = cgutils.unpack_tuple(builder, returned) if isinstance(result, types.BaseTuple) else [returned]
    for index, (kind, element) in enumerate(zip(_elements(result), elements, strict=True)):
        if kind is not types.none:
            builder.store(_to_word(context, builder, element, kind), builder.gep(results, [number(index)]))
    builder.ret(builder.zext(status.is_error, number))
    return module


def _from_word(builder: Any, value: Any, kind: Any) -> Any:
    if isinstance(kind, ir.PointerType):
        return builder.inttoptr(value, kind)
    if isinstance(kind, ir.DoubleType):
        return builder.bitcast(value, kind)
    return value if kind.width == value.type.width else builder.trunc(value, kind)


def _to_word(context: Any, builder: Any, value: Any, kind: Any) -> Any:
    if isinstance(kind, types.Float):
        return builder.bitcast(context.cast(builder, value, kind, types.float64), ir.IntType(64))
    return context.cast(builder, value, kind, types.int64)


def _elements(result: Any) -> Sequence[Any]:
    return tuple(result.types) if hasattr(result, "types") else (result,)


def _result_kinds(result: Any) -> Sequence[str] | str:
    kinds = [_kind(element) for element in _elements(result)]
    return kinds if isinstance(result, types.BaseTuple) else kinds[0]


def _kind(result: Any) -> str:
    if result == types.none:
        return "none"
    if isinstance(result, types.Boolean):
        return "bool"
    if isinstance(result, types.Float):
        return "float"
    if isinstance(result, types.Integer):
        return "unsigned" if result in types.unsigned_domain else "int"
    raise TypeError(f"a kernel that Python calls returns no {result}")


class _Listener(event.Listener):
    """Reports each kernel when it is compiled, once."""

    def __init__(self, report: Callable[[int], None]) -> None:
        self._report = report
        self._compiled: set[_Part] = set()

    def on_start(self, occurrence: Any) -> None:
        pass

    def on_end(self, occurrence: Any) -> None:
        part = occurrence.data["dispatcher"]
        if isinstance(part, _Part) and part not in self._compiled:
            self._compiled.add(part)
            self._report(len(self._compiled))


@contextmanager
def reported(report: Callable[[int], None]) -> Iterator[None]:
    """Call `report` with the number of kernels that were compiled meanwhile, after each of them."""
    with event.install_listener(_COMPILE, _Listener(report)):
        yield
