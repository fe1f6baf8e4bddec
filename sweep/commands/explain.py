"""`splitsweep explain`."""

from __future__ import annotations

from typing import Annotated

import typer

from core.config import make_config, parse_field
from sweep.errors import SpecError
from sweep.showing.explain import WIDTH, explanation, print_explanation


def explain(
    words: Annotated[
        list[str] | None, typer.Argument(metavar="FIELD=V ...", help="Fields of the config; the rest have defaults.")
    ] = None,
) -> None:
    """Run one config here and tell where its time goes, phase by phase.

    \b
    Example:
      splitsweep explain mmu=legacy_tdp split=lazy vcpus=64 backing=1G initially_all_set=false
    """
    from rich.console import Console

    from core.run import run_config

    values: dict[str, object] = {}
    for word in words or []:
        name, equals, text = word.partition("=")
        if not equals:
            raise SpecError(f"{word!r} is not FIELD=VALUE; write it like vcpus=64")
        if name in values:
            raise SpecError(f"{name}: given twice; name each field once")
        values[name] = parse_field(name, text)
    config = make_config(values)
    print_explanation(explanation(config, run_config(config)), Console(width=WIDTH))
