"""What `splitsweep report` writes: one file that names what was run and holds the dataset's own numbers."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from core.identity import ENGINE_VERSION
from sweep.cli import exit_code
from tests.sweep.datasets import write_shard
from tests.sweep.nightly.nights import night
from tests.sweep.report.datasets import config, seconds, write_report_dataset


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("report")
    write_report_dataset(folder / "sweep")
    return written(folder / "sweep", folder / "report.html")


def written(dataset: Path, file: Path, *options: str) -> str:
    assert exit_code(["report", str(dataset), "-o", str(file), *options]) == 0
    return file.read_text()


def numbers(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="numbers">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    return data


def rows(page: str, column: str) -> dict[tuple[str, ...], Any]:
    """A column of the page's numbers by phase and the words of its fields."""
    data = numbers(page)
    texts = {field["name"]: field["texts"] for field in data["fields"]}
    return {
        (data["phases"][phase]["text"], *(texts[name][data["rows"][name][row]] for name in texts)): value
        for row, (phase, value) in enumerate(zip(data["rows"]["phase"], data["rows"][column], strict=True))
    }


def test_the_page_holds_every_number_of_the_dataset_under_the_fields_that_tell_it_apart(page: str) -> None:
    data = numbers(page)
    assert [field["name"] for field in data["fields"]] == ["mmu", "split", "vcpus", "write_percent"]
    found = rows(page, "seconds")
    assert len(found) == 18 * len(data["phases"])
    assert found["dirty 1", "shadow", "lazy", "8", "20"] == seconds("shadow", "lazy", 8)
    assert found["dirty 1", "legacy_tdp", "eager", "2", "100"] == pytest.approx(seconds("legacy_tdp", "eager", 2))


def test_phases_stand_in_the_order_of_a_run(page: str) -> None:
    texts = [phase["text"] for phase in numbers(page)["phases"]]
    assert texts == ["populate", "enable", "disable", "after_disable", "dirty 1", "get 1", "clear 1"]


def test_published_times_stand_beside_the_configs_they_were_measured_on(page: str) -> None:
    assert rows(page, "published")["dirty 1", "legacy_tdp", "lazy", "2", "100"] == 0.310786549


def test_the_page_says_what_was_run_and_whose_numbers_they_are(page: str) -> None:
    assert "18 configs done, 1 failed" in page
    assert "simulated by splitsweep: 1GiB per vCPU, backing 1G, MMU of kernel 6.12, profile cascade-lake-2022" in page
    assert f"engine version {ENGINE_VERSION}" in page
    assert '<th scope="row">vcpus</th><td>2, 4, 8</td>' in page


def test_the_tables_of_the_thread_are_there_with_published_values_and_errors(page: str) -> None:
    assert "Iteration 1 dirty memory time" in page
    assert "<td>0.310786549s</td>" in page
    assert "published in: thread, v1 cover letter" in page


def test_failures_come_with_their_reason_and_the_command_that_shows_them(page: str) -> None:
    assert "no memory for the page tables" in page
    assert "splitsweep explain vcpus=16" in page


def test_a_dataset_without_failures_has_no_such_part(tmp_path: Path) -> None:
    write_shard(tmp_path / "sweep", [config()])
    assert "What failed" not in written(tmp_path / "sweep", tmp_path / "report.html")


def test_a_dataset_of_one_config_nobody_published_is_a_page_too(tmp_path: Path) -> None:
    write_shard(tmp_path / "sweep", [config(vcpus=3)])
    page = written(tmp_path / "sweep", tmp_path / "report.html")
    assert "No config of this dataset is one that was published" in page
    assert [field["name"] for field in numbers(page)["fields"]] == ["vcpus", "split"]


def test_where_chooses_what_is_reported(tmp_path: Path) -> None:
    write_report_dataset(tmp_path / "sweep")
    page = written(tmp_path / "sweep", tmp_path / "report.html", "--where", "mmu = 'shadow' AND write_percent = 20")
    assert [field["name"] for field in numbers(page)["fields"]] == ["split", "vcpus"]


def test_words_of_the_dataset_cannot_become_markup(tmp_path: Path) -> None:
    write_shard(tmp_path / "sweep", [config()], error="<script>alert(1)</script>")
    write_shard(tmp_path / "sweep", [config(vcpus=2)], batch=1, failed=True, host="</script><b>")
    page = written(tmp_path / "sweep", tmp_path / "report.html")
    assert "<b>" not in page
    assert "alert(1)" not in page.replace("&lt;script&gt;alert(1)&lt;/script&gt;", "")


def test_the_chart_library_is_there_once_and_the_page_stays_small(page: str) -> None:
    assert len(page.encode()) < 3_000_000
    assert page.count("window.vegaEmbed = vegaEmbed") + page.count("window.vegaEmbed=") == 1
    assert re.findall(r"<link|<script[^>]+src=|jsdelivr", page) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "report.pdf"], "-o report.pdf: a report is a page of HTML; allowed: a name that ends in .html"),
        (["-o", "nowhere/report.html"], "-o nowhere/report.html: there is no folder nowhere; make it first"),
        (["-o", "taken.html"], "-o taken.html: cannot write it: Is a directory"),
        (["-o", "report.html", "--where", "vcpus > 100"], "nothing to report: no config that matches vcpus > 100"),
        (["-o", "report.html", "--where", "vcpu > 100"], "where: no field vcpu"),
        ([], "Missing option '--output' / '-o'"),
    ],
)
def test_an_option_that_cannot_be_followed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    write_shard(tmp_path, [config()])
    (tmp_path / "taken.html").mkdir()
    monkeypatch.chdir(tmp_path)
    assert exit_code(["report", ".", *arguments]) == 2
    *_, line = capsys.readouterr().err.splitlines()  # a busy machine says before what it waits for
    assert line.startswith(f"splitsweep: {message}")


def test_another_dataset_is_compared_with(tmp_path: Path) -> None:
    for name in ("before", "after"):
        write_report_dataset(tmp_path / name)
    page = written(tmp_path / "after", tmp_path / "report.html", "--against", str(tmp_path / "before"))
    assert '<section id="comparison"' in page
    assert "nothing worse: 0 of 792 simulated numbers differ" in page


def test_the_nights_of_a_history_are_shown(tmp_path: Path) -> None:
    for _ in range(2):
        night(tmp_path / "history")
    write_report_dataset(tmp_path / "sweep")
    page = written(tmp_path / "sweep", tmp_path / "report.html", "--history", str(tmp_path / "history"))
    assert '<section id="history"' in page
    assert "over 2 nights" in page


@pytest.mark.parametrize("option", ["--against", "--history"])
def test_what_is_not_there_is_refused(option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_report_dataset(tmp_path / "sweep")
    words = ["report", str(tmp_path / "sweep"), "-o", str(tmp_path / "report.html"), option, str(tmp_path / "none")]
    assert exit_code(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert str(tmp_path / "none") in line
    assert not (tmp_path / "report.html").exists()
