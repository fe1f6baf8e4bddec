"""Kernels are parts of those that call them, and functions of their own for Python, stored for later processes."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.compiled.alternatives import compiled_as
from core.compiled.arguments import words_of
from core.compiled.cache import is_warm
from core.compiled.kernel import bound, inlined, kernel
from core.compiled.records import Integers, layout, new_record
from core.run import warm_up

REPORTED = """
import numpy as np
from core.compiled.kernel import KERNELS, reported
from tests.core.compiled.test_kernel import fill
reports, again = [], []
with reported(lambda compiled, defined: reports.append((compiled, defined))):
    fill(np.zeros(3, int), 1)
with reported(lambda compiled, defined: again.append(compiled)):
    fill(np.zeros(2, int), 1)
assert {defined for _, defined in reports} == {len(KERNELS)}
print([compiled for compiled, _ in reports], again)
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


@kernel
def mixed(flag, word, part, pair):  # type: ignore[no-untyped-def]
    point, table = pair
    return not flag, word, part + point.x + point.y, table[1, 2]


@kernel
def returns_nothing():  # type: ignore[no-untyped-def]
    pass


@kernel
def plus_one(value):  # type: ignore[no-untyped-def]
    return _plus_one(value)


def _plus_one(value: Any) -> Any:
    return value[0] + 1 if isinstance(value, np.ndarray) else value + 1


@compiled_as(_plus_one)
def _compiled_plus_one(value: Any) -> Any:
    return (lambda value: value[0] + 1) if hasattr(value, "ndim") else (lambda value: value + 1)


@kernel
def refuse(number):  # type: ignore[no-untyped-def]
    if number:
        raise ValueError
    return number


compiled_only = pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT", "0") != "0", reason="nothing is compiled")


def test_a_kernel_is_called_from_python_as_well_as_from_kernels() -> None:
    numbers: Integers = np.zeros(3, int)
    fill(numbers, 5)
    assert numbers.tolist() == [22, 22, 22]
    assert doubled_twice(5) == 20


def test_results_and_arguments_are_of_every_kind_that_python_and_kernels_share() -> None:
    point = new_record(layout(["x", "y"]), {"x": 3, "y": 4})
    assert mixed(True, np.uint64(2**63), 0.5, (point, np.arange(6).reshape(2, 3))) == (False, 2**63, 7.5, 5)
    assert returns_nothing() is None


def test_a_kernel_takes_each_kind_of_arguments_as_it_is() -> None:
    """Code for one kind is not run with another: an integer is added otherwise than a float."""
    assert [plus_one(1), plus_one(1.5), plus_one(True)] == [2, 2.5, 2]
    assert plus_one(np.arange(3)[::2]) == 1


def test_a_bound_kernel_has_its_first_arguments() -> None:
    numbers: Integers = np.zeros(3, int)
    fill_numbers = bound(fill, numbers)
    fill_numbers(1)
    fill_numbers(5)
    assert numbers.tolist() == [22, 22, 22]


def test_the_shape_of_an_array_makes_no_other_kind() -> None:
    one, more = (words_of((np.zeros((rows, 3), int),)) for rows in (1, 2))
    assert one.kinds == more.kinds


@compiled_only
def test_what_no_kernel_takes_is_refused() -> None:
    with pytest.raises(TypeError, match="a kernel takes no str"):
        doubled_twice("5")


@compiled_only
def test_an_error_in_compiled_code_is_an_error_in_python() -> None:
    with pytest.raises(RuntimeError, match=r"^refuse raised an error in compiled code"):
        refuse(1)


@compiled_only
def test_stored_code_is_loaded_without_numba_and_what_is_damaged_is_compiled_again(tmp_path: Path) -> None:
    script = (
        "import sys; from tests.core.compiled.test_kernel import *; print(doubled_twice(5), 'numba' in sys.modules)"
    )
    run = partial(
        subprocess.run,
        [sys.executable, "-c", script],
        env=os.environ | {"XDG_CACHE_HOME": str(tmp_path)},
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
    )
    first, second = run(), run()
    assert (first.stdout, second.stdout) == ("20 True\n", "20 False\n"), first.stderr
    (stored,) = tmp_path.rglob("*.kernel")
    stored.write_bytes(stored.read_bytes()[:-1] + b"?")
    assert [run().stdout, run().stdout] == ["20 True\n", "20 False\n"]
    assert list(tmp_path.rglob("*.kernel")) == [stored]


@compiled_only
def test_of_several_processes_one_compiles_and_the_others_wait(tmp_path: Path) -> None:
    script = """if True:
        import tests.core.compiled.test_kernel as t
        from core.compiled.kernel import reported
        counts = []
        with reported(lambda compiled, defined: counts.append(compiled)):
            assert t.doubled_twice(5) == 20
        print(len(counts))
    """
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script],
            env=os.environ | {"XDG_CACHE_HOME": str(tmp_path)},
            cwd=Path(__file__).parents[3],
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    assert sorted(process.communicate()[0] for process in processes) == ["0\n", "0\n", "2\n"]


@compiled_only
def test_compiling_is_reported_kernel_by_kernel_and_done_once(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", REPORTED],
        env=os.environ | {"XDG_CACHE_HOME": str(tmp_path)},
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "[1, 2, 3] []"), done.stderr


def test_a_warm_simulator_is_not_compiled_again() -> None:
    warm_up()
    assert is_warm()
    warm_up(report=lambda compiled, defined: pytest.fail("compiled again"))
