"""How good nightly alarms are, by simulated nights: 200 configs, 10% noise, 10 repeats.

A tool that cries wolf is switched off, so nights without change come first. Nights are drawn and judged as `nightly`
does it, with the levels of significance that it uses; what differs is that nothing has to be run.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from sweep.comparison.compare import THRESHOLD
from sweep.comparison.families import Config
from sweep.comparison.noisy import ALPHA, Noisy, Pair, compare_noisy
from sweep.history.levels import level
from sweep.history.series import Kind, alarms
from sweep.nightly.night import SUSPECT, UNCONFIRMED
from sweep.showing.points import Metric

DIRTY = Metric("dirty", "seconds", 1)
NOISE, REPEATS = 0.1, 10

FIELDS = {
    "mmu": ("tdp", "legacy_tdp", "shadow", "nested"),
    "split": ("lazy", "eager"),
    "vcpus": (1, 2, 4, 8, 16),
    "write_percent": (5, 20, 50, 80, 100),
}
CONFIGS: list[Config] = [dict(zip(FIELDS, values, strict=True)) for values in itertools.product(*FIELDS.values())]

Factor = Callable[[Config], float]
Family = dict[str, object]


def slower(family: Family, factor: float) -> Factor:
    """The configs of a family take so much longer."""
    return lambda config: factor if family.items() <= config.items() else 1.0


def draw(random: np.random.Generator, factor: Factor) -> npt.NDArray[np.float64]:
    """The repeats of every config in a night."""
    scale = np.array([factor(config) for config in CONFIGS])
    return scale[:, None] * np.exp(random.normal(0, NOISE, (len(CONFIGS), REPEATS)))


def unchanged(config: Config) -> float:
    return 1.0


def compared(base: npt.NDArray[np.float64], new: npt.NDArray[np.float64], alpha: float) -> Noisy:
    pairs = [
        Pair(config, DIRTY, tuple(before), tuple(after))
        for config, before, after in zip(CONFIGS, base.tolist(), new.tolist(), strict=True)
    ]
    return compare_noisy(pairs, THRESHOLD, alpha)


def levels(nights: list[npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    return np.array([[level(repeats) for repeats in night] for night in nights])


@pytest.mark.parametrize("confirm", [True, False])
def test_a_hundred_nights_without_change_have_one_false_alarm_at_most(confirm: bool) -> None:
    random = np.random.default_rng(1)
    base = draw(random, unchanged)
    false_alarms = 0
    for _ in range(100):
        new = draw(random, unchanged)
        worse = compared(base, new, SUSPECT if confirm else UNCONFIRMED).worse
        if worse and confirm:
            worse = compared(base, draw(random, unchanged), ALPHA).worse
        false_alarms += worse
        base = new
    assert false_alarms <= 1


def test_the_history_of_a_hundred_nights_without_change_has_one_false_alarm_at_most() -> None:
    random = np.random.default_rng(2)
    table = levels([draw(random, unchanged) for _ in range(100)])
    # The levels of a night overlap with those of the night before, so every third night tells as much.
    false_alarms = sum(bool(alarms(CONFIGS, {DIRTY: table[:night]}, THRESHOLD / 2)) for night in range(6, 101, 3))
    assert false_alarms <= 1


@pytest.mark.parametrize(
    "family",
    [{"mmu": "shadow", "split": "lazy"}, {"mmu": "tdp"}, {"vcpus": 16}, {"split": "eager", "write_percent": 5}],
    ids=str,
)
def test_a_family_slower_by_a_tenth_is_found_the_first_night(family: Family) -> None:
    random = np.random.default_rng(3)
    found = named = 0
    for _ in range(100):
        result = compared(draw(random, unchanged), draw(random, slower(family, 1.1)), UNCONFIRMED)
        found += result.worse
        named += any(change.shared == family for change in result.families)
    assert found >= 95
    assert named >= 95


@pytest.mark.parametrize("family", [{"mmu": "shadow", "split": "lazy"}, {"vcpus": 16}, {}], ids=str)
def test_a_creep_of_a_twentieth_over_ten_nights_is_found_by_the_history(family: Family) -> None:
    found = 0
    for seed in range(10):
        random = np.random.default_rng(seed)
        factors = [1.0] * 20 + [1 + 0.005 * night for night in range(1, 11)]
        table = levels([draw(random, slower(family, factor)) for factor in factors])
        seen = alarms(CONFIGS, {DIRTY: table}, THRESHOLD / 2)
        found += any(alarm.change > 0 for alarm in seen)
    assert found >= 9


def test_a_creep_of_all_configs_is_found_though_ten_nights_are_all_there_is() -> None:
    random = np.random.default_rng(5)
    table = levels([draw(random, slower({}, 1 + 0.05 * night / 9)) for night in range(10)])
    (alarm, *_) = alarms(CONFIGS, {DIRTY: table}, THRESHOLD / 2)
    assert alarm.configs >= 40  # all of them, or a large family that happens to show it more clearly
    assert alarm.change == pytest.approx(0.05, abs=0.02)
    assert alarm.kind in (Kind.CREEP, Kind.STEP)


def test_nights_that_differ_as_a_whole_are_no_alarm() -> None:
    """A machine that is now warm, now cold: every night all its times are 2% off, this way or that."""
    random = np.random.default_rng(6)
    false_alarms = 0
    for _ in range(5):
        table = levels([draw(random, slower({}, float(np.exp(random.normal(0, 0.02))))) for _ in range(30)])
        false_alarms += bool(alarms(CONFIGS, {DIRTY: table}, THRESHOLD / 2))
    assert false_alarms == 0
