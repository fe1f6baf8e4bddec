"""Kernels are parts of those that call them, functions of their own for Python, and reported when compiled."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from core.compiled.kernel import inlined, kernel
from core.compiled.records import Integers

SCRIPT = """
from core.compiled.cache import is_warm
from core.run import warm_up
before, reports = is_warm(), []
warm_up(report=lambda compiled, kernels: reports.append((compiled, kernels)))
again = []
warm_up(report=lambda compiled, kernels: again.append(compiled))
compiled = [compiled for compiled, kernels in reports]
assert compiled == list(range(1, len(compiled) + 1)), compiled
assert {kernels for _, kernels in reports} == {reports[-1][1]} and compiled[-1] <= reports[-1][1]
print(before, is_warm(), is_warm("live"), again)
"""


@inlined
def doubled(number):  # type: ignore[no-untyped-def]
    return 2 * number


@kernel
def doubled_twice(number):  # type: ignore[no-untyped-def]
    return doubled(doubled(number))


@kernel
def fill(numbers, value):  # type: ignore[no-untyped-def]
    for index in range(numbers.size):
        numbers[index] = doubled_twice(value) + doubled(1)


def test_a_kernel_is_called_from_python_as_well_as_from_kernels() -> None:
    numbers: Integers = np.zeros(3, int)
    fill(numbers, 5)
    assert numbers.tolist() == [22, 22, 22]
    assert doubled_twice(5) == 20


@pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT", "0") != "0", reason="nothing is compiled")
def test_only_what_python_calls_is_turned_into_machine_code() -> None:
    fill(np.zeros(1, int), 1)
    assert "standalone" in vars(fill)
    assert "standalone" not in vars(doubled)


def test_compiling_the_simulator_is_reported_kernel_by_kernel_and_done_once(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env=os.environ | {"XDG_CACHE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "False True False []"), done.stderr
