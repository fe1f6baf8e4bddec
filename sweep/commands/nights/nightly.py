"""`splitsweep nightly`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from sweep.commands import Address, Binary, Overrides


def nightly(
    spec: Annotated[Path, typer.Argument(metavar="SPEC", help="The sweep of every night (TOML).")],
    overrides: Overrides = None,
    history: Annotated[
        str | None,
        typer.Option(metavar="DIR|URI", help="Where the nights are kept.", show_default="history/ and the spec's name"),
    ] = None,
    baseline: Annotated[
        str, typer.Option(metavar="NAME|best|last", help="What to compare with: a night, a revision or a label.")
    ] = "last",
    repeats: Annotated[
        int | None,
        typer.Option(min=1, help="Runs of each measured config.", show_default="10, unless the spec has its own"),
    ] = None,
    confirm: Annotated[bool, typer.Option(help="Run what looks worse again, alone, before saying that it is.")] = True,
    threshold: Annotated[str, typer.Option(help="The least change of a measured number that matters.")] = "5%",
    revision: Annotated[str | None, typer.Option(help="What is tested tonight, such as a kernel's commit.")] = None,
    notify: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            envvar="SPLITSWEEP_NOTIFY",
            help="Post the verdict there as JSON that Slack takes, too.",
            show_default=False,
        ),
    ] = None,
    address: Address = None,
    binary: Binary = None,
) -> None:
    """Run a sweep, add it to the history, compare it with an earlier night, and say in one word what came of it.

    ok, first, regressed, drifted, creeping (over the last nights), incomplete, other host, too few repeats, measured
    nothing: docs/nightly.md tells what each means. The night's folder in the history holds its dataset, summary.md,
    verdict.json, junit.xml and report.html.

    Exit codes: 0 ok or first, 1 regressed, drifted or creeping, 2 bad usage, 3 nothing could be said about the code.

    \b
    Example:
      splitsweep nightly examples/live.toml --history history/live --revision v6.12-rc3
    """
    from datetime import UTC, datetime
    from functools import partial

    from cluster.session import check_address
    from core.run import run_config
    from sweep.comparison.percent import parse_percent
    from sweep.history.nights import night_location
    from sweep.nightly.night import Request, keep, run_night
    from sweep.nightly.notify import check_url
    from sweep.nightly.notify import notify as post
    from sweep.nightly.outputs import headline, verdict_record, write_outputs
    from sweep.nightly.page import write_report
    from sweep.nightly.verdict import EXIT_CODES, Verdict
    from sweep.spec.configs import load_spec, resolved_text

    check_url(notify)
    if address is not None:
        check_address(address)
    share = parse_percent("--threshold", threshold)
    sweep = load_spec(spec, overrides or [])
    place = f"history/{sweep.name}" if history is None else history
    request = Request(
        sweep=sweep,
        spec_text=resolved_text(sweep),
        history=place,
        baseline=baseline,
        repeats=repeats,
        confirm=confirm,
        revision=revision,
        threshold=share,
        address=address,
        engine=partial(run_config, binary=binary),
    )
    result = run_night(request, datetime.now(UTC))
    if result.interrupted_by is not None:
        print("splitsweep: interrupted; this night is not part of the history", file=sys.stderr)
        raise typer.Exit(128 + result.interrupted_by)
    write_outputs(place, result)
    write_report(place, result)
    keep(request, result)
    print(headline(result))
    print(f"{night_location(place, result.night.name)}: report.html, summary.md, verdict.json, junit.xml")
    if notify is not None:
        record = {key: value for key, value in verdict_record(result).items() if key not in ("comparison", "confirmed")}
        failure = post(notify, {"text": headline(result), **record})
        if failure is not None:
            print(f"splitsweep: --notify: {failure}", file=sys.stderr)
    raise typer.Exit(EXIT_CODES[Verdict(result.night.verdict)])
