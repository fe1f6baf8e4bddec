"""What running vCPUs feel of an ioctl: in explain, and as a chart over time."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweep.cli import exit_code
from sweep.showing.disturbance import COLUMNS, disturbance_words, picture

MACHINE = ["vcpus=2", "mem_per_vcpu=8MiB", "backing=2M", "initially_all_set=false", "iterations=1"]


def bins(*accesses: int) -> list[dict[str, float]]:
    return [
        {"start_seconds": number / 1000, "end_seconds": (number + 1) / 1000, "accesses": count}
        for number, count in enumerate(accesses)
    ]


def test_the_picture_goes_from_nothing_to_undisturbed() -> None:
    assert picture(bins(0, 50, 100, 0), 100) == " " * 16 + "=" * 16 + "@" * 16 + " " * 16


def test_the_picture_is_as_wide_whatever_the_number_of_bins() -> None:
    assert {len(picture(bins(*[10] * count), 10)) for count in (1, 7, 64, 200)} == {COLUMNS}
    assert picture(bins(*[10] * 7), 10) == "@" * COLUMNS


def test_explain_tells_what_the_guest_feels_and_draws_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["explain", "concurrent=true", "mmu=shadow", "split=eager", *MACHINE]) == 0
    text = capsys.readouterr().out
    assert "throughput falls by" in text
    assert "longest    stall of a write" in text
    assert "interrupts to vCPUs: " in text


def test_the_closing_words_are_about_the_guest() -> None:
    row = {"dip_depth": 0.42, "read_stall_max_ns": 2_900.0, "write_stall_max_ns": 6_541_731.0}
    assert disturbance_words(row) == (
        "meanwhile the guest's throughput falls by 42% at most, and a read stalls for up to 0.0029 ms, "
        "and a write stalls for up to 6.54 ms"
    )


def test_explain_says_nothing_of_it_where_no_vcpu_ran(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["explain", "mmu=shadow", "split=eager", *MACHINE]) == 0
    assert "throughput" not in capsys.readouterr().out


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("disturbance")
    (folder / "spec.toml").write_text(
        'name = "migration"\n[fixed]\nconcurrent = true\nvcpus = 2\nmem_per_vcpu = "8MiB"\nbacking = "2M"\n'
        'initially_all_set = false\niterations = 1\nmmu = "shadow"\n[[grid]]\npreempt = ["none", "full"]\n'
    )
    location = str(folder / "dataset")
    assert exit_code(["run", str(folder / "spec.toml"), "--results", location, "--address", "inline"]) == 0
    return location


def test_a_timeline_has_a_line_for_each_config(dataset: str, tmp_path: Path) -> None:
    chart = tmp_path / "enable.svg"
    words = ["plot", dataset, "--timeline", "--metric", "enable", "--color", "preempt", "-o", str(chart)]
    assert exit_code(words) == 0
    drawn = chart.read_text()
    assert "time since the ioctl began (ms)" in drawn
    assert drawn.count("mark-line") >= 2
    assert "cascade-lake-2022" in drawn  # a chart carries its origin


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--metric", "dirty"], "a timeline is of an ioctl; allowed with --timeline: enable, get, clear, disable"),
        (["--metric", "enable", "--color", "colour"], "there is no field 'colour'"),
        (["--metric", "enable", "--where", "vcpus = 64"], "no config of this dataset matches vcpus = 64"),
    ],
)
def test_what_has_no_timeline_is_refused_in_one_line(
    dataset: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], says: str
) -> None:
    assert exit_code(["plot", dataset, "--timeline", *words, "-o", str(tmp_path / "chart.svg")]) == 2
    assert says in capsys.readouterr().err
