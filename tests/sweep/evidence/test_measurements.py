"""Own measurements as a CSV or a dataset: taken as they stand, or refused with the file and the line."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from core.config import Config, make_config
from sweep.cli import exit_code
from sweep.errors import QueryError, SweepError
from sweep.evidence.measurements import Measured, MeasurementError, published_as_measured, read_measurements
from tests.sweep.datasets import write_shard

ROOT = Path(__file__).parents[3]
HEADER = "source,mmu,split,vcpus,mem_per_vcpu_gib,backing,write_percent,initially_all_set,metric,iteration,seconds"
LINE = "mine,shadow,lazy,2,0.5,2M,20,false,dirty,1,0.25"


def read(folder: Path, *lines: str) -> tuple[Measured, ...]:
    file = folder / "mine.csv"
    file.write_text("\n".join(lines) + "\n")
    return read_measurements(str(file))


@pytest.mark.parametrize(("name", "values"), [("published.csv", 144), ("published-2.csv", 89)])
def test_the_published_files_read_as_the_published_measurements_that_configs_predict(name: str, values: int) -> None:
    read = read_measurements(str(ROOT / "results" / "published" / name))
    assert len(read) == values
    published = {
        dataclasses.replace(
            timing, kind="measured", config=dataclasses.replace(timing.config, profile=Config().profile)
        )
        for timing in published_as_measured()
    }
    assert set(read) <= published


def test_the_tests_own_words_for_phases_and_flags_are_understood(tmp_path: Path) -> None:
    header = HEADER.replace("write_percent", "write_pct") + ",notes"
    line = LINE.replace(",dirty,", ",dirty_memory,").replace(",false,", ",N,") + ",who and when"
    assert read(tmp_path, header, line) == read(tmp_path, HEADER, LINE)


def test_a_line_is_a_timing_of_its_config(tmp_path: Path) -> None:
    stated = {"mmu": "shadow", "split": "lazy", "vcpus": 2, "mem_per_vcpu": 2**29, "backing": "2M"}
    config = make_config(stated | {"write_percent": 20, "initially_all_set": False, "iterations": 1})
    assert read(tmp_path, HEADER, LINE) == (Measured(config, "dirty", 1, 0.25, "mine: shadow, dirty 1, 20% writes"),)


def test_further_columns_are_fields_and_an_empty_cell_is_the_default(tmp_path: Path) -> None:
    timings = read(tmp_path, f"{HEADER},pml,slots,iterations", f"{LINE},,4,3", f"{LINE},,,")
    assert [(timing.config.slots, timing.config.iterations) for timing in timings] == [(4, 3), (1, 1)]


def test_repeats_in_a_csv_are_summed_up_by_their_median(tmp_path: Path) -> None:
    lines = [f"{LINE.removesuffix('0.25')}{seconds},{repeat}" for repeat, seconds in enumerate((1.0, 9.0, 2.0))]
    (timing,) = read(tmp_path, f"{HEADER},repeat", *lines)
    assert (timing.seconds, timing.config.repeat) == (2.0, 0)


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (["Iteration 1 dirty memory time: 0.3s"], "1: not a CSV of measurements; allowed: the columns source,"),
        ([""], "1: not a CSV of measurements"),
        ([HEADER.replace(",split", "")], "1: split: the column is missing"),
        ([f"{HEADER},rack"], "1: rack: no such column; allowed besides those needed: write_pattern,"),
        ([f"{HEADER},engine"], "1: engine: no such column"),
        ([f"{HEADER},slots,slots"], "1: slots: the column is there twice"),
        ([HEADER], " holds no measurement"),
        ([HEADER, LINE, LINE.replace("lazy", "slow")], "3: split: 'slow' is not allowed; allowed: eager"),
        ([HEADER, LINE.replace(",2,0.5", ",0,0.5")], "2: vcpus: 0 is out of range"),
        ([HEADER, LINE.replace("0.5", "half")], "2: mem_per_vcpu_gib: 'half' is not a number of GiB"),
        ([HEADER, LINE.replace("dirty", "wash")], "2: metric: 'wash' is not allowed; allowed: populate"),
        ([HEADER, LINE.replace("dirty,1", "dirty,")], "2: iteration: '' is not allowed for dirty"),
        ([HEADER, LINE.replace("dirty,1", "dirty,0")], "2: iteration: '0' is not allowed for dirty"),
        ([HEADER, LINE.replace("dirty,1", "enable,1")], "2: iteration: enable runs once; leave the cell empty"),
        ([HEADER, LINE.replace("0.25", "-1")], "2: seconds: '-1' is not allowed; allowed: a number above 0"),
        ([HEADER, LINE.replace("0.25", "nan")], "2: seconds: 'nan' is not allowed"),
        ([HEADER, LINE + ",1"], "2: the line has more or fewer cells than the header"),
        ([HEADER, LINE.removesuffix(",0.25")], "2: the line has more or fewer cells than the header"),
        ([f"{HEADER},iterations", LINE.replace("dirty,1", "dirty,3") + ",2"], "2: iteration: 3 is beyond"),
        ([HEADER, '"' + LINE], "2: unexpected end of data"),
    ],
)
def test_a_bad_csv_is_refused_with_its_line(tmp_path: Path, lines: list[str], says: str) -> None:
    with pytest.raises(MeasurementError, match=f"^{re.escape(str(tmp_path / 'mine.csv'))}:{re.escape(says)}"):
        read(tmp_path, *lines)


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(MeasurementError, match=r"nowhere: no such file or folder; allowed: a CSV"):
        read_measurements(str(tmp_path / "nowhere"))
    with pytest.raises(QueryError, match="no results there yet"):
        read_measurements(str(tmp_path))
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(MeasurementError, match="is no text"):
        read_measurements(str(tmp_path / "binary"))


def config(**values: object) -> Config:
    return make_config({"mmu": "shadow", "iterations": 1, "mem_per_vcpu": "2MiB"} | values)


def test_a_dataset_gives_the_median_of_every_phase_that_took_time(tmp_path: Path) -> None:
    repeats = [config(repeat=repeat) for repeat in range(3)]
    seconds = {"dirty": (1.0, 5.0, 2.0), "clear": (0.0, 0.0, 0.0)}
    write_shard(tmp_path, repeats, lambda found, phase, _: {"seconds": seconds.get(phase, (3.0,) * 3)[found.repeat]})
    timings = {timing.phase: timing for timing in read_measurements(str(tmp_path))}
    assert timings.keys() == {"populate", "enable", "dirty", "get", "disable", "after_disable"}
    assert timings["dirty"] == Measured(config(), "dirty", 1, 2.0, f"{tmp_path}: shadow, dirty 1", "simulated")
    assert {timing.seconds for name, timing in timings.items() if name != "dirty"} == {3.0}


def test_a_dataset_is_found_by_its_uri(tmp_path: Path) -> None:
    write_shard(tmp_path, [config()])
    assert len(read_measurements(f"file://{tmp_path}")) == 7


def test_predictions_beside_measurements_are_left_aside(tmp_path: Path) -> None:
    loop = ROOT / "tests" / "data" / "dirty-log-perf-loop.txt"
    assert exit_code(["import", str(loop), "--results", str(tmp_path / "both")]) == 0
    measured = read_measurements(str(tmp_path / "both"))
    write_shard(tmp_path / "both", [timing.config for timing in measured[:1]])
    assert read_measurements(str(tmp_path / "both")) == measured
    assert len(measured) == 18
    assert {timing.config.engine for timing in measured} == {"sim"}


def test_predictions_of_two_profiles_are_no_measurements(tmp_path: Path) -> None:
    shipped = ROOT / "core" / "costs" / "profiles" / "cascade-lake-2022.toml"
    (tmp_path / "mine.toml").write_text(shipped.read_text())
    write_shard(tmp_path / "two", [config(), config(profile=str(tmp_path / "mine.toml"))])
    with pytest.raises(SweepError, match="holds predictions of several profiles"):
        read_measurements(str(tmp_path / "two"))
