"""`splitsweep calibrate`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sweep.errors import SweepError

if TYPE_CHECKING:
    from sweep.fit import Fit


def calibrate(
    data: Annotated[
        str,
        typer.Argument(metavar="DATA", help="published, a CSV in the form of published.csv, or a dataset (import)."),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="PROFILE.toml", help="The profile to write.")],
    base: Annotated[str, typer.Option(help="Profile that gives the parameters which are not fitted.")] = (
        "cascade-lake-2022"
    ),
) -> None:
    """Fit a cost profile to measured timings, and say which parameters they determine.

    Takes about a minute for the published timings. Use the profile with profile=PROFILE.toml in a spec or on the
    command line, and check it with validate.

    \b
    Example:
      splitsweep calibrate published -o my-profile.toml
      splitsweep validate --profile my-profile.toml
    """
    from core.profile import load_profile
    from core.run import warm_up
    from sweep.fit import FITTED, fit_profile
    from sweep.measurements import published_as_measured, read_measurements
    from sweep.profile_text import profile_text

    if output.suffix != ".toml":
        raise SweepError(f"-o {output}: a profile is a .toml file; allowed: a name that ends in .toml")
    if not output.absolute().parent.is_dir():
        raise SweepError(f"-o {output}: there is no folder {output.parent}; create it first")
    profile = load_profile(base)
    measured = published_as_measured() if data == "published" else read_measurements(data)
    warm_up()
    print(f"fitting {len(FITTED)} parameters to {len(measured)} timings ...", file=sys.stderr)
    fit = fit_profile(measured, profile, output.stem)
    output.write_text(profile_text(fit, f"Fitted by splitsweep calibrate to {len(measured)} timings: {data}"))
    for line in _report(fit):
        print(line)
    print(f"{output}: written")


def _report(fit: Fit) -> list[str]:
    """The parameters with their errors, and how close the fit comes to the data."""
    from statistics import median, quantiles

    from sweep.fit import FITTED

    lines = [f"{'parameter':32s} {'value':>12s}  standard error"]
    for parameter in FITTED:
        note = "" if fit.determined(parameter) else "  not determined by these timings"
        error = 100 * fit.standard_error(parameter)
        lines.append(f"{parameter:32s} {fit.profile[parameter]:12.4g}  {error:5.1f}%{note}")
    errors = [
        abs(float(predicted) / timing.seconds - 1) * 100
        for predicted, timing in zip(fit.predicted, fit.measured, strict=True)
    ]
    ninety = quantiles(errors, n=10)[-1] if len(errors) > 1 else errors[0]
    lines.append(
        f"errors of the fit: median {median(errors):.1f}%, 90th percentile {ninety:.1f}%, worst {max(errors):.1f}%"
    )
    return lines
