"""Machine code of kernels in files, and how it is loaded: by LLVM alone, without numba.

A file is a line of JSON (the function's name in the code, the kinds of its results, a checksum of what follows) and an
object file, as a compiler writes it. Nothing in it is unpickled. It is found by what it was made from: the kernel and
the source file it stands in, the kinds of the arguments, this machine's CPU; the folder stands for all other sources.
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import json
import os
import struct
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from core.compiled.arguments import Words
from core.compiled.cache import CACHE_FOLDER

_engines: list[Any] = []
"""Keeps loaded code in memory as long as the process lives."""


class Code:
    """Machine code of one kernel, for arguments of certain kinds."""

    def __init__(self, address: int, name: str, results: Sequence[str] | str) -> None:
        self._function = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(address)
        self._name = name
        self._results = results
        self._words = 1 if isinstance(results, str) else len(results)

    def __call__(self, words: Words) -> Any:
        """Run it; RuntimeError if it raises anything."""
        block = (ctypes.c_int64 * len(words.values))(*words.values)
        results = (ctypes.c_int64 * self._words)()
        if self._function(ctypes.addressof(block), ctypes.addressof(results)):
            raise RuntimeError(f"{self._name} raised an error in compiled code")
        if isinstance(self._results, str):
            return _result(self._results, results[0])
        return tuple(_result(kind, word) for kind, word in zip(self._results, results, strict=True))


def load_code(function: Callable[..., Any], kinds: tuple[Any, ...]) -> Code | None:
    """The stored code of `function` for arguments of these kinds; None if there is none, or its file is damaged."""
    try:
        head, _, code = _file(function, kinds).read_bytes().partition(b"\n")
        described = json.loads(head)
        if hashlib.sha256(code).hexdigest() != described["sha256"]:
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Code(_loaded(code, described["symbol"]), function.__qualname__, described["results"])


def store_code(
    function: Callable[..., Any], kinds: tuple[Any, ...], symbol: str, results: Sequence[str] | str, code: bytes
) -> None:
    """Store what `load_code` finds; a file is there as a whole, or not at all."""
    described = {"symbol": symbol, "results": results, "sha256": hashlib.sha256(code).hexdigest()}
    file = _file(function, kinds)
    with tempfile.NamedTemporaryFile(dir=file.parent, delete=False) as written:
        written.write(json.dumps(described).encode() + b"\n" + code)
    os.replace(written.name, file)


@contextmanager
def compiling(function: Callable[..., Any], kinds: tuple[Any, ...]) -> Iterator[None]:
    """Compile inside: of several processes that would compile the same, one does and the others wait."""
    CACHE_FOLDER.mkdir(parents=True, exist_ok=True)
    with open(_file(function, kinds).with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the system lets go of it if this process dies
        yield


def _file(function: Callable[..., Any], kinds: tuple[Any, ...]) -> Path:
    described = f"{_host()} {_source(function.__code__.co_filename)} {function.__module__} {kinds}"
    name = f"{function.__module__}.{function.__qualname__}"
    return CACHE_FOLDER / f"{name}-{hashlib.sha256(described.encode()).hexdigest()[:16]}.kernel"


def _result(kind: str, word: int) -> Any:
    match kind:
        case "none":
            return None
        case "bool":
            return bool(word)
        case "float":
            return struct.unpack("d", struct.pack("q", word))[0]
        case "unsigned":
            return word & (2**64 - 1)
        case _:
            return word


@cache
def _source(file: str) -> str:
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()


@cache
def _host() -> str:
    import llvmlite.binding as llvm

    return f"{llvm.get_process_triple()} {llvm.get_host_cpu_name()} {llvm.get_host_cpu_features().flatten()}"


def _loaded(code: bytes, symbol: str) -> int:
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(jit=True)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    _engines.append(engine)
    address: int = engine.get_function_address(symbol)
    return address
