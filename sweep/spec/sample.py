"""`[sample]`: n points drawn from ranges, for spaces too large for a full product.

    [sample]
    n = 256
    method = "sobol"                                    # or "latin", or "random"
    seed = 1
    [sample.ranges]
    vcpus = { low = 2, high = 512, log = true }         # whole numbers, evenly over the logarithm
    mem_per_vcpu = { low = "1GiB", high = "16GiB", step = "1GiB" }
    split = ["lazy", "eager"]                           # a list of choices

A range includes both ends and goes in steps from its low end (1 by default; sizes must say theirs, because almost no
size is a multiple of a huge page by chance). The same seed gives the same points. With "random" and "sobol" a larger
n keeps the points of a smaller one, so a sweep can be refined without losing what is done.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from core.config import BOUNDS, FIELDS, SIZES
from sweep.errors import SpecError, spec_place
from sweep.spec.grid import Point
from sweep.spec.values import field_value, field_values

METHODS: Final = ("random", "sobol", "latin")
SAMPLE_KEYS: Final = ("n", "method", "seed", "ranges")
RANGE_KEYS: Final = ("low", "high", "step", "log")


@dataclass(frozen=True, slots=True)
class Range:
    """The numbers low, low + step, ... up to high; with `log` each doubling is equally likely."""

    low: int
    high: int
    step: int = 1
    log: bool = False


Choices = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Sample:
    """n points, each field drawn from its range or its choices."""

    n: int
    method: str
    seed: int
    ranges: Mapping[str, Range | Choices]


def read_sample(table: Mapping[str, object]) -> Sample:
    """The checked Sample of a `[sample]` table; SpecError naming key, value and what is allowed."""
    for key in table:
        if key not in SAMPLE_KEYS:
            raise SpecError(f"{key}: no such key; allowed: {', '.join(SAMPLE_KEYS)} (fields go into [sample.ranges])")
    method = table.get("method")
    if method not in METHODS:
        raise SpecError(f"method: {_shown(method)} is not allowed; allowed: {', '.join(METHODS)}")
    ranges = table.get("ranges")
    if not isinstance(ranges, dict) or not ranges:
        raise SpecError("ranges: missing or empty; add a [sample.ranges] table, like vcpus = { low = 2, high = 64 }")
    return Sample(
        n=_whole_number(table, "n", 1),
        method=str(method),
        seed=_whole_number({"seed": 1} | dict(table), "seed", 0),
        ranges=_read_ranges(ranges),
    )


def sample_rows(sample: Sample) -> Any:
    """Numbers in [0, 1) as an array, a row for each point in the order drawn, a column for each field."""
    import numpy as np

    shape = sample.n, len(sample.ranges)
    if sample.method == "random":
        generator = random.Random(sample.seed)
        return np.fromiter((generator.random() for _ in range(math.prod(shape))), float).reshape(shape)
    from scipy.stats import qmc  # 1.8 s of CPU: only where a spec asks for it

    if sample.method == "latin":
        return qmc.LatinHypercube(shape[1], rng=sample.seed).random(sample.n)
    # Sobol points are balanced in powers of two; the next power of two holds the first n unchanged.
    return qmc.Sobol(shape[1], rng=sample.seed).random_base2(math.ceil(math.log2(sample.n)))[: sample.n]


def sample_point(sample: Sample, row: Any) -> Point:
    """The point that a row of `sample_rows` means; those of some rows may be equal."""
    return {name: _drawn(span, part) for (name, span), part in zip(sample.ranges.items(), row.tolist(), strict=True)}


def _drawn(span: Range | Choices, part: float) -> object:
    """The value that lies at `part` (0 to 1) of the range or the choices."""
    if not isinstance(span, Range):
        return span[int(part * len(span))]
    if span.log:
        # The end of the highest step belongs to the range, so that the high end is drawn as often as its neighbours.
        number = span.low * ((span.high + span.step) / span.low) ** part
    else:
        number = span.low + part * (span.high + span.step - span.low)
    return span.low + min(int(number - span.low), span.high - span.low) // span.step * span.step


def _read_ranges(table: Mapping[str, object]) -> dict[str, Range | Choices]:
    with spec_place("ranges"):
        return {name: _read_range(name, value) for name, value in table.items()}


def _read_range(name: str, value: object) -> Range | Choices:
    if not isinstance(value, dict):
        return field_values(name, value)
    is_size = name in SIZES
    if name in FIELDS and name not in BOUNDS and not is_size:
        raise SpecError(f"{name}: only numbers have a range; write a list of choices, like {name} = [...]")
    for key in value:
        if key not in RANGE_KEYS:
            raise SpecError(f"{name}: {key}: no such key; allowed: {', '.join(RANGE_KEYS)}")
    needed = ("low", "high", "step") if is_size else ("low", "high")
    missing = [key for key in needed if key not in value]
    if missing:
        raise SpecError(f"{name}: {' and '.join(missing)} missing; a range has {', '.join(needed)}")
    # A step is a number like the field's own, though not bound by its least value.
    step = value.get("step", 1)
    return _checked_range(
        name,
        Range(
            low=cast(int, field_value(name, value["low"])),
            high=cast(int, field_value(name, value["high"])),
            step=cast(int, field_value(name, step)) if is_size else _whole_number({"step": step}, "step", 1),
            log=_true_or_false(name, value.get("log", False)),
        ),
    )


def _checked_range(name: str, span: Range) -> Range:
    if span.low >= span.high:
        raise SpecError(f"{name}: low = {span.low} is not below high = {span.high}; swap or widen them")
    if (span.high - span.low) % span.step:
        raise SpecError(
            f"{name}: steps of {span.step} from low = {span.low} do not end at high = {span.high}; "
            f"allowed: high - low a multiple of the step"
        )
    if span.log and span.low < 1:
        raise SpecError(f"{name}: log = true needs low of at least 1, not {span.low}")
    return span


def _whole_number(table: Mapping[str, Any], key: str, least: int) -> int:
    value = table.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise SpecError(f"{key}: {_shown(value)} is not allowed; allowed: a whole number of at least {least}")
    return value


def _true_or_false(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise SpecError(f"{name}: log: {value!r} is not allowed; allowed: true, false")
    return value


def _shown(value: object) -> str:
    return "nothing" if value is None else repr(value)
