"""What `splitsweep plot` promises: the tables' numbers, no silent mixing, no silent gaps, files that stand alone."""

from __future__ import annotations

import json
import re
import struct
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from core.config import Config, config_record, make_config
from core.costs.profile import load_profile
from core.identity import ENGINE_VERSION
from sweep.cli import exit_code
from sweep.dataset.views import open_dataset
from sweep.published.timings import machine_key, published_measurements
from sweep.showing.chart_axes import Axis, WordAxis, looks, x_axis, y_axis
from sweep.showing.chart_panels import Mark, table_marks
from sweep.showing.charts import SMALL_PRINT_WIDTH, chart_metric, chart_tables, tables_chart
from sweep.showing.tables import Table
from tests.sweep.datasets import write_shard

PUBLISHED = {(m.machine, m.phase, m.iteration): m.seconds for m in reversed(published_measurements())}

CAPTION = (
    "simulated by splitsweep: 1GiB per vCPU, backing 1G, MMU of kernel 6.12, "
    f"profile cascade-lake-2022 ({load_profile('cascade-lake-2022').digest[:8]}), engine version {ENGINE_VERSION}"
)

SVG_TEXT = "{http://www.w3.org/2000/svg}text"


def config(**values: object) -> Config:
    thread = {"mem_per_vcpu": "1GiB", "backing": "1G", "mmu": "legacy_tdp", "initially_all_set": False}
    return make_config(thread | values)


def grid(**values: object) -> list[Config]:
    return [config(split=split, vcpus=vcpus, **values) for split in ("lazy", "eager") for vcpus in (2, 4, 8)]


def growing(found: Config, phase: str, iteration: int | None) -> dict[str, object]:
    """A tenth of a second for each vCPU, a quarter more at the upper end of the interval."""
    seconds = found.vcpus / 10
    return {
        "seconds": seconds,
        "seconds_lo": seconds / 1.25,
        "seconds_hi": seconds * 1.25,
        "faults": found.vcpus - 2,
        "reads": 0,
    }


def tables(
    folder: Path, metric: str = "dirty", x: str = "vcpus", color: str = "split", published: bool = False
) -> list[Table]:
    with open_dataset(str(folder)) as dataset:
        return chart_tables(dataset, chart_metric(metric, None, None), x, color, None, published)


def marks(table: Table) -> list[Mark]:
    return table_marks(table, x_axis([table], None))


def spec(folder: Path, facet: str | None = None, **options: Any) -> dict[str, Any]:
    return tables_chart(tables(folder, **options), facet).to_dict()


def panel_titles(line: dict[str, Any]) -> list[str]:
    return [" ".join(panel["title"]["text"]) for panel in line["hconcat"]]


def error_of(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert exit_code(["plot", *map(str, arguments)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    return lines[0]


def texts(svg: Path) -> Iterator[str]:
    for element in ElementTree.parse(svg).iter(SVG_TEXT):
        yield "".join(element.itertext())


def test_a_chart_draws_the_numbers_of_the_table_with_their_interval(tmp_path: Path) -> None:
    write_shard(tmp_path, grid(), growing)
    (table,) = tables(tmp_path)
    drawn = {(mark["x"], mark["group"]): (mark["value"], mark["low"], mark["high"]) for mark in marks(table)}
    assert drawn == {key: (cell.value, cell.low, cell.high) for key, cell in table.cells.items()}
    assert drawn[8, "lazy"] == pytest.approx((0.8, 0.64, 1.0))


def test_a_failed_config_interrupts_its_line_and_is_counted(tmp_path: Path) -> None:
    done, failed = [config(vcpus=vcpus) for vcpus in (2, 4, 16)], [config(vcpus=8)]
    write_shard(tmp_path, done, growing)
    write_shard(tmp_path, failed, batch=1, failed=True)
    (table,) = tables(tmp_path)
    assert [(mark["x"], mark["segment"], mark["alone"]) for mark in marks(table)] == [
        (2, 0, False),
        (4, 0, False),
        (16, 1, True),
    ]
    assert "1 of 4 configs have no value: 1 failed" in spec(tmp_path)["title"]["subtitle"]


def test_published_values_stand_beside_their_prediction_with_the_error(tmp_path: Path) -> None:
    known = PUBLISHED[machine_key(config_record(config(split="lazy", vcpus=2))), "dirty", 1]
    write_shard(tmp_path, [config(split="lazy", vcpus=2)], lambda *row: {"seconds": known * 1.1})
    (table,) = tables(tmp_path, published=True)
    (mark,) = marks(table)
    assert mark["published"] == known
    assert mark["error"] == pytest.approx(10)
    drawn = spec(tmp_path, published=True)
    assert drawn["title"]["subtitle"] == [
        "filled: predicted, hollow: published",
        "errors of the prediction: 1 published value, median 10.0%, worst 10.0%",
        *textwrap.wrap(CAPTION, SMALL_PRINT_WIDTH),
    ]
    assert len(drawn["vconcat"][0]["hconcat"][0]["vconcat"]) == 2  # the numbers, and the strip of errors


def test_published_says_so_where_nothing_was_published(tmp_path: Path) -> None:
    write_shard(tmp_path, [config(vcpus=3, split="lazy")])
    assert spec(tmp_path, published=True)["title"]["subtitle"][0] == "nothing published for these configs"


def test_configs_that_differ_otherwise_get_a_panel_each_with_the_heading_of_the_table(tmp_path: Path) -> None:
    write_shard(tmp_path, [*grid(), *grid(mmu="shadow"), *grid(mmu="shadow", write_percent=20)], growing)
    (line,) = spec(tmp_path)["vconcat"]
    assert panel_titles(line) == [
        "mmu=legacy_tdp write_percent=100",
        "mmu=shadow write_percent=20",
        "mmu=shadow write_percent=100",
    ]


def test_a_facet_lays_its_values_side_by_side_and_the_rest_below_each_other(tmp_path: Path) -> None:
    write_shard(tmp_path, [*grid(), *grid(mmu="shadow"), *grid(mmu="shadow", write_percent=20)], growing)
    assert [panel_titles(line) for line in spec(tmp_path, facet="mmu")["vconcat"]] == [
        ["mmu=legacy_tdp write_percent=100", "mmu=shadow write_percent=100"],
        ["mmu=shadow write_percent=20"],
    ]


def test_the_title_is_that_of_the_table_and_the_axes_have_units(tmp_path: Path) -> None:
    write_shard(tmp_path, grid(), growing)
    assert spec(tmp_path)["title"]["text"] == "Iteration 1 dirty memory time"
    found = tables(tmp_path)
    assert (x_axis(found, None).title, y_axis(found, None).title) == ("vCPUs", "time (s)")


@pytest.mark.parametrize(
    ("metric", "title"),
    [
        ("dirty.stall_p99_ns", "stall_p99_ns (ns)"),
        ("dirty.exit_seconds", "exit_seconds (s)"),
        ("dirty.faults", "faults"),
    ],
)
def test_other_columns_are_named_as_they_are_queried(tmp_path: Path, metric: str, title: str) -> None:
    write_shard(tmp_path, [config()], lambda *row: {"stall_p99_ns": 5.0, "exit_seconds": 1.0, "faults": 3})
    assert y_axis(tables(tmp_path, metric), None).title == title


def test_vcpus_double_along_the_axis_and_each_is_a_tick(tmp_path: Path) -> None:
    write_shard(tmp_path, grid(), growing)
    axis = x_axis(tables(tmp_path), None)
    assert isinstance(axis, Axis)
    assert (axis.log, axis.ticks) == (2, (2, 4, 8))


def test_memory_is_drawn_in_units_that_people_write(tmp_path: Path) -> None:
    write_shard(tmp_path, [config(mem_per_vcpu=size, backing="4K") for size in ("512MiB", "1GiB", "2GiB")], growing)
    found = tables(tmp_path, x="mem_per_vcpu")
    assert x_axis(found, None).title == "memory per vCPU (GiB)"
    assert [mark["x"] for mark in marks(found[0])] == [0.5, 1, 2]


def test_words_stand_in_the_order_of_the_project_without_lines(tmp_path: Path) -> None:
    write_shard(tmp_path, [config(mmu=mmu) for mmu in ("shadow", "tdp", "nested")], growing)
    found = tables(tmp_path, x="mmu")
    assert x_axis(found, None) == WordAxis("mmu", ("tdp", "shadow", "nested"))
    assert all(mark["alone"] for mark in marks(found[0]))


@pytest.mark.parametrize(("factor", "base"), [(10, 0), (30, 10)])
def test_the_axis_of_the_metric_is_logarithmic_over_a_range_of_twenty(tmp_path: Path, factor: int, base: int) -> None:
    write_shard(
        tmp_path, [config(vcpus=vcpus) for vcpus in (1, 2)], lambda c, *row: {"seconds": factor ** (c.vcpus - 1)}
    )
    axis = y_axis(tables(tmp_path), None)
    assert axis.log == base
    assert (axis.domain[0] == 0) == (base == 0)


def test_a_few_zeros_on_an_axis_of_decades_make_it_linear_at_its_foot_which_is_said(tmp_path: Path) -> None:
    configs = [config(vcpus=vcpus) for vcpus in (1, 2, 4, 8)]
    write_shard(tmp_path, configs, lambda c, *row: {"seconds": 1.0, "faults": {1: 0, 2: 30, 4: 500, 8: 9900}[c.vcpus]})
    axis = y_axis(tables(tmp_path, "dirty.faults"), None)
    assert (axis.log, axis.linear_below, axis.domain[0]) == (10, 30, 0)
    assert axis.ticks == (0, 50, 100, 200, 500, 1000, 2000, 5000, 10000)
    drawn = spec(tmp_path, metric="dirty.faults")
    assert "the axis is logarithmic down to 30, and linear from there to 0 (symlog)" in drawn["title"]["subtitle"]
    assert '"type": "symlog"' in json.dumps(drawn)


def test_zeros_among_numbers_of_one_size_leave_the_axis_linear(tmp_path: Path) -> None:
    write_shard(tmp_path, grid(), growing)
    axis = y_axis(tables(tmp_path, "dirty.faults"), None)
    assert (axis.log, axis.linear_below, axis.domain[0]) == (0, 0, 0)


def test_scales_can_be_chosen(tmp_path: Path) -> None:
    write_shard(tmp_path, grid(), growing)
    found = tables(tmp_path)
    assert y_axis(found, True).log == 10
    linear = x_axis(found, False)
    assert isinstance(linear, Axis)
    assert linear.log == 0


def test_a_log_axis_has_ticks_that_read_well(tmp_path: Path) -> None:
    write_shard(
        tmp_path, [config(vcpus=vcpus) for vcpus in (1, 2)], lambda c, *row: {"seconds": 0.01 * 30 ** (c.vcpus - 1)}
    )
    assert y_axis(tables(tmp_path), None).ticks == (0.01, 0.02, 0.05, 0.1, 0.2)


def test_a_value_has_its_colour_and_shape_whatever_else_is_drawn() -> None:
    everything = looks("split", ["lazy", "fault", "eager"])
    assert [look[:2] for look in looks("split", ["eager"]).values()] == [everything["eager"][:2]]
    assert list(everything) == ["lazy", "fault", "eager"]
    assert len({look.colour for look in everything.values()}) == len({look.shape for look in everything.values()}) == 3
    assert looks("pml", [True])["true"].colour == looks("pml", [False, True])["true"].colour


def test_numbers_are_coloured_in_their_order() -> None:
    assert list(looks("vcpus", [16, 2, 128])) == ["2", "16", "128"]
    assert len({look.colour for look in looks("vcpus", range(20)).values()}) == 20


@pytest.mark.parametrize("words", [["dirty", "faults"], ["dirty.faults", None], ["dirty.faults", "faults"]])
def test_both_spellings_of_a_column_mean_the_same(words: list[Any]) -> None:
    assert chart_metric(words[0], words[1], None) == chart_metric("dirty.faults", None, 1)


def test_an_svg_holds_title_axes_and_legend(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_shard(tmp_path, grid(), growing)
    file = tmp_path / "dirty.svg"
    arguments = ["--x", "vcpus", "--y", "seconds", "--color", "split", "-o", str(file)]
    assert exit_code(["plot", str(tmp_path), *arguments]) == 0
    assert capsys.readouterr().out == f"{file}: 1 panel\n"
    assert {"Iteration 1 dirty memory time", "vCPUs", "time (s)", "split", "lazy", "eager", "8"} <= set(texts(file))


def test_a_png_has_two_pixels_a_point(tmp_path: Path) -> None:
    write_shard(tmp_path, grid(), growing)
    for form in ("svg", "png"):
        assert exit_code(["plot", str(tmp_path), "-o", str(tmp_path / f"dirty.{form}")]) == 0
    width, height = struct.unpack(">II", (tmp_path / "dirty.png").read_bytes()[16:24])
    drawn = ElementTree.parse(tmp_path / "dirty.svg").getroot()
    assert (width, height) == (2 * int(drawn.attrib["width"]), 2 * int(drawn.attrib["height"]))


def test_a_page_of_html_asks_the_network_for_nothing(tmp_path: Path) -> None:
    write_shard(tmp_path, grid(), growing)
    assert exit_code(["plot", str(tmp_path), "-o", str(tmp_path / "dirty.html")]) == 0
    page = (tmp_path / "dirty.html").read_text()
    assert re.findall(r"<link|<script[^>]+src=|jsdelivr", page) == []
    assert "Iteration 1 dirty memory time" in page


def test_help_needs_no_drawing_library() -> None:
    check = "import sys, sweep.cli; assert not {'altair', 'vl_convert'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True, cwd=Path(__file__).parents[3])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "chart.pdf"], "-o chart.pdf: its extension decides the format; allowed: .svg, .png, .html"),
        (["-o", "chart"], "-o chart: its extension decides the format"),
        (["-o", "nowhere/chart.svg"], "-o nowhere/chart.svg: there is no folder nowhere; make it first"),
        (["--x", "cpus"], "--x: there is no field 'cpus' to draw; allowed: mmu, split, vcpus"),
        (["--color", "repeat"], "--color: there is no field 'repeat'"),
        (["--color", "vcpus"], "--color: vcpus is the field of --x already"),
        (["--facet", "pml"], "--facet: 'pml' is no field that sets these configs apart; leave --facet out"),
        (["--metric", "dirt"], "--metric: there is no phase 'dirt'"),
        (["--y", "second"], "--y: there is no column 'second'; allowed: seconds, "),
        (["--metric", "dirty.faults", "--y", "reads"], "--y: reads, but --metric dirty.faults names faults"),
        (["--y", "faults", "--published"], "--published: only times were published, not faults"),
        (["--y", "reads", "--log-y"], "--log-y: reads is 0 in some configs, which has no place on a log axis"),
        (["--x", "split", "--color", "vcpus", "--log-x"], "--log-x: the values of split are words"),
        (["--where", "vcpus > 1000"], "--where: no config of this dataset matches vcpus > 1000"),
    ],
)
def test_an_option_that_cannot_be_followed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    write_shard(tmp_path, grid(), growing)
    monkeypatch.chdir(tmp_path)
    output = [] if "-o" in arguments else ["-o", "chart.svg"]
    assert error_of(capsys, ".", *arguments, *output).startswith(f"splitsweep: {message}")
    assert not (tmp_path / "chart.svg").exists()


def test_a_file_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_shard(tmp_path, grid(), growing)
    (tmp_path / "taken.svg").mkdir()
    assert "taken.svg: cannot write it: Is a directory" in error_of(capsys, tmp_path, "-o", tmp_path / "taken.svg")


def test_a_dataset_of_failures_has_nothing_to_draw(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_shard(tmp_path, grid(), failed=True)
    message = error_of(capsys, tmp_path, "-o", tmp_path / "chart.svg")
    assert message.startswith("splitsweep: --metric: nothing to draw, 6 configs and none with a value")


def test_too_many_panels_are_refused_with_the_fields_that_make_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_shard(tmp_path, [config(write_percent=percent) for percent in range(1, 26)], growing)
    message = error_of(capsys, tmp_path, "-o", tmp_path / "chart.svg")
    assert message.startswith("splitsweep: --where: the configs differ in write_percent too, which makes 25 panels")
