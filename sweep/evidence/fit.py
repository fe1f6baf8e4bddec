"""Fitting a cost profile to measured timings, and saying how well the timings determine it.

Least squares on log ratios of predicted to measured seconds. A parameter the data say little about is held by what is
known without them: an order of magnitude, or its likeness to a sibling (splitting with and without rmap entries).
Those beliefs are weak beside data that do determine it; `Fit.determined` tells the two apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Final

import numpy as np
import numpy.typing as npt

from core.config import Config
from core.costs.interval import interval
from core.costs.laws import costs_of
from core.costs.profile import Profile, Uncertainty, profile_of
from core.rows import Row
from core.sim.engine import simulate
from sweep.evidence.measurements import Measured, longest_configs
from sweep.evidence.prediction import Known, cases_of, predict

Matrix = npt.NDArray[np.float64]

SCATTER: Final = 0.08
"""Standard deviation of one measured timing, in log units: neighbours of one configuration differ by 5 to 25%."""

STEP: Final = 0.02
"""Log step of the numerical derivatives: far above the rounding of costs to picoseconds."""

ROUNDS: Final = 15
"""Steps of the least squares; it converges in fewer."""

FARTHEST: Final = 20.0
"""Bound of every parameter: this many times more or less than what is believed."""

BELIEFS: Final[Mapping[str, tuple[float, float]]] = {
    "guest.read_ns": (10, 1.0),
    "guest.pml_entry_ns": (200, 1.0),
    "guest.contention": (0.3, 1.0),
    "guest.stagger_log2_ns": (500_000, 1.0),
    "guest.crowding": (1.0, 0.3),  # two threads on one CPU get half of it each
    "fault.outside_ns": (1000, 0.5),
    "fault.guest_walk_ns": (100, 1.0),
    "fault.sibling": (0.4, 0.5),  # two busy hyperthreads give 1.2 to 1.5 times the work of one
    "fault.shadow_map_ns": (200, 1.0),
    "lock.hand_base_ns": (20, 1.0),
    "lock.hand_log2_ns": (150, 1.0),
    "lock.line_ns": (100, 0.4),  # a cache line from another core, often of the other socket
    "ioctl.bitmap_page_ns": (0.05, 0.5),  # two bits, cleared at some GB/s
    "ioctl.scan_head_ns": (3, 1.0),
    "ioctl.split_rmap_ns": (40, 1.0),
    "ioctl.clear_page_dbit_ns": (30, 1.0),
    "ioctl.clear_split_protect_ns": (10, 0.3),  # what ioctl.protect_ns is: the same step in another walk
    "ioctl.clear_word_nested_ns": (60, 1.0),
    "ioctl.remote_scan": (1.0, 1.0),  # remote memory takes about twice as long
    "ioctl.remote_update": (1.0, 1.0),
}
"""What is known without the data: an order of magnitude, and its standard deviation in log units."""

LIKENESS: Final[Mapping[str, tuple[str, float, float]]] = {
    "fault.fast_ns": ("fault.outside_ns", 1.0, 0.15),
    "fault.shadow_fix_ns": ("fault.shadow_map_ns", 0.5, 0.3),
    "ioctl.scan_head_nested_ns": ("ioctl.scan_head_ns", 1.0, 0.2),
    "ioctl.split_tdp_ns": ("ioctl.split_rmap_ns", 0.8, 0.3),
    "ioctl.split_nested_ns": ("ioctl.split_rmap_ns", 0.8, 0.3),
    "ioctl.clear_page_tdp_ns": ("ioctl.clear_page_dbit_ns", 1.0, 0.3),
    "ioctl.clear_page_protect_ns": ("ioctl.clear_page_dbit_ns", 0.7, 0.3),
    "ioctl.clear_split_dbit_ns": ("ioctl.clear_page_dbit_ns", 1.5, 0.5),
}
"""Siblings: a parameter, the one it ought to resemble, their ratio, and its standard deviation in log units."""

GUEST_PHASES: Final = ("populate", "dirty", "after_disable")

FITTED: Final = (*BELIEFS, *LIKENESS)
"""The parameters that are fitted, 28 of them; the others keep the base profile's values."""


@dataclass(frozen=True, slots=True)
class Fit:
    """A fitted profile, and what the data say about it."""

    profile: Profile
    covariance: Matrix  # of the logarithms of FITTED
    measured: tuple[Measured, ...]
    predicted: Matrix  # seconds, with small memory

    def standard_error(self, parameter: str) -> float:
        """Relative standard error of a fitted parameter, from the Jacobian."""
        index = FITTED.index(parameter)
        return math.sqrt(self.covariance[index, index])

    def determined(self, parameter: str) -> bool:
        """Whether the data at least halve the uncertainty there was without them."""
        index = FITTED.index(parameter)
        return self.standard_error(parameter) < math.sqrt(_covariance_without_data()[index, index]) / 2


@dataclass(frozen=True, slots=True)
class HeldOut:
    """A measured timing and its prediction by a profile fitted without the group it belongs to."""

    measured: Measured
    group: str
    predicted: float
    low: float
    high: float


def fit_profile(measured: Sequence[Measured], base: Profile, name: str = "fitted") -> Fit:
    """Fit the parameters FITTED to `measured`, starting from what is believed; the others are those of `base`."""
    from scipy.optimize import least_squares

    cases = cases_of(measured)
    observed = np.log([timing.seconds for timing in measured])
    beliefs, believed = belief_rows()
    known: Known = {}

    def errors(point: Matrix) -> Matrix:
        residual = np.log(predict(cases, _profile(base, point), known)) - observed
        return np.concatenate([residual / SCATTER, beliefs @ point - believed])

    def derivative(point: Matrix) -> Matrix:
        known.clear()  # what other points needed; the simulations of this one are shared by most derivatives
        here = errors(point)[: len(observed)]
        columns = [(errors(point + step)[: len(observed)] - here) / STEP for step in STEP * np.eye(len(FITTED))]
        return np.vstack([np.column_stack(columns), beliefs])

    start = np.log([_believed(parameter) for parameter in FITTED])
    bounds = (start - math.log(FARTHEST), start + math.log(FARTHEST))
    found = least_squares(errors, start, derivative, bounds, x_scale=0.1, xtol=1e-4, ftol=1e-4, max_nfev=ROUNDS)
    covariance = np.asarray(np.linalg.inv(found.jac.T @ found.jac), np.float64)
    residual = found.fun[: len(observed)] * SCATTER
    uncertainty = _uncertainty(measured, residual, covariance)
    return Fit(_profile(base, found.x, name, uncertainty), covariance, tuple(measured), np.exp(residual + observed))


def cross_validate(
    measured: Sequence[Measured], base: Profile, group_of: Callable[[Measured], str], processes: int | None = None
) -> list[HeldOut]:
    """Predict every group of measurements from a fit to the others, in parallel processes."""
    groups = sorted({group_of(timing) for timing in measured})
    with ProcessPoolExecutor(processes, mp_context=get_context("forkserver")) as pool:
        futures = []
        for group in groups:
            inside = [timing for timing in measured if group_of(timing) == group]
            outside = [timing for timing in measured if group_of(timing) != group]
            futures.append(pool.submit(_held_out, inside, outside, base, group))
        return [held_out for future in futures for held_out in future.result()]


def _held_out(inside: list[Measured], outside: list[Measured], base: Profile, group: str) -> list[HeldOut]:
    """Predictions of `inside` by the fit to `outside`."""
    profile = fit_profile(outside, base).profile
    longest = longest_configs(inside)
    rows: dict[Config, list[Row]] = {}
    predictions = []
    for timing in inside:
        config = longest[timing.config]
        if config not in rows:
            rows[config] = simulate(config, costs_of(config, profile))
        row = next(row for row in rows[config] if (row["phase"], row["iteration"]) == (timing.phase, timing.iteration))
        low, high = interval(config, profile, row)
        predictions.append(HeldOut(timing, group, row["seconds"], low or 0.0, high or math.inf))
    return predictions


def belief_rows() -> tuple[Matrix, Matrix]:
    """What is known without data as equations for the logarithms of FITTED: rows, and what they ought to give."""
    rows = np.zeros((len(FITTED), len(FITTED)))
    values = np.zeros(len(FITTED))
    for index, (parameter, (value, deviation)) in enumerate(BELIEFS.items()):
        rows[index, FITTED.index(parameter)] = 1 / deviation
        values[index] = math.log(value) / deviation
    for index, (parameter, (sibling, ratio, deviation)) in enumerate(LIKENESS.items(), start=len(BELIEFS)):
        rows[index, FITTED.index(parameter)] = 1 / deviation
        rows[index, FITTED.index(sibling)] = -1 / deviation
        values[index] = math.log(ratio) / deviation
    return rows, values


def _covariance_without_data() -> Matrix:
    rows, _ = belief_rows()
    return np.asarray(np.linalg.inv(rows.T @ rows), np.float64)


def _believed(parameter: str) -> float:
    if parameter in BELIEFS:
        return BELIEFS[parameter][0]
    sibling, ratio, _ = LIKENESS[parameter]
    return ratio * _believed(sibling)


def _profile(base: Profile, point: Matrix, name: str = "candidate", uncertainty: Uncertainty | None = None) -> Profile:
    """The base profile with the fitted parameters at `point`."""
    fitted = dict(zip(FITTED, map(float, np.exp(point)), strict=True))
    return profile_of(name, dict(base.values) | fitted, name, uncertainty)


def _uncertainty(measured: Sequence[Measured], residual: Matrix, covariance: Matrix) -> Uncertainty:
    """The covariance, and the scatter of passes and of ioctls around the fit."""
    of_guest = np.array([timing.phase in GUEST_PHASES for timing in measured])
    freedom = math.sqrt(len(measured) / max(1, len(measured) - len(FITTED)))

    def scatter(which: npt.NDArray[np.bool_]) -> float:
        return float(np.sqrt(np.mean(residual[which] ** 2))) * freedom if which.any() else SCATTER

    rows = tuple(tuple(float(value) for value in row) for row in covariance)
    return Uncertainty(FITTED, rows, scatter_pass=scatter(of_guest), scatter_ioctl=scatter(~of_guest))
