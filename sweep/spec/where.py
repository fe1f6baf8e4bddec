"""`where`: a SQL expression that says which points of a spec are wanted, evaluated by DuckDB.

A spec may come from anyone, so the expression must reach nothing but the fields. Two fences: DuckDB parses it into a
tree of which only the node kinds and functions listed here are let through (no subqueries, no table functions, no
second statement), and it runs on an in-memory database that may not open files and whose settings are locked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from core.config import FIELDS, NAMES, RENAMED
from core.sizes import parse_size
from sweep.errors import SpecError

if TYPE_CHECKING:
    import duckdb

EXAMPLE: Final = "mmu = 'tdp' AND vcpus <= 64"

NODES: Final = frozenset(
    {"COMPARISON", "CONJUNCTION", "CONSTANT", "COLUMN_REF", "OPERATOR", "BETWEEN", "CASE", "FUNCTION"}
)
"""Node kinds of DuckDB's syntax tree that read nothing but their operands."""

OPERATORS: Final = frozenset({"+", "-", "*", "/", "//", "%", "**", "&", "|", "<<", ">>", "~~", "!~~"})
"""Functions that are written as operators; ~~ is LIKE."""

FUNCTIONS: Final = ("abs", "mod", "least", "greatest", "log2", "power")

_QUOTED_SIZE: Final = re.compile(r"'(\d+(?:\.\d+)?\s*(?:KiB|MiB|GiB|TiB))'")


SPEC_FIELDS: Final[Mapping[str, Any]] = {name: FIELDS.get(name, int) for name in NAMES}
"""What a spec may name, with the type: every field, and mem_total."""


def where_fields(where: str, fields: Mapping[str, Any] = SPEC_FIELDS) -> tuple[str, ...]:
    """The fields that `where` names, in the order of the fields; SpecError unless it is one plain expression.

    `fields` are those that it may name, with their types; results have more to name than specs.
    """
    if not where.strip():
        raise SpecError(f"where: empty; write a condition like {EXAMPLE}, or leave it out")
    named = set()
    for node in _expression_nodes(where):
        if node["class"] == "COLUMN_REF":
            named.add(_field(node["column_names"], fields))
        elif node["class"] == "FUNCTION" and node["function_name"] not in OPERATORS.union(FUNCTIONS):
            raise SpecError(f"where: {_function_text(node)} is not allowed; allowed: operators, {', '.join(FUNCTIONS)}")
        elif node["class"] not in NODES:
            kind = node["class"].lower().replace("_", " ")
            raise SpecError(f"where: no {kind} here; allowed: one expression over the fields, like {EXAMPLE}")
    if not named:
        raise SpecError(f"where: {where!r} names no field; write a condition like {EXAMPLE}")
    return tuple(name for name in fields if name in named)


def rows_matching(
    where: str, columns: Mapping[str, Sequence[object]], fields: Mapping[str, Any] = SPEC_FIELDS
) -> list[bool]:
    """For each row of `columns` (the fields that `where_fields` names) whether `where` is true of it."""
    import duckdb
    import pyarrow

    types = {name: pyarrow.array([], type=_arrow_type(fields[name])).type for name in columns}
    table = pyarrow.table({name: pyarrow.array(values, type=types[name]) for name, values in columns.items()})
    with _fenced_database() as database:
        database.register("fields", table)
        try:
            result = database.execute(f"SELECT (\n{_sizes_as_bytes(where)}\n) FROM fields")
            kind = str(result.description[0][1])
            values = [row[0] for row in result.fetchall()]
        except duckdb.Error as error:
            raise SpecError(f"where: {_first_line(error)}") from error
    if kind != "BOOLEAN":
        raise SpecError(f"where: {where!r} is neither true nor false but {kind}; write a condition like {EXAMPLE}")
    return [value is True for value in values]


def _expression_nodes(where: str) -> list[dict[str, Any]]:
    """The nodes of the syntax tree of `where`, once it is sure that it is nothing but an expression."""
    import duckdb

    try:
        with _fenced_database() as database:
            parsed, empty = (_syntax_tree(database, text) for text in (_sizes_as_bytes(where), "true"))
            nodes = [] if parsed["error"] else list(_nodes(parsed["statements"]))
    except duckdb.Error as error:
        raise SpecError(f"where: {_first_line(error)}") from error
    except RecursionError:
        raise SpecError("where: nested too deeply; write fewer parentheses") from None
    if parsed["error"]:
        raise SpecError(f"where: {parsed['error_message']}; write a condition like {EXAMPLE}")
    if not nodes or _surroundings(parsed) != _surroundings(empty):
        raise SpecError(f"where: not a single expression; allowed: one expression over the fields, like {EXAMPLE}")
    return nodes


def _syntax_tree(database: duckdb.DuckDBPyConnection, expression: str) -> dict[str, Any]:
    # The line breaks keep a trailing comment from swallowing the closing parenthesis.
    found = database.execute("SELECT json_serialize_sql($1)", [f"SELECT (\n{expression}\n)"]).fetchone()
    assert found is not None  # a SELECT without FROM has one row
    tree: dict[str, Any] = json.loads(found[0])
    return tree


def _surroundings(tree: dict[str, Any]) -> object:
    """The statements around the one selected expression: a FROM, a second statement or column would show here."""
    return [
        {key: len(part) if key == "select_list" else part for key, part in statement["node"].items()}
        for statement in tree["statements"]
    ]


def _nodes(tree: object) -> Iterator[dict[str, Any]]:
    """Every expression node of a syntax tree."""
    if isinstance(tree, dict):
        if "class" in tree:
            yield tree
        tree = list(tree.values())
    if isinstance(tree, list):
        for part in tree:
            yield from _nodes(part)


def _field(column_names: Sequence[str], fields: Collection[str]) -> str:
    written = ".".join(column_names)
    if written.lower() in RENAMED:
        raise SpecError(f"where: {written} is called {RENAMED[written.lower()]} now")
    if written.lower() not in fields:
        raise SpecError(
            f"where: no field {written} (texts go in single quotes, like mmu = 'tdp'); fields: {', '.join(fields)}"
        )
    return written.lower()


def _function_text(node: dict[str, Any]) -> str:
    if node["function_name"] == "row":
        return "a list of values"
    return f"the function {node['function_name']}()"


def _sizes_as_bytes(where: str) -> str:
    """`mem_per_vcpu >= '1GiB'` as a comparison of numbers; no field has a text that looks like such a size."""
    try:
        return _QUOTED_SIZE.sub(lambda match: str(parse_size(match[1])), where)
    except ValueError as error:
        raise SpecError(f"where: {str(error)[:200]}") from None


def _fenced_database() -> duckdb.DuckDBPyConnection:
    import duckdb

    return duckdb.connect(
        ":memory:", config={"enable_external_access": "false", "lock_configuration": "true", "threads": "1"}
    )


def _arrow_type(kind: object) -> Any:
    import pyarrow

    return pyarrow.int64() if kind is int else pyarrow.bool_() if kind is bool else pyarrow.string()


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
