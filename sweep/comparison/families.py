"""Families: configs that have something in common, since a change of the code seldom hits one config alone.

With 10% noise and ten repeats no single config of two hundred can show a slowdown of 10%; the 25 that share
`mmu=shadow split=lazy` show it together beyond doubt. So all configs that share the value of one field, or of two, are
tested as one, and what is reported is the family that shows the change most clearly.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

Config = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Family:
    """Configs by their place in the list they were found in, and the values that they share; none for all of them."""

    shared: Mapping[str, object]
    members: tuple[int, ...]


def families(configs: Sequence[Config]) -> list[Family]:
    """All families of at least two configs, the simplest name first where several names mean the same configs."""
    if len(configs) < 2:
        return []
    found = {tuple(range(len(configs))): Family({}, tuple(range(len(configs))))}
    varying = [name for name in configs[0] if len({config[name] for config in configs}) > 1]
    for count in (1, 2):
        for names in itertools.combinations(varying, count):
            for values, members in _groups(configs, names):
                if len(members) > 1:
                    found.setdefault(members, Family(dict(zip(names, values, strict=True)), members))
    return list(found.values())


def _groups(configs: Sequence[Config], names: Sequence[str]) -> Iterator[tuple[tuple[object, ...], tuple[int, ...]]]:
    groups: dict[tuple[object, ...], list[int]] = {}
    for place, config in enumerate(configs):
        groups.setdefault(tuple(config[name] for name in names), []).append(place)
    for values, members in groups.items():
        yield values, tuple(members)
