"""A fitted profile as a TOML file: every value with its meaning, and how far the data determine it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING

from core.costs.profile import PARAMETERS

if TYPE_CHECKING:
    from sweep.evidence.fit import Fit


def profile_text(fit: Fit, heading: str) -> str:
    """The file's content; `heading` says what the profile was fitted to."""
    return "\n".join(_lines(fit, heading)) + "\n"


def _lines(fit: Fit, heading: str) -> Iterator[str]:
    yield f"# {heading}"
    yield "# Nanoseconds unless a name says otherwise. [fit +-x%]: fitted, with its relative standard error; (weak):"
    yield "# the data hardly determine it. [assumed]: not fitted; docs/model.md says where it comes from."
    for section, parameters in groupby(PARAMETERS, key=lambda parameter: parameter.split(".")[0]):
        yield ""
        yield f"[{section}]"
        for parameter in parameters:
            value = f"{parameter.split('.')[1]} = {fit.profile[parameter]:.6g}"
            yield f"{value:34s}# {_evidence(fit, parameter)} {PARAMETERS[parameter]}"
    uncertainty = fit.profile.uncertainty
    assert uncertainty is not None  # every fit has one
    yield ""
    yield "# What the 90% intervals are made from: the scatter of the measurements around the fit, the parameters that"
    yield "# they hardly determine, and the covariance of all parameters that cost time, nearly of their logarithms"
    yield "# (core/costs/beliefs.py), in the order of the list."
    yield "[fit]"
    yield f"scatter_pass = {uncertainty.scatter_pass:.4f}"
    yield f"scatter_ioctl = {uncertainty.scatter_ioctl:.4f}"
    for name, listed in (("undetermined", uncertainty.undetermined), ("parameters", uncertainty.parameters)):
        yield f"{name} = ["
        yield from (f'    "{parameter}",' for parameter in listed)
        yield "]"
    yield "covariance = ["
    for row in uncertainty.covariance:
        yield f"    [{', '.join(f'{value:.3e}' for value in row)}],"
    yield "]"


def _evidence(fit: Fit, parameter: str) -> str:
    if fit.profile.uncertainty is None or parameter not in fit.profile.uncertainty.parameters:
        return "[assumed]"
    weak = "" if fit.determined(parameter) else " (weak)"
    return f"[fit +-{100 * fit.standard_error(parameter):.0f}%]{weak}"
