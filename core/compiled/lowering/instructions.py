"""The operations of core/compiled/instructions.py in compiled code: intrinsics of LLVM, and the C library by name."""

from __future__ import annotations

import platform
import time
from typing import Any, Final

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

from core.compiled.atomics import address_of
from core.compiled.instructions import park, pause, read_cycles, read_nanoseconds, wake, yield_cpu

_X86: Final = ("x86_64", "amd64")
_ARM: Final = ("aarch64", "arm64")
_MACHINE: Final = platform.machine().lower()
_ARM_YIELD: Final = 1

# The number of the futex system call, by machine. Only where a 64-bit word begins with its low half: that half is what
# a futex looks at. Elsewhere a process that waits gives up the CPU instead of sleeping.
_FUTEX_CALL: Final = {"x86_64": 202, "amd64": 202, "aarch64": 98, "riscv64": 98}.get(_MACHINE, 0)
_FUTEX_WAIT, _FUTEX_WAKE = 0, 1


@intrinsic
def _emit_pause(typing_context: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        nothing, number = ir.VoidType(), ir.IntType(32)
        if _MACHINE in _X86:
            hint = ir.FunctionType(nothing, [])
            builder.call(cgutils.get_or_insert_function(builder.module, hint, "llvm.x86.sse2.pause"), [])
        elif _MACHINE in _ARM:
            hint = ir.FunctionType(nothing, [number])
            emit = cgutils.get_or_insert_function(builder.module, hint, "llvm.aarch64.hint")
            builder.call(emit, [number(_ARM_YIELD)])
        return context.get_dummy_value()

    return types.none(), generate


@intrinsic
def _emit_read_cycles(typing_context: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        counter = ir.FunctionType(ir.IntType(64), [])
        return builder.call(builder.module.declare_intrinsic("llvm.readcyclecounter", fnty=counter), [])

    return types.int64(), generate


@intrinsic
def _emit_read_nanoseconds(typing_context: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word, number = ir.IntType(64), ir.IntType(32)
        read = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(number, [number, word.as_pointer()]), "clock_gettime"
        )
        timespec = cgutils.alloca_once(builder, word, size=2)
        builder.call(read, [number(time.CLOCK_MONOTONIC), timespec])
        seconds = builder.load(timespec)
        return builder.add(builder.mul(seconds, word(10**9)), builder.load(builder.gep(timespec, [number(1)])))

    return types.int64(), generate


_spin_hint: Any = _emit_pause  # called from compiled code, which supplies the typing context
_cycle_counter: Any = _emit_read_cycles
_monotonic_clock: Any = _emit_read_nanoseconds
_sched_yield: Any = types.ExternalFunction("sched_yield", types.int32())
_system_call: Any = types.ExternalFunction("syscall", types.int64(*[types.int64] * 7))


@overload(pause, inline="always")
def _pause() -> Any:
    return lambda: _spin_hint()


@overload(read_cycles, inline="always")
def _read_cycles() -> Any:
    return (lambda: _cycle_counter()) if _MACHINE in _X86 else (lambda: _monotonic_clock())


@overload(read_nanoseconds, inline="always")
def _read_nanoseconds() -> Any:
    return lambda: _monotonic_clock()


@overload(yield_cpu, inline="always")
def _yield_cpu() -> Any:
    def compiled() -> None:
        _sched_yield()

    return compiled


@overload(park, inline="always", strict=False)
def _park(word: Any, index: Any, value: Any, timeout: Any) -> Any:
    def sleep(word: Any, index: int, value: int, timeout: int) -> None:
        _system_call(_FUTEX_CALL, address_of(word, index), _FUTEX_WAIT, value, timeout, 0, 0)

    def give_way(word: Any, index: int, value: int, timeout: int) -> None:
        _sched_yield()

    return sleep if _FUTEX_CALL else give_way


@overload(wake, inline="always", strict=False)
def _wake(word: Any, index: Any, count: Any) -> Any:
    def wake_sleepers(word: Any, index: int, count: int) -> None:
        _system_call(_FUTEX_CALL, address_of(word, index), _FUTEX_WAKE, count, 0, 0, 0)

    return wake_sleepers if _FUTEX_CALL else lambda word, index, count: None
