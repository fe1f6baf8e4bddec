"""What a benchmark found: tables that print as Markdown and go to JSON with all their digits."""

from __future__ import annotations

import dataclasses
import os
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from benchmarks.measure import Spread

Cell = str | int | float | Spread | None

PACKAGES: Final = ("numba", "numpy", "ray", "pyarrow", "duckdb", "simpy")


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under the same columns; a cell is a text, a number, repeats of a number, or None where nothing was taken."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[Cell, ...]]


def markdown(table: Table) -> str:
    """The table with its title, aligned so that it reads well unrendered too."""
    cells = [[cell_text(cell) for cell in row] for row in table.rows]
    texts = [list(table.columns), *cells]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    right = [all(not isinstance(cell, str) for cell in column) for column in zip(*table.rows, strict=True)]
    rule = ["-" * (width - 1) + (":" if side else "-") for width, side in zip(widths, right, strict=True)]
    lines = [_line(texts[0], widths, right), _line(rule, widths, right)]
    lines += [_line(row, widths, right) for row in cells]
    return f"**{table.title}**\n\n" + "\n".join(lines) + "\n"


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    padded = (
        cell.rjust(width) if side else cell.ljust(width) for cell, width, side in zip(cells, widths, right, strict=True)
    )
    return f"| {' | '.join(padded)} |"


def cell_text(cell: Cell) -> str:
    """Three digits of a measured number; of repeats the median, and in brackets the smallest and the largest."""
    if cell is None:
        return "-"
    if isinstance(cell, Spread):
        median = _three_digits(cell.median)
        return f"{median} ({_three_digits(cell.low)} to {_three_digits(cell.high)})" if cell.runs > 1 else median
    if isinstance(cell, float):
        return _three_digits(cell)
    return f"{cell:,}" if isinstance(cell, int) else cell


def _three_digits(value: float) -> str:
    rounded = float(f"{value:.3g}")
    if abs(rounded) >= 100:
        return f"{rounded:,.0f}"
    return f"{value:#.3g}" if abs(rounded) >= 0.001 or rounded == 0 else f"{value:.2g}"


def as_json(table: Table) -> dict[str, object]:
    """The table as plain values: one object a row, repeats with median, low, high and runs."""
    return {
        "title": table.title,
        "rows": [
            {
                column: dataclasses.asdict(cell) if isinstance(cell, Spread) else cell
                for column, cell in zip(table.columns, row, strict=True)
            }
            for row in table.rows
        ],
    }


def machine() -> dict[str, str]:
    """Where the figures were taken, as far as it decides them."""
    facts = {"machine": f"{_cores()} of {_processor()}", "Python": platform.python_version()} | _versions()
    return facts | {"load average before": f"{os.getloadavg()[0]:.1f}"}


def machine_text(facts: Mapping[str, str]) -> str:
    """The same as one line."""
    place = facts["machine"]
    return f"Taken on {place}; " + ", ".join(f"{name} {value}" for name, value in facts.items() if name != "machine")


def _cores() -> str:
    number = len(os.sched_getaffinity(0))
    return f"{number} core" if number == 1 else f"{number} cores"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def replace_between_marks(text: str, name: str, content: str) -> str:
    """`text` with what stands between `<!-- NAME -->` and `<!-- end NAME -->` replaced."""
    begin, end = f"<!-- {name} -->", f"<!-- end {name} -->"
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"no lines {begin} and {end} in the document")
    return pattern.sub(lambda _: f"{begin}\n{content.strip()}\n{end}", text, count=1)
