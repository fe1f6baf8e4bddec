"""The instructions in compiled code: they do what their twins do, and load from the cache."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

import core.compiled.atomics as atomics
from core.compiled.kernel import kernel
from core.compiled.records import Integers
from core.live.sync.waiting import ABORT_WORDS
from tests.core.live.workers import every_instruction

SCRIPT = """
import sys
import numpy as np
from core.live.sync.waiting import ABORT_WORDS, prepare_abort
from tests.core.live.workers import every_instruction
word, abort = np.zeros(1, np.int64), np.zeros(ABORT_WORDS, np.int64)
prepare_abort(abort)
assert every_instruction(word, abort) > 0
print("numba" in sys.modules)
"""


def run_script(**environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT],
        env=os.environ | environment,
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_second_process_loads_the_kernel_instead_of_compiling_it(tmp_path: Path) -> None:
    assert run_script(XDG_CACHE_HOME=str(tmp_path)) == "True"
    assert run_script(XDG_CACHE_HOME=str(tmp_path)) == "False"


def test_they_work_uncompiled() -> None:
    assert run_script(NUMBA_DISABLE_JIT="1") == "False"


@kernel
def all_atomics(words: Integers) -> tuple[int, int, int, int, int]:
    atomics.store_release(words, 1, 5)
    added = atomics.fetch_add(words, 1, -7)
    exchanged = atomics.exchange(words, 2, 11)
    place = atomics.address_of(words, 3) - atomics.address_of(words, 0)
    return atomics.load_acquire(words, 1), added, exchanged, atomics.load_acquire(words, 2), place


def test_atomics_equal_their_twins() -> None:
    compiled, plain = np.arange(4), np.arange(4)
    assert all_atomics(compiled) == getattr(all_atomics, "py_func", all_atomics)(plain) == (-2, 5, 2, 11, 24)
    assert compiled.tolist() == plain.tolist() == [0, -2, 11, 3]


def test_a_futex_whose_word_has_changed_does_not_sleep() -> None:
    word, abort = np.zeros(1, np.int64), np.zeros(ABORT_WORDS, np.int64)
    assert every_instruction(word, abort) > 0
