"""Taking figures that can be compared: repeats in turn, medians with their spread, processes that start afresh."""

from __future__ import annotations

import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Final, ParamSpec, TypeVar

P = ParamSpec("P")
K = TypeVar("K")
R = TypeVar("R")

SPAWN: Final = multiprocessing.get_context("spawn")  # a forked child would inherit imports, threads and memory


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asks of every benchmark."""

    long: bool  # also what takes more than a few minutes


@dataclass(frozen=True, slots=True)
class Spread:
    """Repeats of one measurement: their median, and the smallest and the largest."""

    median: float
    low: float
    high: float
    runs: int


def spread(values: Sequence[float]) -> Spread:
    return Spread(statistics.median(values), min(values), max(values), len(values))


def ratio(values: Sequence[float], others: Sequence[float]) -> Spread:
    """How many times as large `values` are: divided round by round, as the two of a round were taken side by side."""
    return spread([value / other for value, other in zip(values, others, strict=True)])


def in_turn(measures: Mapping[K, Callable[[], R]], rounds: int) -> dict[K, list[R]]:
    """The answers of `rounds` rounds in which each is called once, so that a noisy minute strikes all alike."""
    answers: dict[K, list[R]] = {name: [] for name in measures}
    for _ in range(rounds):
        for name, measure in measures.items():
            answers[name].append(measure())
    return answers


def seconds_of(function: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def in_fresh_process(function: Callable[P, R], *arguments: P.args, **options: P.kwargs) -> R:
    """The function's answer from a process of its own; `function` must be importable."""
    with ProcessPoolExecutor(1, mp_context=SPAWN) as pool:
        return pool.submit(function, *arguments, **options).result()


def note(text: str) -> None:
    """Tell whoever waits what is being done."""
    print(f"  {text}", file=sys.stderr, flush=True)
