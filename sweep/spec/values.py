"""Single values of single fields, as a spec or a command line gives them.

A value is judged here on its own: whether any config may have it. Whether it goes together with the other fields of
a point is judged by `core.config.make_config` once `where` has had the chance to leave that point out.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from core.config import SIZES, check_field, field_text, parse_field
from core.errors import ConfigError
from sweep.errors import SpecError


def field_value(name: str, value: object) -> object:
    """`value` of field `name` with sizes as bytes; SpecError naming field, value and what is allowed."""
    try:
        return check_field(name, value)
    except ConfigError as error:
        raise SpecError(str(error)) from error


def field_values(name: str, values: object) -> tuple[object, ...]:
    """The values of a list (a single value is a list of one), each checked and none there twice."""
    listed = values if isinstance(values, list) else [values]
    if not listed:
        raise SpecError(f"{name}: the list is empty; give at least one value, or leave {name} out for its default")
    checked = tuple(field_value(name, value) for value in listed)
    if len(set(checked)) < len(checked):
        twice = next(value for position, value in enumerate(checked) if value in checked[:position])
        raise SpecError(f"{name}: {field_text(name, twice)} is there twice; name each value once")
    return checked


def parse_override(word: str) -> tuple[str, tuple[object, ...]]:
    """The field and the values of a command-line word `FIELD=V1,V2`."""
    name, equals, text = word.partition("=")
    if not equals or not name or not text:
        raise SpecError(f"{word!r} is no override; write FIELD=VALUE or FIELD=V1,V2, as in vcpus=2,4,8")
    try:
        return name, field_values(name, [parse_field(name, part) for part in text.split(",")])
    except (ConfigError, SpecError) as error:
        raise SpecError(f"override {word}: {str(error).removeprefix(f'{name}: ')}") from error


def value_toml(name: str, value: object) -> str:
    """The value, or the list of values, as TOML."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(value_toml(name, item) for item in value) + "]"
    if isinstance(value, str) or name in SIZES:
        return text_toml(field_text(name, value))
    return field_text(name, value)


def text_toml(text: str) -> str:
    """A TOML string: JSON's escapes are TOML's, except that TOML wants DEL escaped too."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
