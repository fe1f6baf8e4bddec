"""Single values of single fields, as a spec or a command line gives them.

A value is judged here on its own: whether any config may have it. Whether it goes together with the other fields of
a point is judged by `core.config.make_config` once `where` has had the chance to leave that point out.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from core.config import BOUNDS, FIELDS, make_config, parse_field
from core.errors import ConfigError
from core.sizes import format_size, parse_size
from sweep.errors import SpecError


def field_value(name: str, value: object) -> object:
    """`value` of field `name` with sizes as bytes; SpecError naming field, value and what is allowed."""
    try:
        return _checked(name, value)
    except ConfigError as error:
        raise SpecError(str(error)) from error


def field_values(name: str, values: object) -> tuple[object, ...]:
    """The values of a list (a single value is a list of one), each checked and none there twice."""
    listed = values if isinstance(values, list) else [values]
    if not listed:
        raise SpecError(f"{name}: the list is empty; give at least one value, or leave {name} out for its default")
    checked = tuple(field_value(name, value) for value in listed)
    for position, value in enumerate(checked):
        if value in checked[:position]:
            raise SpecError(f"{name}: {value_word(name, value)} is there twice; name each value once")
    return checked


def parse_override(word: str) -> tuple[str, tuple[object, ...]]:
    """The field and the values of a command-line word `FIELD=V1,V2`."""
    name, equals, text = word.partition("=")
    if not equals or not name or not text:
        raise SpecError(f"{word!r} is no override; write FIELD=VALUE or FIELD=V1,V2, as in vcpus=2,4,8")
    try:
        return name, field_values(name, [parse_field(name, part) for part in text.split(",")])
    except (ConfigError, SpecError) as error:
        raise SpecError(f"override {word}: {error}") from error


def value_word(name: str, value: object) -> str:
    """The value as it is typed on the command line; `parse_field` reads it back."""
    if name == "mem_per_vcpu" and isinstance(value, int):
        return size_text(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def value_toml(name: str, value: object) -> str:
    """The value, or the list of values, as TOML."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(value_toml(name, item) for item in value) + "]"
    if name == "mem_per_vcpu" and isinstance(value, int):
        return text_toml(size_text(value))
    return text_toml(value) if isinstance(value, str) else value_word(name, value)


def text_toml(text: str) -> str:
    """A TOML string: JSON's escapes are TOML's, except that TOML wants DEL escaped too."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def size_text(size: int) -> str:
    """A size as people write it, in plain bytes where the short form would be rounded."""
    text = format_size(size)
    try:
        exact = parse_size(text) == size
    except ValueError:
        exact = False
    return text if exact else f"{size}B"


def _checked(name: str, value: object) -> object:
    kind = FIELDS.get(name)
    if name == "mem_per_vcpu" and type(value) is int:
        return parse_field(name, f"{value}B") if value > 0 else make_config({name: value})
    if name == "kernel" and isinstance(value, float):
        return parse_field(name, str(value))  # kernel = 6.12 reads as a number in TOML
    if name in BOUNDS and type(value) is int and BOUNDS[name][0] <= value <= BOUNDS[name][1]:
        return value
    if kind is bool and isinstance(value, bool):
        return value
    if isinstance(value, str) and kind is not None and (kind not in (int, bool) or name == "mem_per_vcpu"):
        return parse_field(name, value)
    # No config may have it, so core refuses it whatever the other fields are, and says why.
    make_config({name: value})
    raise AssertionError(f"core accepts {name} = {value!r}")
