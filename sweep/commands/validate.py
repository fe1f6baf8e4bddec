"""`splitsweep validate`."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from core.config import Config
from sweep.errors import SweepError

if TYPE_CHECKING:
    from sweep.evidence.measurements import Measured

DEFAULT_PROFILE: Final = Config().profile


def validate(
    profile: Annotated[
        str | None,
        typer.Option(
            metavar="P",
            help="A profile that comes with splitsweep, or a TOML file.",
            show_default=f"that of each host, {DEFAULT_PROFILE} against own data, or the spec's",
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(metavar="DATA", help="Own measurements instead of the published ones: a CSV file or a dataset."),
    ] = None,
    where: Annotated[
        str | None, typer.Option(metavar="SQL", help="Which of the timings, as in \"mmu = 'tdp'\".")
    ] = None,
    cross_validate: Annotated[
        bool,
        typer.Option("--cross-validate", help="Predict each table, and each vCPU count, from a fit to the others too."),
    ] = False,
    live: Annotated[
        Path | None,
        typer.Option(metavar="SPEC", help="Run the configs of a spec on this host instead, beside their simulations."),
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Live runs of each config; tables show the median.")] = 3,
    form: Annotated[str, typer.Option("--format", help="lkml, markdown or csv.")] = "lkml",
) -> None:
    """Print every measured timing beside its prediction, with errors, intervals and summaries.

    The measurements are the published ones, at full size: half a minute on two CPUs. --cross-validate adds what counts
    for machines that nobody has measured: errors at data that the profile was not fitted to. It takes minutes.

    \b
    Example:
      splitsweep validate
      splitsweep validate --profile mine.toml --against measured.csv --cross-validate
      splitsweep validate --live examples/live.toml --profile host.toml
    """
    from core.costs.profile import load_profile
    from sweep.evidence.measurements import is_modelled, published_as_measured, read_measurements
    from sweep.evidence.selection import selected
    from sweep.evidence.validation import configs_to_run, predictions, run_all, with_profile
    from sweep.evidence.validation_text import check_form, csv_header, csv_lines, validation_text
    from sweep.running.progress import shown_progress

    check_form(form)
    if live is not None:
        if against is not None or cross_validate or where is not None:
            raise SweepError("--live measures this host now; leave out --against, --where and --cross-validate")
        _print_live(live, profile, repeats, form)
        return
    load_profile(profile or DEFAULT_PROFILE)  # what is wrong with it is said first
    measured = published_as_measured() if against is None else read_measurements(against)
    measured = selected(measured, where, against or "published")
    if where is None or against is not None:
        _say_what_is_left_out(measured, against)
    measured = tuple(filter(is_modelled, measured))
    if not measured:
        raise SweepError(f"{against}: holds nothing but times of populate, which is mostly the host's own work")
    if against is not None or profile is not None:
        timings = with_profile(measured, profile or DEFAULT_PROFILE)
    else:
        timings = list(measured)
    configs = configs_to_run(timings)
    with shown_progress(len(configs)) as report:
        found = predictions(timings, run_all(configs, report))
    if form == "csv":
        _print_lines([csv_header(found), *csv_lines(found)])
    else:
        _print_lines(validation_text(found, form))
    if cross_validate:
        _print_cross_validation(timings, form)


def _print_live(path: Path, profile: str | None, repeats: int, form: str) -> None:
    """Run the spec on this host, and print what came of it beside the simulations."""
    from core.costs.profile import load_profile
    from sweep.evidence.host.live_validation import compare, live_text
    from sweep.spec.configs import load_spec

    configs = load_spec(path).configs
    if profile is not None:
        load_profile(profile)  # what is wrong with it is said before anything runs
    print(f"{len(configs)} configs, {repeats} live runs of each; leave the machine alone meanwhile", file=sys.stderr)
    _print_lines(live_text(compare(configs, profile, repeats), form))


def _say_what_is_left_out(measured: Sequence[Measured], against: str | None) -> None:
    """Name the timings that no config predicts, and why."""
    from sweep.evidence.measurements import is_modelled, not_modelled

    if against is None:
        for reason, count in Counter(measurement.not_modelled for measurement in not_modelled()).items():
            print(f"left out: {count} published {'time' if count == 1 else 'times'}: {reason}", file=sys.stderr)
        return
    populate = sum(not is_modelled(timing) for timing in measured)
    if populate:
        print(f"left out: {populate} times of populate, which is mostly the host's own work", file=sys.stderr)


def _print_cross_validation(timings: Sequence[Measured], form: str) -> None:
    """How well fits to some of the timings predict the others: without each table, then without each vCPU count."""
    from sweep.evidence.validation import grouped, table_group, vcpu_group

    for of_profile in grouped(timings, lambda timing: timing.config.profile).values():
        _print_held_out("table", of_profile, table_group, form)
        _print_held_out("vCPU count", sorted(of_profile, key=lambda timing: timing.config.vcpus), vcpu_group, form)


def _print_held_out(what: str, timings: Sequence[Measured], group_of: Callable[[Measured], str], form: str) -> None:
    """Leave out one group of timings at a time; groups are printed in the order of `timings`."""
    from core.costs.profile import load_profile
    from sweep.evidence.fit import cross_validate, fit_profile, prior_for
    from sweep.evidence.validation import held_out
    from sweep.evidence.validation_text import csv_lines, summary_text

    profile = timings[0].config.profile
    groups = list(dict.fromkeys(map(group_of, timings)))
    if len(groups) == 1:
        print(f"cross-validation: no {what} to leave out, all is {groups[0]}", file=sys.stderr)
        return
    print(f"cross-validation: {len(groups)} fits, each without one {what}; this takes minutes", file=sys.stderr)
    base = load_profile(profile)
    fit = fit_profile(timings, base, prior_for(timings, load_profile(DEFAULT_PROFILE)))
    found = held_out(cross_validate(timings, fit, group_of), groups)
    if form == "csv":
        _print_lines(csv_lines([prediction for group in found.values() for prediction in group], left_out=what))
        return
    title = f"Cross-validation of {profile}: each {what} predicted by a profile fitted without it"
    _print_lines(["", *summary_text(title, "Left out", found, form)])


def _print_lines(lines: Iterable[str]) -> None:
    for line in lines:
        print(line, flush=True)  # what follows may take minutes
