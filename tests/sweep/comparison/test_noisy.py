"""What is said of noisy numbers: nothing by chance, nothing too small, nothing of too few repeats."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest

from sweep.comparison.families import Config, families
from sweep.comparison.noisy import Noisy, Pair, Verdict, compare_noisy
from sweep.showing.points import Metric

DIRTY = Metric("dirty", "seconds", 1)
GRID: list[Config] = [
    {"mmu": mmu, "split": split, "vcpus": vcpus}
    for mmu, split, vcpus in itertools.product(("tdp", "shadow"), ("lazy", "eager"), (1, 2, 4, 8, 16))
]


def noisy(
    factor: Callable[[Config], float],
    *,
    repeats: int = 10,
    noise: float = 0.1,
    configs: list[Config] = GRID,
    threshold: float = 0.05,
) -> Noisy:
    """Configs of one second and this noise on the base side, times `factor` on the new one."""
    random = np.random.default_rng(7)

    def values(scale: float) -> tuple[float, ...]:
        return tuple((scale * np.exp(random.normal(0, noise, repeats))).tolist())

    return compare_noisy([Pair(config, DIRTY, values(1.0), values(factor(config))) for config in configs], threshold)


def verdicts(found: Noisy) -> list[Verdict]:
    return [finding.verdict for finding in found.findings]


def test_a_clear_slowdown_of_one_config_is_found() -> None:
    found = noisy(lambda config: 1.5, configs=GRID[:1])
    assert verdicts(found) == [Verdict.WORSE]
    assert found.worse


def test_a_clear_speedup_is_no_regression() -> None:
    found = noisy(lambda config: 0.5, configs=GRID[:1])
    assert verdicts(found) == [Verdict.BETTER]
    assert not found.worse


def test_a_slowdown_below_the_threshold_is_none_however_sure() -> None:
    found = noisy(lambda config: 1.02, configs=GRID[:1], noise=0.001)
    assert verdicts(found) == [Verdict.SAME]
    assert verdicts(noisy(lambda config: 1.02, configs=GRID[:1], noise=0.001, threshold=0.01)) == [Verdict.WORSE]


@pytest.mark.parametrize("repeats", [1, 2, 3, 4])
def test_too_few_repeats_are_said_to_be_too_few_however_large_the_change(repeats: int) -> None:
    found = noisy(lambda config: 9.0, configs=GRID[:1], repeats=repeats)
    assert verdicts(found) == [Verdict.TOO_FEW]
    assert not found.is_judged
    assert found.repeats == 5


def test_noise_that_hides_a_change_is_not_called_the_same() -> None:
    assert verdicts(noisy(lambda config: 1.0, configs=GRID[:1], noise=0.2)) == [Verdict.NOT_SHOWN]


def test_a_family_shows_what_none_of_its_configs_can() -> None:
    found = noisy(lambda config: 1.15 if config["mmu"] == "shadow" else 1.0, repeats=5)
    assert Verdict.WORSE not in verdicts(found)
    assert [(family.shared, family.verdict) for family in found.families] == [({"mmu": "shadow"}, Verdict.WORSE)]
    assert found.families[0].ratio.value == pytest.approx(1.15, rel=0.05)
    assert found.worse


def test_families_show_what_three_repeats_each_cannot() -> None:
    found = noisy(lambda config: 1.3 if config["split"] == "lazy" else 1.0, repeats=3)
    assert set(verdicts(found)) == {Verdict.TOO_FEW}
    assert [family.shared for family in found.families] == [{"split": "lazy"}]


def test_only_the_family_that_shows_a_change_most_clearly_is_named() -> None:
    changed = {"mmu": "shadow", "split": "lazy"}
    found = noisy(lambda config: 1.3 if changed.items() <= dict(config).items() else 1.0)
    assert [family.shared for family in found.families] == [changed]


def test_two_changes_that_have_nothing_to_do_with_each_other_are_both_named() -> None:
    factors = {"shadow": 1.3, "tdp": 0.7}
    found = noisy(lambda config: factors[str(config["mmu"])])
    assert {(str(family.shared["mmu"]), family.verdict) for family in found.families} == {
        ("shadow", Verdict.WORSE),
        ("tdp", Verdict.BETTER),
    }


def test_one_slow_config_does_not_speak_for_its_family() -> None:
    found = noisy(lambda config: 3.0 if config == GRID[0] else 1.0)
    assert verdicts(found).count(Verdict.WORSE) == 1
    assert found.families == ()


def test_a_number_that_was_zero_and_is_not_any_more_is_worse_without_a_ratio() -> None:
    pair = Pair(GRID[0], Metric("dirty", "faults", 1), (0.0,) * 6, (5.0, 6.0, 7.0, 8.0, 9.0, 10.0))
    (found,) = compare_noisy([pair], 0.05).findings
    assert (found.verdict, found.ratio) == (Verdict.WORSE, None)


def test_the_mean_over_all_configs_is_geometric() -> None:
    pairs = [Pair(config, DIRTY, (1.0, 1.0), (value, value)) for config, value in zip(GRID, (2.0, 0.5), strict=False)]
    (mean,) = compare_noisy(pairs, 0.05).means
    assert (mean.ratio.value, mean.configs) == (pytest.approx(1.0), 2)


def test_nothing_at_all_is_judged_nothing() -> None:
    assert not compare_noisy([], 0.05).is_judged


def test_families_are_all_configs_and_those_of_one_and_two_values() -> None:
    found = [dict(family.shared) for family in families(GRID)]
    assert found[0] == {}
    assert {"mmu": "tdp"} in found
    assert {"mmu": "tdp", "vcpus": 8} in found
    assert all(len(family.members) > 1 for family in families(GRID))


def test_a_family_of_two_names_is_listed_once_under_the_simpler_one() -> None:
    configs = [{"mmu": mmu, "pml": mmu == "tdp", "vcpus": vcpus} for mmu in ("tdp", "shadow") for vcpus in (1, 2)]
    found = [family.shared for family in families(configs)]
    assert {"mmu": "tdp"} in found
    assert all("pml" not in shared for shared in found)
