"""The spec file: TOML in, checked tables out, and back to TOML.

    name = "cover-letter"
    where = "NOT (mmu = 'tdp' AND vcpus > 64)"   # SQL over the fields; leaves points out
    [fixed]                                      # one value per field, for all points
    mem_per_vcpu = "1GiB"
    [[grid]]                                     # a full product of its lists; several grids may follow
    split = ["lazy", "eager"]
    vcpus = [2, 4, 8]
    [sample]                                     # instead of grids: see sweep.spec.sample

Values are checked here one by one; `sweep.spec.configs` turns the tables into configs and judges those.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from core.config import MEMORY_NAMES, field_text
from sweep.errors import SpecError, spec_place
from sweep.spec.grid import Grid, shared_point, without_shared_points
from sweep.spec.sample import Range, Sample, read_sample
from sweep.spec.values import field_value, field_values, text_toml, value_toml
from sweep.spec.where import EXAMPLE, where_fields

TOP_KEYS: Final = ("name", "where", "fixed", "grid", "sample")

MOST_BYTES: Final = 16 * 2**20
"""A file beyond it, or a device without an end, is no spec."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, slots=True)
class SpecFile:
    """The tables of a spec. Without grids and without sample, [fixed] alone is one point."""

    name: str
    where: str | None
    fixed: Mapping[str, object]
    grids: tuple[Grid, ...]
    sample: Sample | None


def read_spec_file(path: Path) -> SpecFile:
    """The checked tables of the file; SpecError naming table, key, value and what is allowed (not the file)."""
    document = _read_toml(path)
    for key in document:
        if key not in TOP_KEYS:
            raise SpecError(f"{key}: no such key; allowed: {', '.join(TOP_KEYS)} (fields go into [fixed] or [[grid]])")
    if not (document.get("fixed") or document.get("grid") or "sample" in document):
        raise SpecError("nothing to run; add a [fixed], [[grid]] or [sample] table")
    if "grid" in document and "sample" in document:
        raise SpecError("sample: [sample] stands instead of [[grid]]; keep one of them")
    spec_file = SpecFile(
        name=_read_name(document),
        where=_read_where(document),
        fixed=_read_fixed(document.get("fixed", {})),
        grids=_read_grids(document.get("grid", [])),
        sample=_read_sample(document["sample"]) if "sample" in document else None,
    )
    _check_named_once(spec_file)
    return spec_file


def with_override(spec_file: SpecFile, name: str, values: tuple[object, ...]) -> SpecFile:
    """The tables with the values of one field replaced wherever it stands; several values make a grid axis.

    mem_total replaces mem_per_vcpu, and the other way round: they say the same.
    """
    spec_file = _without(spec_file, [size for size in MEMORY_NAMES if name in MEMORY_NAMES and size != name])
    fixed = {key: value for key, value in spec_file.fixed.items() if key != name}
    sample, grids = spec_file.sample, spec_file.grids
    if len(values) == 1 and not any(name in axes for axes in (*grids, *([sample.ranges] if sample else []))):
        fixed[name] = values[0]
    elif sample is not None:
        sample = dataclasses.replace(sample, ranges={**sample.ranges, name: values})
    else:
        # Grids that differed in this field alone have the same points now; that is what was asked for.
        grids = without_shared_points([{**grid, name: values} for grid in grids or ({},)])
    return dataclasses.replace(spec_file, fixed=fixed, grids=grids, sample=sample)


def _without(spec_file: SpecFile, names: Collection[str]) -> SpecFile:
    """The tables without any value for these fields."""

    def rest(table: Mapping[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in table.items() if key not in names}

    sample = spec_file.sample and dataclasses.replace(spec_file.sample, ranges=rest(spec_file.sample.ranges))
    # a grid of that field alone is one point now, and grids that differed in it are the same
    grids = without_shared_points([grid for grid in map(rest, spec_file.grids) if grid])
    return dataclasses.replace(spec_file, fixed=rest(spec_file.fixed), grids=grids, sample=sample)


def spec_file_text(spec_file: SpecFile) -> str:
    """The tables as TOML that reads back as the same tables."""
    lines = [f"name = {text_toml(spec_file.name)}"]
    if spec_file.where is not None:
        lines.append(f"where = {text_toml(spec_file.where)}")
    if spec_file.fixed:
        lines += ["", "[fixed]", *(f"{name} = {value_toml(name, value)}" for name, value in spec_file.fixed.items())]
    for grid in spec_file.grids:
        lines += ["", "[[grid]]", *(f"{name} = {value_toml(name, values)}" for name, values in grid.items())]
    if spec_file.sample is not None:
        lines += ["", *_sample_lines(spec_file.sample)]
    return "\n".join(lines) + "\n"


def _sample_lines(sample: Sample) -> list[str]:
    lines = ["[sample]", f"n = {sample.n}", f"method = {text_toml(sample.method)}", f"seed = {sample.seed}"]
    lines.append("[sample.ranges]")
    for name, span in sample.ranges.items():
        if isinstance(span, Range):
            ends = ((key, value_toml(name, getattr(span, key))) for key in ("low", "high", "step"))
            text = ", ".join(f"{key} = {value}" for key, value in ends)
            lines.append(f"{name} = {{ {text}, log = {str(span.log).lower()} }}")
        else:
            lines.append(f"{name} = {value_toml(name, span)}")
    return lines


def _read_toml(path: Path) -> dict[str, object]:
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise SpecError(f"longer than {MOST_BYTES >> 20} MiB; a spec is a short text")
        return tomllib.loads(content.decode("utf-8-sig"))  # some editors put a byte order mark first
    except SpecError:
        raise
    except UnicodeDecodeError:
        raise SpecError("not a text file; a spec is TOML in UTF-8") from None
    except (ValueError, RecursionError) as error:  # ValueError too: tomllib lets it through for numbers of 4300 digits
        raise SpecError(f"not TOML: {error}") from error
    except IsADirectoryError:
        raise SpecError("is a directory; give the spec file itself") from None
    except FileNotFoundError:
        raise SpecError("no such file; give the path of a spec (examples are in examples/)") from None
    except OSError as error:
        raise SpecError(f"cannot be read: {error.strerror}; give a file that can be") from error


def _read_name(document: Mapping[str, object]) -> str:
    name = document.get("name")
    if name is None:
        raise SpecError('name: missing; add a line like name = "cover-letter" at the top')
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise SpecError(
            f"name: {name!r} is not allowed, for it becomes a directory; allowed: letters, digits, '.', '_' and '-', "
            "starting with a letter or digit, 100 at most"
        )
    return name


def _read_where(document: Mapping[str, object]) -> str | None:
    where = document.get("where")
    if where is None:
        return None
    if not isinstance(where, str):
        raise SpecError(f'where: {where!r} is not allowed; allowed: SQL in a text, like "{EXAMPLE}"')
    where_fields(where)
    return where


def _read_fixed(table: object) -> dict[str, object]:
    fixed = {}
    with spec_place("[fixed]"):
        for name, value in _as_table("fixed", table).items():
            if isinstance(value, list):
                raise SpecError(f"{name}: {value!r} is a list; [fixed] takes one value, lists go into [[grid]]")
            fixed[name] = field_value(name, value)
    return fixed


def _read_grids(tables: object) -> tuple[Grid, ...]:
    if not isinstance(tables, list):
        raise SpecError("grid: not a list of tables; write [[grid]], with two brackets")
    grids = []
    for number, table in enumerate(tables, start=1):
        with spec_place(f"[[grid]] {number}"):
            grid = {name: field_values(name, values) for name, values in _as_table("grid", table).items()}
            if not grid:
                raise SpecError("the grid is empty; give it a field, like vcpus = [2, 4], or remove it")
        grids.append(grid)
    return tuple(grids)


def _read_sample(table: object) -> Sample:
    with spec_place("[sample]"):
        return read_sample(_as_table("sample", table))


def _as_table(key: str, value: object) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise SpecError(f"{value!r} is not a table; write [{key}] and below it lines like vcpus = 2")
    for name in value:
        if name in TOP_KEYS:
            raise SpecError(f"{name}: belongs to the top of the file; move it above the first table")
    return value


def _check_named_once(spec_file: SpecFile) -> None:
    """No field in [fixed] and in another table, no size said in two ways, no point in two grids."""
    sample = spec_file.sample
    places = [(f"[[grid]] {number}", grid) for number, grid in enumerate(spec_file.grids, start=1)]
    for place, axes in [*places, *([("[sample.ranges]", sample.ranges)] if sample else [])]:
        for name in axes:
            if name in spec_file.fixed:
                raise SpecError(f"{place}: {name} is in [fixed] too; keep one of them")
        if set(MEMORY_NAMES) <= {*axes, *spec_file.fixed}:
            raise SpecError(f"{place}: {' and '.join(MEMORY_NAMES)} say the same in two ways; keep one of them")
    for (place, grid), (other_place, other) in itertools.combinations(places, 2):
        point = shared_point(grid, other)
        if point is not None:
            words = " ".join(f"{name}={field_text(name, value)}" for name, value in point.items())
            raise SpecError(f"{other_place}: the point {words} is in {place} too; keep it in one of them")
