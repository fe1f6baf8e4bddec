"""What the axes and colours of a chart are: titles with units, domains, logarithmic or not, one colour per value.

All panels of a chart share their axes, or nobody could compare them, and all charts share their colours: eager is the
same blue everywhere, whatever else a chart shows. The colours are those of Okabe and Ito, which readers of any colour
vision can tell apart; the shape of the points says the same again, for print in black and white.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeGuard

from core.config import CHOICES, MEM_TOTAL, SIZES, field_text
from sweep.errors import QueryError
from sweep.showing.points import NUMBER_KINDS, Metric
from sweep.showing.tables import SPLIT_ORDER, Table, value_order

PALETTE: Final = ("#d55e00", "#009e73", "#0072b2", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
SHAPES: Final = ("circle", "triangle-up", "square", "diamond", "cross", "triangle-down", "triangle-right")

LARGEST_POINT: Final = 75
SMALLEST_POINT: Final = 28
"""Areas of the first and the last value's points: those that fall together lie inside each other, and all are seen."""

RAMP: Final = ("#440154", "#414487", "#2a788e", "#22a884", "#7ad151", "#c8d92b")
"""Viridis from dark to light without its palest end, for the values of a number: their order shows."""

X_TITLES: Final = {
    "vcpus": "vCPUs",
    "mem_per_vcpu": "memory per vCPU",
    MEM_TOTAL: "memory of all vCPUs",
    "write_percent": "accesses that write (%)",
    "clear_chunk": "memory of one clear",
    "guest_roots": "roots of the guest",
    "slots": "memslots",
}

DOUBLING_FIELDS: Final = ("vcpus", *SIZES, "guest_roots", "slots")
"""Numbers that people double from one config to the next: log2 axes show those at even distances."""

SIZE_UNITS: Final = {"GiB": 2**30, "MiB": 2**20, "KiB": 2**10}

LOG_RANGE: Final = 20
"""A largest value of so many times the smallest makes the axis of the metric logarithmic, or the small ones vanish."""

MARGIN: Final = 0.04
"""The part of an axis that is left free at its ends."""

MAX_TICKS: Final = 12
"""Up to so many values on the x axis are its ticks; more would overlap."""


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis of numbers. `log` is the base of a logarithmic one, 0 for a linear one; no `ticks` leaves them to the
    library; `form` is the d3 format of their labels; the field's values are divided by `unit`. A logarithmic axis that
    has to reach 0 is linear below `linear_below`, its least value above 0."""

    title: str
    domain: tuple[float, float]
    log: int = 0
    ticks: tuple[float, ...] = ()
    form: str = "~r"
    unit: int = 1
    linear_below: float = 0.0


@dataclass(frozen=True, slots=True)
class WordAxis:
    """An axis of words, in this order."""

    title: str
    words: tuple[str, ...]


class Look(NamedTuple):
    """How the points of one value look."""

    colour: str
    shape: str
    size: float


def x_axis(tables: Sequence[Table], log: bool | None) -> Axis | WordAxis:
    """The axis of the tables' rows; `log` is what the user wishes, None for what suits the field."""
    name = tables[0].rows
    title = X_TITLES.get(name, name)
    found = _sorted_values(name, (value for table in tables for value in table.row_values))
    numbers = [value for value in found if is_number(value)]
    if len(numbers) < len(found):
        if log:
            raise QueryError(f"--log-x: the values of {name} are words; leave --log-x out")
        return WordAxis(title, tuple(field_text(name, value) for value in found))
    unit = 1
    if name in SIZES:
        word, unit = next((item for item in SIZE_UNITS.items() if item[1] <= numbers[-1]), ("bytes", 1))
        title = f"{title} ({word})"
    numbers = [number / unit for number in numbers]
    if log and numbers[0] <= 0:
        raise QueryError(f"--log-x: {name} is {numbers[0]:g} in some configs, which has no place on a log axis")
    ticks = tuple(numbers) if len(numbers) <= MAX_TICKS else ()
    doubling = name in DOUBLING_FIELDS and len(numbers) > 1 and numbers[0] > 0
    if doubling if log is None else log:
        return Axis(title, _log_domain(numbers[0], numbers[-1]), 2, ticks, unit=unit)
    margin = (numbers[-1] - numbers[0]) * MARGIN or 1
    return Axis(title, (numbers[0] - margin, numbers[-1] + margin), 0, ticks, unit=unit)


def y_axis(tables: Sequence[Table], log: bool | None) -> Axis:
    """The axis of the tables' numbers, with room for intervals and published values."""
    column = tables[0].metric.column
    cells = [cell for table in tables for cell in table.cells.values() if cell.value is not None]
    numbers = [number for cell in cells for number in (cell.value, cell.low, cell.high) if number is not None]
    numbers += [cell.published for table in tables for cell in table.cells.values() if cell.published is not None]
    lowest, highest = min(numbers), max(numbers)
    least = min((number for number in numbers if number > 0), default=0.0)
    if log and (lowest < 0 or not least):
        raise QueryError(f"--log-y: {column} is {lowest:g} in some configs, which has no place on a log axis")
    title, form = y_title(tables[0].metric), "~g" if NUMBER_KINDS[column] is float else "~s"
    wide = lowest >= 0 and 0 < LOG_RANGE * least < highest
    if wide if log is None else log:
        bottom, top = domain = _log_domain(least, highest)
        if lowest > 0:
            return Axis(title, domain, 10, _decade_ticks(*domain), form)
        return Axis(title, (0.0, top), 10, (0.0, *_decade_ticks(bottom, top)), form, linear_below=least)
    return Axis(title, (min(lowest, 0.0), highest * (1 + MARGIN) or 1.0), form=form)


def error_axis(tables: Sequence[Table]) -> Axis:
    """The axis of the errors of the predictions: as far below zero as above it."""
    errors = [cell.error_percent for table in tables for cell in table.cells.values()]
    reach = math.ceil(max((abs(error) for error in errors if error is not None), default=1.0) * 1.2)
    return Axis("error (%)", (-reach, reach))


def y_title(metric: Metric) -> str:
    """The column as it is queried, and its unit."""
    if metric.column == "seconds":
        return "time (s)"
    if metric.column.endswith("_ns"):
        return f"{metric.column} (ns)"
    return f"{metric.column} (s)" if NUMBER_KINDS[metric.column] is float else metric.column


def looks(name: str, values: Iterable[object]) -> dict[str, Look]:
    """The look of each value of a field, under the value's word and in the order of a legend."""
    found = _sorted_values(name, values)
    words = [field_text(name, value) for value in found]
    places = [place / max(len(words) - 1, 1) for place in range(len(words))]
    sizes = [LARGEST_POINT + (SMALLEST_POINT - LARGEST_POINT) * place for place in places]
    if all(map(is_number, found)) or len(found) > len(PALETTE):
        return {
            word: Look(_ramp(place), "circle", size) for word, place, size in zip(words, places, sizes, strict=True)
        }
    known = SPLIT_ORDER if name == "split" else CHOICES.get(name, ())
    if set(words) <= {"true", "false"}:
        known = ("false", "true")
    order = (*known, *(word for word in words if word not in known))
    kinds = [order.index(word) for word in words]
    return {word: Look(PALETTE[kind], SHAPES[kind], size) for word, kind, size in zip(words, kinds, sizes, strict=True)}


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value of a field has a place on an axis of numbers; a truth value has not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _sorted_values(name: str, values: Iterable[object]) -> list[object]:
    return sorted(set(values), key=value_order(name))


def _log_domain(lowest: float, highest: float) -> tuple[float, float]:
    margin = max((highest / lowest) ** MARGIN, 1.1)
    return lowest / margin, highest * margin


def _decade_ticks(lowest: float, highest: float) -> tuple[float, ...]:
    """1, 2, 5, 10, 20, ... inside the domain; over more than three decades the powers of ten alone."""
    steps = (1, 2, 5) if highest <= 1000 * lowest else (1,)
    decades = range(math.floor(math.log10(lowest)), math.ceil(math.log10(highest)))
    ticks = [float(f"{step}e{decade}") for decade in decades for step in steps]  # as typed: 0.1, not 0.1 and a bit
    return tuple(tick for tick in ticks if lowest <= tick <= highest)


def _ramp(place: float) -> str:
    """The colour at `place`, 0 to 1, of RAMP, mixed from its neighbours."""
    left = min(int(place * (len(RAMP) - 1)), len(RAMP) - 2)
    share = place * (len(RAMP) - 1) - left
    ends = [[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in RAMP[left : left + 2]]
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in zip(*ends, strict=True))
