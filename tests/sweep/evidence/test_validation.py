"""What `splitsweep validate` promises: the engine's own numbers, right sums, honest words, errors in one line."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import core.costs.profile
import sweep.evidence.fit
import sweep.evidence.measurements
from core.config import Config, make_config
from core.costs.profile import load_profile
from core.identity import ENGINE_VERSION
from core.run import run_config
from sweep.cli import exit_code
from sweep.errors import QueryError
from sweep.evidence.fit import Fit, HeldOut
from sweep.evidence.measurements import Measured
from sweep.evidence.validation import (
    Prediction,
    configs_to_run,
    held_out,
    predictions,
    run_all,
    summary,
    table_group,
    validation_tables,
    vcpu_group,
    with_profile,
)
from sweep.evidence.validation_text import csv_header, csv_lines, summary_text, validation_text
from sweep.showing.table_text import INTERVAL_NOTE

if TYPE_CHECKING:
    from sweep.running.tally import Progress

PROFILE = Config().profile


def config(**values: object) -> Config:
    return make_config({"mem_per_vcpu": "2MiB", "backing": "2M", "iterations": 1} | values)


def timing(
    seconds: float = 1.0, phase: str = "dirty", iteration: int | None = 1, table: str = "mine", **values: object
) -> Measured:
    return Measured(config(**values), phase, iteration, seconds, table, kind="published")


def prediction(
    error: float = 0.0, low: float | None = None, high: float | None = None, measured: Measured | None = None
) -> Prediction:
    """A prediction that is `error` percent above a measured time of one second."""
    return Prediction(measured or timing(), 1 + error / 100, low, high)


def engine_seconds(found: Config, phase: str, iteration: int | None) -> float:
    rows = run_config(found)
    return float(next(row["seconds"] for row in rows if (row["phase"], row["iteration"]) == (phase, iteration)))


def test_predictions_are_what_the_engine_says_of_each_timing() -> None:
    measured = [
        timing(split="lazy", vcpus=2),
        timing(phase="clear", iteration=2, split="lazy", vcpus=2, iterations=2),
        timing(phase="enable", iteration=None, vcpus=1),
    ]
    timings = with_profile(measured, PROFILE)
    found = predictions(timings, run_all(configs_to_run(timings)))
    assert [one.measured for one in found] == measured
    assert [one.seconds for one in found] == [engine_seconds(one.config, one.phase, one.iteration) for one in measured]


def test_one_run_serves_all_timings_of_a_config() -> None:
    timings = [timing(), timing(phase="enable", iteration=None), timing(iteration=3, iterations=3)]
    assert configs_to_run(with_profile(timings, PROFILE)) == [config(iterations=3)]


def test_other_processes_say_the_same_as_this_one() -> None:
    configs = [config(vcpus=vcpus) for vcpus in (1, 2, 3)]
    reports: list[Progress] = []
    assert run_all(configs, reports.append, processes=2) == run_all(configs, processes=1)
    assert [(report.done, report.total) for report in reports] == [(1, 3), (2, 3), (3, 3)]
    assert reports[-1].seconds_left == pytest.approx(0)


def test_the_profile_is_the_one_asked_for_whatever_the_measurements_say() -> None:
    (one,) = with_profile([timing(profile="theirs.toml")], PROFILE)
    assert one.config.profile == PROFILE


def test_a_phase_that_the_config_does_not_have_is_an_error() -> None:
    timings = [timing(phase="clear", manual_protect=False)]
    with pytest.raises(QueryError) as caught:
        predictions(timings, run_all(configs_to_run(timings)))
    assert str(caught.value) == (
        "measurements: mine: mem_per_vcpu=2MiB backing=2M mmu=tdp manual_protect=false iterations=1: "
        "there is no phase clear 1; there are: populate, enable, dirty 1, get 1, disable, after_disable"
    )


def test_a_summary_is_of_absolute_errors() -> None:
    # sorted: 0 1 2 3 4 5 6 7 8 30; the 90th percentile is the 9th of ten
    errors = (3, -1, 2, 0, -30, 5, 4, -7, 8, 6)
    found = summary("all", [prediction(error) for error in errors])
    assert (found.name, found.values, found.inside, found.intervals) == ("all", 10, 0, 0)
    assert (found.median, found.p90, found.worst) == pytest.approx((4.5, 8, 30))


def test_the_summary_of_one_value_is_that_value() -> None:
    found = summary("one", [prediction(-2.0, 0.9, 1.1)])
    assert (found.median, found.p90, found.worst) == pytest.approx((2, 2, 2))
    assert (found.inside, found.intervals) == (1, 1)


def test_coverage_counts_measured_times_inside_the_interval() -> None:
    inside = [prediction(0, 0.9, 1.1), prediction(50, 1.0, 2.0)]  # an end belongs to the interval
    outside = [prediction(10, 1.05, 1.2), prediction(-10, 0.8, 0.95)]
    found = summary("all", [*inside, *outside, prediction()])
    assert (found.inside, found.intervals) == (2, 4)
    assert [one.inside for one in (*inside, *outside, prediction())] == [True, True, False, False, None]


def test_what_rests_on_beliefs_alone_is_never_called_inside() -> None:
    loose = replace(prediction(0, 0.5, 2.0), determined=False)
    assert loose.inside is None
    found = summary("all", [loose, prediction(0, 0.9, 1.1)])
    assert (found.inside, found.intervals, found.undetermined) == (1, 1, 1)
    text = list(validation_text([loose], "lkml"))
    assert "Not determined by what the profile was fitted to: intervals say only what is known of any host" in text
    assert text[-1].split("|")[-2].strip() == "-, 1 not determined"


def test_each_host_has_its_own_tables_with_its_profile() -> None:
    here = replace(timing(), host="here")
    there = replace(timing(profile="skylake-2021"), host="there")
    text = list(validation_text([prediction(measured=one) for one in (here, there)], "lkml"))
    assert text[0] == f"Profiles {PROFILE}, skylake-2021 against 2 published times"
    assert [line for line in text if line.startswith("Host")] == [
        f"Host here, profile {PROFILE}",
        "Host there, profile skylake-2021",
    ]


def test_tables_follow_the_measurements_and_nothing_is_mixed() -> None:
    values = [
        timing(table="b", vcpus=2),
        timing(table="a", vcpus=2, split="lazy"),
        timing(table="a", vcpus=2),
        timing(table="a", vcpus=1, mem_per_vcpu="4MiB"),
        timing(table="a", phase="enable", iteration=None),
    ]
    found = list(validation_tables(prediction(measured=one) for one in values))
    assert [(one.name, one.table.metric.phase, dict(one.table.heading).get("mem_per_vcpu")) for one in found] == [
        ("b", "dirty", None),
        ("a", "dirty", 2**21),
        ("a", "dirty", 2**22),
        ("a", "enable", None),
    ]
    assert [len(one.predictions) for one in found] == [1, 2, 1, 1]
    assert found[1].table.column_values == ("lazy", "eager")


def test_what_varies_instead_of_the_vcpus_is_laid_out_downwards() -> None:
    sizes = [timing(mem_per_vcpu=size) for size in ("4MiB", "2MiB")]
    (found,) = validation_tables(prediction(measured=one) for one in sizes)
    assert (found.table.rows, found.table.row_values) == ("mem_per_vcpu", (2**21, 2**22))


def two_predictions() -> list[Prediction]:
    return [
        Prediction(timing(0.5, vcpus=16, split="lazy"), 0.6, 0.55, 0.65),
        Prediction(timing(0.4, vcpus=2, split="lazy"), 0.39, 0.35, 0.45),
    ]


def against(kind: str, found: list[Prediction]) -> list[Prediction]:
    return [replace(one, measured=replace(one.measured, kind=kind)) for one in found]


def test_lkml_is_the_published_layout_with_intervals_and_a_summary() -> None:
    profile = f"cascade-lake-2022 ({load_profile('cascade-lake-2022').digest[:8]})"
    engine = f"engine version {ENGINE_VERSION}"
    assert list(validation_text(two_predictions(), "lkml")) == [
        f"Profile {PROFILE} against 2 published times",
        "",
        "mine",
        "",
        "mmu=tdp write_percent=100 initially_all_set=true",
        "",
        '             | "Iteration 1 dirty memory time"           |',
        "             | ----------------------------------------- |",
        "             | eager_page_split=N                        |",
        "vCPU Count   |    predicted    90%     published   error |",
        "------------ | ----------------------------------------- |",
        "2            | 0.390000000s  +-15%  0.400000000s   -2.5% |",
        "16           | 0.600000000s   +-8%  0.500000000s  +20.0% |",
        INTERVAL_NOTE,
        "Errors: 2 published values, median error 11.2%, worst 20.0%",
        "Intervals: 1 of 2 values inside the 90% interval; outside: vcpus=16 split=lazy (0.550000000s to 0.650000000s)",
        f"simulated by splitsweep: 2MiB per vCPU, backing 2M, MMU of kernel 6.12, profile {profile}, {engine}",
        "",
        "Summary",
        "",
        "Table | values | median error | 90th percentile | worst | inside 90% interval |",
        "----- | ------ | ------------ | --------------- | ----- | ------------------- |",
        "mine  |      2 |        11.2% |           20.0% | 20.0% |        1 of 2 (50%) |",
        "----- | ------ | ------------ | --------------- | ----- | ------------------- |",
        "All   |      2 |        11.2% |           20.0% | 20.0% |        1 of 2 (50%) |",
    ]


def test_own_measurements_are_not_called_published() -> None:
    text = list(validation_text(against("measured", two_predictions()), "lkml"))
    assert not [line for line in text if "published" in line]
    assert text[0] == f"Profile {PROFILE} against 2 measured times"
    assert text[9] == "vCPU Count   |    predicted    90%      measured   error |"
    assert text[14] == "Errors: 2 measured values, median error 11.2%, worst 20.0%"


def test_a_simulation_is_not_called_measured() -> None:
    found = against("simulated", two_predictions())
    for form in ("lkml", "markdown"):
        text = list(validation_text(found, form))
        assert not [line for line in text if "measured" in line or "published" in line]
    assert text[0] == f"# Profile {PROFILE} against 2 simulated times"
    assert "simulated" in csv_header(found)
    assert "measured" not in csv_header(found)


def test_a_profile_without_intervals_has_a_dash_for_their_coverage() -> None:
    text = list(validation_text([prediction(3.0)], "lkml"))
    assert not [line for line in text if line.startswith("Intervals")]
    assert text[-1].split("|")[-2].strip() == "-"


def test_all_values_inside_their_intervals() -> None:
    text = list(validation_text([prediction(3.0, 0.9, 1.1)], "lkml"))
    assert "Intervals: 1 of 1 values inside the 90% interval" in text


def test_markdown_has_headings_and_tables() -> None:
    text = list(validation_text(against("measured", two_predictions()), "markdown"))
    assert [line for line in text if line.startswith("#")] == [
        f"# Profile {PROFILE} against 2 measured times",
        "## mine",
        "### Iteration 1 dirty memory time: mmu=tdp write_percent=100 initially_all_set=true",
        "## Summary",
    ]
    assert "| 16 | 0.600000000s | +-8% | 0.500000000s | +20.0% |" in text
    assert text[-1] == "| All | 2 | 11.2% | 20.0% | 20.0% | 1 of 2 (50%) |"


def test_csv_has_one_line_per_timing_and_all_digits() -> None:
    found = two_predictions()
    lines = list(csv.DictReader([csv_header(found), *csv_lines(found), *csv_lines(found, left_out="table")]))
    assert [line["left_out"] for line in lines] == ["", "", "table", "table"]
    assert {name: lines[0][name] for name in ("table", "phase", "iteration", "mmu", "split", "vcpus")} == {
        "table": "mine",
        "phase": "dirty",
        "iteration": "1",
        "mmu": "tdp",
        "split": "lazy",
        "vcpus": "16",
    }
    numbers = ("predicted", "seconds_lo", "seconds_hi", "measured", "error_percent")
    assert [float(lines[0][name]) for name in numbers] == pytest.approx([0.6, 0.55, 0.65, 0.5, 20])


def test_csv_names_every_field_that_varies() -> None:
    found = [prediction(measured=timing(slots=slots, mem_per_vcpu="4MiB")) for slots in (1, 2)]
    lines = list(csv.DictReader([csv_header(found), *csv_lines(found)]))
    assert [(line["slots"], line["seconds_lo"]) for line in lines] == [("1", ""), ("2", "")]


def test_held_out_values_are_summed_up_by_the_group_left_out() -> None:
    values = [
        HeldOut(timing(vcpus=16), "16 vCPUs", 1.2, 0.9, 1.3),
        HeldOut(timing(vcpus=2), "2 vCPUs", 0.9, 0.8, 0.95),
        HeldOut(timing(vcpus=2, split="lazy"), "2 vCPUs", 1.02, 0.8, 1.2),
    ]
    found = held_out(values, ["2 vCPUs", "16 vCPUs"])
    assert list(summary_text("Without one", "Left out", found, "lkml"))[4:] == [
        "2 vCPUs  |      2 |         6.0% |           10.0% | 10.0% |        1 of 2 (50%) |",
        "16 vCPUs |      1 |        20.0% |           20.0% | 20.0% |       1 of 1 (100%) |",
        "-------- | ------ | ------------ | --------------- | ----- | ------------------- |",
        "All      |      3 |        10.0% |           20.0% | 20.0% |        2 of 3 (67%) |",
    ]


def test_the_groups_of_a_cross_validation() -> None:
    assert [vcpu_group(timing(vcpus=vcpus)) for vcpus in (1, 2)] == ["1 vCPU", "2 vCPUs"]
    assert table_group(timing(table="mine")) == "mine"


@pytest.fixture
def own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A CSV of two tables and two vCPU counts, and a cross-validation that is 10% off."""
    header = "source,mmu,split,vcpus,mem_per_vcpu_gib,backing,write_percent,initially_all_set,metric,iteration,seconds"
    lines = [
        f"{source},{mmu},eager,{vcpus},0.001953125,2M,100,false,dirty,1,0.01"
        for source, mmu in (("first", "tdp"), ("second", "shadow"))
        for vcpus in (2, 1)
    ]
    (tmp_path / "mine.csv").write_text("\n".join([header, *lines, ""]))
    monkeypatch.chdir(tmp_path)

    def cross_validate(timings: Iterable[Measured], fit: Fit, group_of: Callable[[Measured], str]) -> list[HeldOut]:
        return [HeldOut(one, group_of(one), 1.1 * one.seconds, one.seconds, 1.2 * one.seconds) for one in timings]

    monkeypatch.setattr(sweep.evidence.fit, "cross_validate", cross_validate)


@pytest.mark.usefixtures("own_data")
def test_the_command_prints_tables_and_both_cross_validations(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["validate", "--against", "mine.csv", "--cross-validate"]) == 0
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert lines[0] == f"Profile {PROFILE} against 4 measured times"
    titles = [line for line in lines if line.startswith(("Summary", "Cross-validation"))]
    assert titles == [
        "Summary",
        f"Cross-validation of {PROFILE}: each table predicted by a profile fitted without it",
        f"Cross-validation of {PROFILE}: each vCPU count predicted by a profile fitted without it",
    ]
    left_out = lines[lines.index(titles[2]) + 4 :]
    assert [line.split("|")[0].strip() for line in left_out] == ["1 vCPU", "2 vCPUs", "--------", "All"]
    assert "cross-validation: 2 fits, each without one table; this takes minutes" in printed.err


@pytest.mark.usefixtures("own_data")
def test_the_csv_of_the_command_holds_the_held_out_values_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["validate", "--against", "mine.csv", "--cross-validate", "--format", "csv"]) == 0
    lines = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [line["left_out"] for line in lines] == [""] * 4 + ["table"] * 4 + ["vCPU count"] * 4
    assert {round(float(line["error_percent"]), 6) for line in lines[4:]} == {10.0}


def test_a_cross_validation_needs_something_to_leave_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sweep.evidence.measurements, "read_measurements", lambda location: [timing()])
    assert exit_code(["validate", "--against", "mine.csv", "--cross-validate"]) == 0
    printed = capsys.readouterr()
    assert "Cross-validation" not in printed.out
    assert printed.err.splitlines()[-2:] == [
        "cross-validation: no table to leave out, all is mine",
        "cross-validation: no vCPU count to leave out, all is 1 vCPU",
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--profile", "nobody"], "splitsweep: profile: no profile 'nobody'; allowed: "),
        (["--format", "html"], "splitsweep: --format: 'html' is not allowed; allowed: lkml, markdown, csv"),
        (["--against", "missing.csv"], "splitsweep: missing.csv: no such file or folder; allowed: "),
        (["--against"], "splitsweep: Option '--against' requires an argument."),
    ],
)
def test_bad_usage_is_one_line(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["validate", *words]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith(message)
    assert printed.err.count("\n") == 1
    assert printed.out == ""


def test_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["validate", "--help"]) == 0
    assert "splitsweep validate --profile mine.toml --against measured.csv" in capsys.readouterr().out


@pytest.mark.usefixtures("own_data")
def test_a_profile_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    built_in = Path(core.costs.profile.__file__).parent / "profiles" / f"{PROFILE}.toml"
    mine = tmp_path / "mine.toml"
    mine.write_text(re.sub(r"(?m)^stagger_log2_ns = .*$", "stagger_log2_ns = 2e9", built_in.read_text()))
    assert exit_code(["validate", "--profile", str(mine), "--against", "mine.csv", "--format", "csv"]) == 0
    lines = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert {line["vcpus"] for line in lines if float(line["predicted"]) > 2} == {"2"}
