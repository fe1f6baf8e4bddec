"""`splitsweep explain`."""

from __future__ import annotations

from typing import Annotated

import typer

from core.config import make_config, parse_field
from sweep.errors import SpecError


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

    from core.run import estimated_seconds, run_config, warm_up
    from sweep.running.waiting import shown_wait
    from sweep.showing.explain import WIDTH, explanation, machine_text, print_explanation

    values: dict[str, object] = {}
    for word in words or []:
        name, equals, text = word.partition("=")
        if not equals or not name:
            raise SpecError(f"{word!r} is not FIELD=VALUE; write it like vcpus=64")
        if name in values:
            raise SpecError(f"{name}: given twice; name each field once")
        values[name] = parse_field(name, text)
    config = make_config(values)
    if config.engine == "sim":
        with shown_wait("compiling the simulator, once for this version"):
            warm_up()
    doing = "simulating" if config.engine == "sim" else "measuring"
    with shown_wait(f"{doing} {machine_text(config)}", estimated_seconds(config)):
        rows = run_config(config)
    print_explanation(explanation(config, rows), Console(width=WIDTH))
