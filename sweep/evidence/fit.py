"""Fitting a cost profile to measured timings, and saying how well the timings determine it.

The most probable parameters, given what was known before and the logarithms of measured times. What was known before is
an order of magnitude for each cost (core.costs.beliefs), or the profile of another host: costs of two hosts are much
alike, and faster or slower together. Where the timings say little, the fit stays there, and its covariance says how far
off that may be. A timing that fits badly weighs less, so that one disturbed run does not spoil a profile.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from core.config import Config
from core.costs.beliefs import BELIEFS, LIKENESS, coordinate, value_at
from core.costs.interval import NORMAL_90, interval, is_determined
from core.costs.laws import costs_of
from core.costs.profile import Profile, Uncertainty, profile_of
from core.rows import Row
from core.sim.engine import simulate
from sweep.evidence.measurements import Measured, longest_configs
from sweep.evidence.prediction import GUEST_PHASES, Case, cases_of, linearised, predict

Matrix = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

FITTED: Final = tuple(BELIEFS)
"""The parameters that a fit moves: all costs. machine.* and live.* are those of the base profile."""

SCATTER: Final = 0.05
"""What one measured timing is taken to scatter by, in log units, before the timings themselves tell."""

SCATTER_WEIGHT: Final = 1.0
"""That belief weighs as much as one timing: exact times are followed, noisy ones are not."""

LEAST_SCATTER: Final = 0.002
"""Two runs of one config are never closer."""

TRUSTED: Final = 0.785
"""The part of the square of a normal residual that such weights leave, on average."""

OUTLIER: Final = 2.0
"""Beyond so many times its scatter a timing's pull hardly grows any more."""

KNOWN_VARIANCE: Final = 0.2**2
"""Of the logarithm of a prediction that a fit without its table determines."""

ROUNDS: Final = 25
"""Steps of a fit; it converges in fewer."""

LONGEST_STEP: Final = 1.0

LEAST_GAIN: Final = 0.1
"""A step that makes the parameters less than so much more probable (the logarithm of that) is the last ..."""

SETTLED: Final = 0.05
"""... once the scatter does not change by more than this part."""

HOSTS_ALIKE: Final = 0.25
"""How far a cost of another host is off, as the standard deviation of its logarithm ..."""

HOSTS_TOGETHER: Final = 0.2
"""... and how far all of its costs are off together, because it is faster or slower."""

SECTIONS_TOGETHER: Final = 0.15
"""... and all costs of a section of the profile."""

FREE: Final = 3.0
"""Deviation of a cost that the base profile has at 0: free to be anything up to what such a cost usually is."""

RATIOS: Final = ("guest.contention", "guest.crowding", "fault.sibling", "ioctl.clear_since_6_4")
"""Parameters that are no times, and not faster on a faster host; nor are ioctl.remote_*."""


@dataclass(frozen=True, slots=True)
class Prior:
    """What is known without the timings: the coordinates of FITTED, and their covariance."""

    center: Matrix
    covariance: Matrix


@dataclass(frozen=True, slots=True)
class Fit:
    """A fitted profile, and what the data say about it."""

    profile: Profile
    place: Matrix  # the coordinates of FITTED
    covariance: Matrix
    prior: Prior
    measured: tuple[Measured, ...]
    predicted: Matrix  # seconds, with small memory

    def standard_error(self, parameter: str) -> float:
        """Standard error of a parameter, of its logarithm nearly."""
        index = FITTED.index(parameter)
        return math.sqrt(self.covariance[index, index])

    def determined(self, parameter: str) -> bool:
        """Whether the data at least halve the uncertainty there was without them."""
        return _is_determined(self.covariance, self.prior, FITTED.index(parameter))


@dataclass(frozen=True, slots=True)
class HeldOut:
    """A measured timing and its prediction by a profile fitted without the group it belongs to."""

    measured: Measured
    group: str
    predicted: float
    low: float
    high: float
    determined: bool = True


def believed() -> Prior:
    """What is known of a host that nothing was measured on yet."""
    center = np.array([coordinate(parameter, usual) for parameter, (usual, _) in BELIEFS.items()])
    precision = np.diag([deviation**-2 for _, deviation in BELIEFS.values()])
    for parameter, (sibling, deviation) in LIKENESS.items():
        alike = np.zeros(len(FITTED))
        alike[FITTED.index(parameter)], alike[FITTED.index(sibling)] = 1.0, -1.0
        precision += np.outer(alike, alike) / deviation**2
    return Prior(center, np.asarray(np.linalg.inv(precision), np.float64))


def near(base: Profile) -> Prior:
    """What is known of a host like that of `base`: its costs, and that hosts differ."""
    center = np.array([coordinate(parameter, base[parameter]) for parameter in FITTED])
    covariance = np.diag(np.full(len(FITTED), HOSTS_ALIKE**2))
    times = np.array([parameter not in RATIOS and "remote" not in parameter for parameter in FITTED], float)
    sections = np.array([[_section(one) == _section(other) for one in FITTED] for other in FITTED], float)
    covariance += np.outer(times, times) * (HOSTS_TOGETHER**2 + SECTIONS_TOGETHER**2 * sections)
    unknown = [base[parameter] < BELIEFS[parameter][0] / 100 for parameter in FITTED]
    covariance += np.diag(np.where(unknown, FREE**2, 0.0))
    if base.uncertainty is not None and base.uncertainty.parameters == FITTED:
        covariance += np.array(base.uncertainty.covariance)
    return Prior(center, covariance)


def prior_for(measured: Sequence[Measured], base: Profile) -> Prior:
    """What is known before the timings: nothing of their host if `base` is that host's, else how `base`'s is."""
    return believed() if all(timing.host == base.name for timing in measured) else near(base)


def fit_profile(measured: Sequence[Measured], base: Profile, prior: Prior, name: str = "fitted") -> Fit:
    """The profile that the timings and `prior` make most probable; what is not fitted is that of `base`."""
    problem = _problem_of(measured, base, prior)
    return _solved(problem, prior.center, np.ones(len(measured), np.bool_), name)


@dataclass(frozen=True, slots=True)
class _Problem:
    """What a fit is made from; several fits to parts of the timings share what was simulated for one."""

    measured: tuple[Measured, ...]
    cases: list[Case]
    observed: Matrix  # logarithms of the measured seconds
    of_guest: Mask
    base: Profile
    prior: Prior


def _problem_of(measured: Sequence[Measured], base: Profile, prior: Prior) -> _Problem:
    observed = np.log([timing.seconds for timing in measured])
    of_guest = np.array([timing.phase in GUEST_PHASES for timing in measured])
    return _Problem(tuple(measured), cases_of(measured), observed, of_guest, base, prior)


def _solved(problem: _Problem, start: Matrix, used: Mask, name: str) -> Fit:
    """The fit to the timings that are `used`, begun at `start`."""
    prior, of_guest = problem.prior, problem.of_guest
    lowest = np.array([coordinate(parameter, 0.0) for parameter in FITTED])
    precision = np.asarray(np.linalg.inv(prior.covariance), np.float64)
    scatters = (SCATTER, SCATTER)
    scatter = np.full(len(used), SCATTER)

    def badness(there: Matrix) -> float:
        off = there - prior.center
        residual = np.log(predict(problem.cases, profile_at(problem.base, there))) - problem.observed
        return _loss(residual[used], scatter[used]) + float(off @ precision @ off) / 2

    place = start
    residual, moves = _residual(problem, place)
    for _ in range(ROUNDS):
        weights = _weights(residual, scatter) * used
        information = precision + (moves.T * weights) @ moves
        pull = precision @ (place - prior.center) + moves.T @ (weights * residual)
        step = -np.asarray(np.linalg.solve(information, pull), np.float64)
        longest = float(np.abs(step).max())
        place, gain = _improved(badness, place, step * min(1.0, LONGEST_STEP / max(1e-12, longest)), lowest)
        residual, moves = _residual(problem, place)
        before = scatters
        freedoms = (
            _freedom(moves, weights, information, used & of_guest),
            _freedom(moves, weights, information, used & ~of_guest),
        )
        scatters = (
            _scatter(residual, weights, freedoms[0], used & of_guest),
            _scatter(residual, weights, freedoms[1], used & ~of_guest),
        )
        scatter = np.where(of_guest, *scatters)
        settled = all(abs(now / then - 1) < SETTLED for now, then in zip(scatters, before, strict=True))
        if settled and gain < LEAST_GAIN:
            break
    scatters = (scatters[0] * _widening(freedoms[0]), scatters[1] * _widening(freedoms[1]))
    weights = _weights(residual, np.where(of_guest, *scatters)) * used
    covariance = np.asarray(np.linalg.inv(precision + (moves.T * weights) @ moves), np.float64)
    tables = [timing.table if is_used else None for timing, is_used in zip(problem.measured, used, strict=True)]
    uncertainty = Uncertainty(
        FITTED,
        tuple(tuple(float(value) for value in row) for row in covariance),
        scatter_pass=max(scatters[0], _scatter_between_tables(residual, moves, weights, precision, tables, of_guest)),
        scatter_ioctl=max(scatters[1], _scatter_between_tables(residual, moves, weights, precision, tables, ~of_guest)),
        undetermined=tuple(
            parameter for index, parameter in enumerate(FITTED) if not _is_determined(covariance, prior, index)
        ),
    )
    profile = profile_at(problem.base, place, name, uncertainty)
    return Fit(profile, place, covariance, prior, problem.measured, np.exp(residual + problem.observed))


def profile_at(
    base: Profile, place: Matrix, name: str = "candidate", uncertainty: Uncertainty | None = None
) -> Profile:
    """The base profile with the fitted parameters at `place`."""
    fitted = {parameter: value_at(parameter, float(value)) for parameter, value in zip(FITTED, place, strict=True)}
    return profile_of(name, dict(base.values) | fitted, name, uncertainty)


def cross_validate(measured: Sequence[Measured], fit: Fit, group_of: Callable[[Measured], str]) -> list[HeldOut]:
    """Predict every group of measurements, at full size, from a fit to the others; `fit` is that to all of them."""
    problem = _problem_of(measured, fit.profile, fit.prior)
    longest = longest_configs(measured)
    groups = np.array([group_of(timing) for timing in measured])
    predictions = []
    for group in dict.fromkeys(groups):
        profile = _solved(problem, fit.place, groups != group, "without " + group).profile
        rows: dict[Config, list[Row]] = {}
        for timing in (one for one, name in zip(measured, groups, strict=True) if name == group):
            config = longest[timing.config]
            if config not in rows:
                rows[config] = simulate(config, costs_of(config, profile))
            phase = timing.phase, timing.iteration
            row = next(row for row in rows[config] if (row["phase"], row["iteration"]) == phase)
            low, high = interval(config, profile, row)
            determined = is_determined(config, profile, row)
            predictions.append(HeldOut(timing, group, row["seconds"], low or 0.0, high or math.inf, determined))
    return predictions


def outliers(fit: Fit) -> list[tuple[Measured, float]]:
    """The timings that fit so badly that they weigh less than half, and what the fit says of them, the worst first."""
    uncertainty = fit.profile.uncertainty
    assert uncertainty is not None  # every fit has one
    found = []
    for timing, predicted in zip(fit.measured, fit.predicted, strict=True):
        scatter = uncertainty.scatter_pass if timing.phase in GUEST_PHASES else uncertainty.scatter_ioctl
        found.append((abs(math.log(predicted / timing.seconds)) / scatter, timing, float(predicted)))
    worst = sorted(found, key=lambda one: -one[0])
    return [(timing, predicted) for far, timing, predicted in worst if far > OUTLIER * math.sqrt(3)]


def _section(parameter: str) -> str:
    return parameter.split(".")[0]


def _is_determined(covariance: Matrix, prior: Prior, index: int) -> bool:
    return bool(4 * covariance[index, index] < prior.covariance[index, index])


def _residual(problem: _Problem, place: Matrix) -> tuple[Matrix, Matrix]:
    """How far the logarithms of predictions are off, and how they move with the parameters."""
    seconds, moves = linearised(problem.cases, profile_at(problem.base, place), FITTED)
    return np.log(seconds) - problem.observed, moves


def _weights(residual: Matrix, scatter: Matrix) -> Matrix:
    """The precision of each timing: less for one that fits badly, as the loss soft_l1 has it."""
    far = residual / (OUTLIER * scatter)
    return np.asarray(scatter**-2 / np.sqrt(1 + far**2), np.float64)


def _loss(residual: Matrix, scatter: Matrix) -> float:
    far = residual / (OUTLIER * scatter)
    return float(np.sum(OUTLIER**2 * (np.sqrt(1 + far**2) - 1)))


def _improved(badness: Callable[[Matrix], float], place: Matrix, step: Matrix, lowest: Matrix) -> tuple[Matrix, float]:
    """The place after the step, or after a part of it, that is better, and by how much; costs stay at 0 or above."""
    here = badness(place)
    for part in (1.0, 0.5, 0.25, 0.1):
        there = np.maximum(place + part * step, lowest)
        gain = here - badness(there)
        if gain > 0:
            return there, gain
    return place, 0.0


def _freedom(moves: Matrix, weights: Matrix, information: Matrix, which: Mask) -> float:
    """How many timings, with what was believed of them, tell the scatter: those that the fit has not used up."""
    moves, weights = moves[which], weights[which]
    used = float(np.sum(weights * np.einsum("ij,ij->i", moves @ np.linalg.inv(information), moves)))
    return SCATTER_WEIGHT + max(0.0, len(weights) - used)


def _scatter(residual: Matrix, weights: Matrix, freedom: float, which: Mask) -> float:
    """The scatter of timings around a fit."""
    residual, weights = residual[which], weights[which]
    trust = weights / weights.max(initial=1e-12)
    squares = SCATTER_WEIGHT * SCATTER**2 + float(np.sum(trust * residual**2)) / TRUSTED
    return max(LEAST_SCATTER, math.sqrt(squares / freedom))


def _widening(freedom: float) -> float:
    """By how much wider an interval is of a scatter that so few timings tell: Student's t beside the normal."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 0.95)) / NORMAL_90


def _scatter_between_tables(
    residual: Matrix, moves: Matrix, weights: Matrix, precision: Matrix, tables: Sequence[str | None], which: Mask
) -> float:
    """The scatter with which intervals hold 90% of the timings of tables that a fit has not seen.

    What a fit without a table would say follows from this one without fitting again, as far as everything is linear.
    """
    information = precision + (moves.T * weights) @ moves
    names = np.array([table or "" for table in tables])
    needed: list[float] = []
    for table in {*names} - {""}:
        inside = (names == table) & which
        if not inside.any() or np.all((names == table) | (names == "")):
            continue
        moved, weighed, off = moves[inside], weights[inside], residual[inside]
        others = np.linalg.inv(information - (moved.T * weighed) @ moved)
        unseen = off + moved @ (others @ (moved.T @ (weighed * off)))
        variance = np.einsum("ij,jk,ik->i", moved, others, moved)
        seen = variance < KNOWN_VARIANCE  # what nothing else determines is off by more, and said to be
        needed += [float(value) for value in np.maximum(0.0, (unseen / NORMAL_90) ** 2 - variance)[seen]]
    return math.sqrt(float(np.quantile(needed, 0.9))) if needed else 0.0
