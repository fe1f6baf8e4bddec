"""The noise study in small: intervals of a profile fitted to a few noisy runs hold about as much as they say."""

from __future__ import annotations

from benchmarks.noise_study import study, typical_runs


def test_intervals_after_three_noisy_runs_hold_about_90_percent_of_other_runs() -> None:
    configs = typical_runs(vcpu_counts=(2, 8))
    found = [study(0.1, 3, seed, configs) for seed in range(3)]
    inside, counted = (sum(column) for column in zip(*(outcome.others for outcome in found), strict=True))
    assert counted > 50
    assert 0.82 <= inside / counted <= 0.97
