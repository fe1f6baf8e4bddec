"""`splitsweep compare`."""

from __future__ import annotations

from typing import Annotated

import typer


def compare(
    base: Annotated[str, typer.Argument(metavar="BASE", help="A dataset: a folder or a URI like s3://bucket/key.")],
    new: Annotated[
        str | None,
        typer.Argument(
            metavar="NEW", help="The dataset to compare with it.", show_default="BASE, with --base and --new"
        ),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            help="PHASE for its seconds, or PHASE.COLUMN, in all iterations; may be given several times.",
            show_default="all times, and of simulations all numbers",
        ),
    ] = None,
    where: Annotated[str | None, typer.Option(metavar="SQL", help="Condition that both sides have to meet.")] = None,
    threshold: Annotated[str, typer.Option(help="The least change of a measured number that matters.")] = "5%",
    base_where: Annotated[
        str | None, typer.Option("--base", metavar="SQL", help="What of BASE is the base, like \"label = 'a'\".")
    ] = None,
    new_where: Annotated[str | None, typer.Option("--new", metavar="SQL", help="What of NEW is new.")] = None,
    form: Annotated[str, typer.Option("--format", help="lkml, markdown, csv, json or junit.")] = "lkml",
) -> None:
    """Compare two datasets, or two selections of one, config by config.

    Configs are matched by their fields, without label and profile, and without fields that --base and --new set apart.
    Simulated numbers are exact: any difference is drift, and its reason is named. Measured numbers (live, kvm,
    imported) are judged by their repeats: a change counts when chance does not explain it and it is as large as the
    threshold, in one config or in a family of configs together. docs/nightly.md tells how.

    Exit codes: 0 nothing worse, 1 something is worse or simulated numbers drifted, 2 bad usage, 3 nothing could be
    compared.

    \b
    Example:
      splitsweep compare results/before results/after
      splitsweep compare results/live --base "label = 'v6.12'" --new "label = 'patched'" --metric dirty --threshold 3%
    """

    from sweep.comparison.compare import EXIT_CODES, compare_sides
    from sweep.comparison.formats import check_format, comparison_text
    from sweep.comparison.metrics import parse_choices
    from sweep.comparison.percent import parse_percent
    from sweep.comparison.side import read_side, selected_fields
    from sweep.errors import QueryError

    check_format(form)
    share = parse_percent("--threshold", threshold)
    choices = parse_choices(metric or [])
    if new is None and (base_where is None or new_where is None):
        raise QueryError("compare: one dataset needs two selections; give NEW, or both --base SQL and --new SQL")
    sides = [
        read_side(base, {"--where": where, "--base": base_where}, _named(base, base_where)),
        read_side(new or base, {"--where": where, "--new": new_where}, _named(new or base, new_where)),
    ]
    named = [name for name in selected_fields(base_where) if name in selected_fields(new_where)]
    comparison = compare_sides(sides[0], sides[1], threshold=share, choices=choices, named=named)
    for line in comparison_text(comparison, form):
        print(line)
    raise typer.Exit(EXIT_CODES[comparison.outcome])


def _named(location: str, selection: str | None) -> str:
    return location if selection is None else f"{location} ({selection})"
