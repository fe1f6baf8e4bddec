"""A night from end to end: what is run, what it is compared with, and the one word that comes of it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from core.config import Config
from sweep.cli import exit_code
from sweep.errors import QueryError
from sweep.history.nights import read_file, read_nights
from sweep.nightly.outputs import headline, write_outputs
from sweep.nightly.verdict import EXIT_CODES, Verdict
from tests.sweep.nightly.nights import MEASURED, SIM, night, one


def slow_shadow(config: Config) -> float:
    return 1.3 if config.mmu == "shadow" else 1.0


def broken(config: Config) -> float:
    raise ValueError("no such host")


def half_broken(config: Config) -> float:
    return broken(config) if config.mmu == "shadow" else 1.0


@pytest.fixture
def history(tmp_path: Path) -> Path:
    return tmp_path / "history"


def test_the_first_night_has_nothing_to_compare_with(history: Path) -> None:
    result = night(history)
    assert result.night.verdict == Verdict.FIRST
    assert (result.night.wanted, result.night.measured) == (24, 24)


def test_a_night_like_the_one_before_is_ok(history: Path) -> None:
    first = night(history)
    second = night(history)
    assert (second.night.verdict, second.night.baseline) == (Verdict.OK, first.night.name)


def test_a_slowdown_of_some_configs_is_a_regression_that_names_them(history: Path) -> None:
    night(history)
    result = night(history, slow_shadow)
    assert result.night.verdict == Verdict.REGRESSED
    assert re.search(r"of mmu=shadow, \+(2[89]|3[012])\.", headline(result))
    assert "(again when run again)" in headline(result)


def test_suspects_alone_are_run_again_before_anything_is_said(history: Path) -> None:
    night(history)
    again: set[Config] = set()

    def slow_once(config: Config) -> float:
        if config.repeat < 6:
            return slow_shadow(config)
        again.add(config)  # what is run again are further repeats
        return 1.0

    result = night(history, slow_once)
    assert result.night.verdict == Verdict.OK
    assert result.suspects
    assert {config.mmu for config in again} == {"shadow"}
    assert len(again) == 12


def test_without_confirmation_nothing_is_run_again(history: Path) -> None:
    night(history)
    result = night(history, slow_shadow, confirm=False)
    assert result.night.verdict == Verdict.REGRESSED
    assert result.evidence.confirmed is None


def test_a_night_that_measured_nothing_is_neither_a_pass_nor_a_regression(history: Path) -> None:
    night(history)
    result = night(history, broken)
    assert result.night.verdict == Verdict.NOTHING
    assert EXIT_CODES[Verdict.NOTHING] == 3
    assert night(history).night.baseline == read_nights(str(history))[0].name


def test_a_night_that_measured_half_of_its_configs_says_so(history: Path) -> None:
    night(history)
    result = night(history, half_broken)
    assert result.night.verdict == Verdict.INCOMPLETE
    assert "12 of 24 runs" in headline(result)


def test_the_half_that_was_measured_can_still_be_worse(history: Path) -> None:
    night(history)
    result = night(history, lambda config: 2 * half_broken(config))
    assert result.night.verdict == Verdict.REGRESSED


def test_another_hosts_numbers_are_not_compared_with_these(history: Path) -> None:
    night(history)
    result = night(history, slow_shadow, host="node-b")
    assert result.night.verdict == Verdict.OTHER_HOST
    assert "tonight node-b; before node-a" in headline(result)


def test_each_host_is_compared_with_its_own_nights(history: Path) -> None:
    first = night(history)
    night(history, host="node-b")
    again = night(history)
    assert (again.night.verdict, again.night.baseline) == (Verdict.OK, first.night.name)


def test_too_few_repeats_of_one_config_cannot_be_judged(history: Path) -> None:
    alone = MEASURED.replace('["tdp", "shadow"]', '["tdp"]').replace("[1, 2]", "[1]")
    night(history, spec=alone, repeats=3)
    assert night(history, lambda config: 3.0, spec=alone, repeats=3).night.verdict == Verdict.TOO_FEW


def test_simulations_are_run_once_and_any_difference_is_drift(history: Path) -> None:
    first = night(history, spec=SIM)
    assert (first.night.wanted, first.night.hosts) == (4, ())
    assert night(history, spec=SIM, host="node-b").night.verdict == Verdict.OK
    drifted = night(history, lambda config: 1 + 1e-9, spec=SIM)
    assert drifted.night.verdict == Verdict.DRIFTED
    assert "8 of 12 simulated numbers differ" in headline(drifted)


def test_the_baseline_may_be_a_night_or_a_revision_or_the_fastest(history: Path) -> None:
    first = night(history, revision="v1")
    fastest = night(history, lambda config: 0.9)
    night(history, lambda config: 1.2)
    for baseline, expected in ((first.night.name, first), ("v1", first), ("best", fastest)):
        assert night(history, baseline=baseline).night.baseline == expected.night.name
    with pytest.raises(QueryError, match="has no night, revision or label 'v7'; allowed: last, best, or one of"):
        night(history, baseline="v7")


def test_other_sweeps_of_the_history_are_no_baseline(history: Path) -> None:
    night(history)
    assert night(history, spec=SIM).night.verdict == Verdict.FIRST


def test_the_files_of_a_night_tell_the_same(history: Path) -> None:
    night(history)
    result = night(history, slow_shadow, revision="v6.12-rc3")
    write_outputs(str(history), result)

    def text(name: str) -> str:
        content = read_file(str(history), result.night.name, name)
        assert content is not None
        return content.decode()

    assert text("summary.md").startswith("## measured of v6.12-rc3: regressed against ")
    record = json.loads(text("verdict.json"))
    assert (record["verdict"], record["exit_code"], record["revision"]) == ("regressed", 1, "v6.12-rc3")
    suites = ElementTree.fromstring(text("junit.xml"))
    assert [suite.attrib["name"] for suite in suites] == ["splitsweep nightly", "splitsweep compare"]
    assert suites[0][0].find("failure") is not None


def test_history_prints_the_nights_with_the_change(history: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for factor in (one,) * 5 + (slow_shadow,) * 3:
        night(history, factor, confirm=False)
    chart = history.parent / "dirty.svg"
    assert exit_code(["history", str(history), "--metric", "dirty", "--where", "mmu = 'shadow'", "-o", str(chart)]) == 0
    lines = capsys.readouterr().out.splitlines()
    (changed,) = [place for place, line in enumerate(lines) if "from here on" in line]
    assert changed == 6  # below the heading and five nights
    assert "regressed" in lines[changed]
    (percent,) = re.findall(r"<- \+([0-9.]+)% from here on", lines[changed])
    assert 25 < float(percent) < 35
    assert "<svg" in chart.read_text()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["history", "nowhere"], "nowhere: no nights there"),
        (["history", "h", "--metric", "dirty.faults"], "--metric: a history keeps the seconds of phases"),
        (["history", "h", "--metric", "clear"], "no night has such numbers; there are populate, dirty 1"),
        (["history", "h", "--where", "host = 'a'"], "--where: where: no field host"),
        (["history", "h", "--spec", "other"], "--spec: no night of 'other'; allowed: measured"),
        (["history", "h", "--host", "b"], "--host: no night of 'measured' on 'b'; allowed: node-a"),
        (["history", "h", "-o", "x.gif"], "-o x.gif: its extension decides the format"),
        (["nightly", "missing.toml"], "missing.toml: no such file"),
        (["nightly", "spec.toml", "--repeats", "0"], "Invalid value for '--repeats'"),
        (["nightly", "spec.toml", "--threshold", "0"], "--threshold: '0' is no share"),
        (["nightly", "spec.toml", "--history", "h", "--baseline", "x"], "--baseline: h has no night"),
        (["nightly", "spec.toml", "--notify", "chat"], "--notify: not an address to post to"),
        (["nightly", "spec.toml", "--history", "spec.toml"], "results spec.toml: is a file"),
    ],
)
def test_bad_usage_is_one_line(
    words: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    night(tmp_path / "h")
    capsys.readouterr()
    assert exit_code(words) == 2
    printed = capsys.readouterr().err
    assert printed.startswith(f"splitsweep: {told}")
    assert printed.count("\n") == 1
