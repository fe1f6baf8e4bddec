"""`splitsweep calibrate`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from core.config import config_text
from sweep.errors import SweepError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.costs.profile import Profile
    from sweep.evidence.fit import Fit
    from sweep.evidence.measurements import Measured


def calibrate(
    data: Annotated[
        str | None,
        typer.Argument(metavar="DATA", help="published, published:HOST, a CSV like published.csv, or a dataset."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="PROFILE.toml", help="The profile to write (--host: host.toml)."),
    ] = None,
    base: Annotated[str, typer.Option(help="Profile of another host: what the timings do not tell is as there.")] = (
        "cascade-lake-2022"
    ),
    where: Annotated[
        str | None, typer.Option(metavar="SQL", help="Which of the timings, as in \"host = 'hv7'\".")
    ] = None,
    host: Annotated[bool, typer.Option("--host", help="Measure this host with the live engine instead.")] = False,
    memory: Annotated[
        str, typer.Option(metavar="SIZE", help="With --host: guest memory; more takes longer and errs less.")
    ] = "256MiB",
    repeats: Annotated[int, typer.Option(min=1, help="With --host: runs of each config.")] = 5,
) -> None:
    """Fit a cost profile to measured timings, and say which parameters they determine.

    What the timings do not determine stays near the base profile and is named; populate is left out, and a timing that
    fits badly weighs less. Of timings of several hosts --where says which one's. Takes about a minute for the published
    timings. Use the profile with profile=PROFILE.toml in a spec or on the command line, and check it with validate.
    --host takes no timings: it measures the live engine's own costs on this machine, which should do nothing else
    meanwhile, in about half a minute.

    \b
    Example:
      splitsweep calibrate published -o my-profile.toml
      splitsweep validate --profile my-profile.toml
      splitsweep calibrate --host -o host.toml
      splitsweep validate --live examples/live.toml --profile host.toml
    """
    from core.costs.profile import load_profile

    if host == (data is not None):
        raise SweepError("calibrate: give either DATA (published, a CSV or a dataset) or --host")
    if host and where is not None:
        raise SweepError("--where chooses among timings; --host takes none")
    if output is None:
        if not host:
            raise SweepError("Missing option '-o': the profile to write, as in -o mine.toml")
        output = Path("host.toml")
    if output.suffix != ".toml":
        raise SweepError(f"-o {output}: a profile is a .toml file; allowed: a name that ends in .toml")
    if not output.absolute().parent.is_dir():
        raise SweepError(f"-o {output}: there is no folder {output.parent}; create it first")
    profile = load_profile(base)
    text, report = _measured_host(profile, memory, repeats) if data is None else _fitted(data, where, profile, output)
    output.write_text(text)
    for line in report:
        print(line)
    print(f"{output}: written")


def _fitted(data: str, where: str | None, base: Profile, output: Path) -> tuple[str, list[str]]:
    """The profile fitted to timings as a file's text, and what is said of it."""
    from core.run import warm_up
    from sweep.evidence.fit import FITTED, fit_profile, prior_for
    from sweep.evidence.measurements import is_modelled
    from sweep.evidence.profile_text import profile_text
    from sweep.evidence.selection import check_one_host, selected

    found = selected(_timings(data), where, data)
    check_one_host(found, data)
    measured = [timing for timing in found if is_modelled(timing)]
    if not measured:
        raise SweepError(f"{data}: holds nothing but times of populate, which is mostly the host's own work")
    warm_up()
    left_out = len(found) - len(measured)
    populate = f", without {left_out} of populate, which is mostly the host's own work" if left_out else ""
    print(f"fitting up to {len(FITTED)} parameters to {len(measured)} timings{populate} ...", file=sys.stderr)
    fit = fit_profile(measured, base, prior_for(measured, base), output.stem)
    chosen = data if where is None else f"{data} where {' '.join(where.split())}"
    return profile_text(fit, f"Fitted by splitsweep calibrate to {len(measured)} timings: {chosen}"), _report(fit, base)


def _timings(data: str) -> Sequence[Measured]:
    """The timings that DATA names."""
    from sweep.evidence.measurements import published_as_measured, read_measurements
    from sweep.published.timings import DEFAULT_HOST, published_hosts

    word, _, host = data.partition(":")
    if word != "published":
        return read_measurements(data)
    measured = published_as_measured(host or DEFAULT_HOST)
    if not measured:
        raise SweepError(f"{data}: nothing was published of {host}; allowed: {', '.join(sorted(published_hosts()))}")
    return measured


def _measured_host(base: Profile, memory: str, repeats: int) -> tuple[str, list[str]]:
    """The profile of this host as a file's text, and what is said of it."""
    from core.config import check_field
    from core.live.processes.errors import LiveError
    from core.live.processes.segment import check_host
    from core.run import warm_up

    size = check_field("mem_per_vcpu", memory)
    assert isinstance(size, int)
    try:
        check_host()
        from sweep.evidence.host.calibration import calibrate_host
        from sweep.evidence.host.profile_text import host_profile_text, residual_text, value_lines

        print("measuring this host; leave it alone meanwhile ...", file=sys.stderr)
        warm_up()
        fit = calibrate_host(base, size, repeats)
    except LiveError as error:
        raise SweepError(f"--host: {error}") from error
    report = [f"{name:32s} {value:12.4g}  {evidence}" for name, value, evidence in value_lines(fit, base.name)]
    report.append(f"{len(fit.residuals)} measured times, missed by {residual_text(fit)}")
    if not fit.two_cpus:
        report.append(f"only one CPU here: what needs two (lock.line_ns, lock.hand_base_ns) is {base.name}'s")
    return host_profile_text(fit, base.name, size, repeats), report


def _report(fit: Fit, base: Profile) -> list[str]:
    """The parameters with their errors, what they rest on, and how close the fit comes to the data."""
    from statistics import median, quantiles

    from sweep.evidence.fit import FITTED, outliers

    lines = [f"{'parameter':32s} {'value':>12s}  standard error"]
    for parameter in FITTED:
        note = "" if fit.determined(parameter) else "  not determined by these timings"
        error = 100 * fit.standard_error(parameter)
        lines.append(f"{parameter:32s} {fit.profile[parameter]:12.4g}  {error:5.1f}%{note}")
    undetermined = [parameter for parameter in FITTED if not fit.determined(parameter)]
    if undetermined:
        lines.append(
            f"{len(undetermined)} of {len(FITTED)} parameters are not determined by these timings: they stay near what "
            f"is known without them ({base.name}), and predictions that rest on them are said to be so"
        )
    for timing, predicted in outliers(fit):
        name = timing.phase if timing.iteration is None else f"{timing.phase} {timing.iteration}"
        lines.append(
            f"does not fit, and weighs less: {name} of {config_text(timing.config)}: {timing.seconds:.4g} s measured, "
            f"{predicted:.4g} s by the fit"
        )
    errors = [
        abs(float(predicted) / timing.seconds - 1) * 100
        for predicted, timing in zip(fit.predicted, fit.measured, strict=True)
    ]
    ninety = quantiles(errors, n=10, method="inclusive")[-1] if len(errors) > 1 else errors[0]
    lines.append(
        f"errors of the fit: median {median(errors):.1f}%, 90th percentile {ninety:.1f}%, worst {max(errors):.1f}%"
    )
    return lines
