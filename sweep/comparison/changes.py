"""Why two sides differ: what changed between them of profile, engine, host and kernel, in sentences.

Simulated numbers follow from the config, the profile's parameters and the engine. So where they drift, one of these has
changed, and it can be named; where none has, the engine changed without a new version, and that is said too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from core.costs.profile import PARAMETERS, load_profile
from core.errors import ProfileError
from sweep.comparison.side import Side

NAMES: Final = {
    "label": "label",
    "engine_version": "engine version",
    "host": "host",
    "kernel_release": "kernel",
    "git_revision": "splitsweep revision",
}

UNEXPLAINED: Final = (
    "unexplained: the profile and the engine version are the same on both sides, so the engine computes other numbers "
    "under an old version"
)


def changes(base: Side, new: Side) -> list[str]:
    """What differs between the origins of two sides, one thing a sentence; the parameters of profiles come first."""
    return [*_profile_changes(base, new), *_origin_changes(base, new)]


def is_explained(base: Side, new: Side) -> bool:
    """Whether profile or engine version differ, which is all that simulated numbers may differ for."""
    return any(base.origins(name) != new.origins(name) for name in ("profile_digest", "engine_version"))


def _origin_changes(base: Side, new: Side) -> Iterator[str]:
    for name, words in NAMES.items():
        before, after = base.origins(name), new.origins(name)
        if before != after and (before or after):
            yield f"{words} {_listed(before)} -> {_listed(after)}"


def _profile_changes(base: Side, new: Side) -> Iterator[str]:
    """Each parameter that differs; the digests alone where the content of a profile is no longer to be had."""
    before, after = base.origins("profile_digest"), new.origins("profile_digest")
    if before == after:
        return
    names = _listed(new.origins("profile"))
    if len(before) != 1 or len(after) != 1:
        yield f"profile {names}: content {_listed(before)} -> {_listed(after)}"
        return
    values, new_values = profile_values(base, before[0]), profile_values(new, after[0])
    if values is None or new_values is None:
        missing = ", ".join(digest for digest, known in ((before[0], values), (after[0], new_values)) if known is None)
        yield f"profile {names}: content {before[0]} -> {after[0]}; the parameters of {missing} are not to be had here"
        return
    differing = [name for name in PARAMETERS if values.get(name) != new_values.get(name)]
    if not differing:
        yield f"profile {names}: only the errors of its fit changed, and with them the 90% intervals"
    for name in differing:
        yield f"profile parameter {name} {_number(values.get(name))} -> {_number(new_values.get(name))}"


def profile_values(side: Side, digest: str) -> Mapping[str, float] | None:
    """The parameters of the profile of this content: of those that the side's runs name, as they are today."""
    if digest in side.profiles:
        return side.profiles[digest]
    for name in side.origins("profile"):
        try:
            profile = load_profile(name)
        except ProfileError:
            continue
        if profile.digest == digest:
            return profile.values
    return None


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.6g}"


def _listed(values: tuple[str, ...]) -> str:
    if not values:
        return "unknown"
    return ", ".join(values[:3]) + (f" and {len(values) - 3} more" if len(values) > 3 else "")
