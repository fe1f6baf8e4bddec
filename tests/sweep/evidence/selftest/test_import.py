"""What `splitsweep import` promises: every printed time becomes a row, nothing is guessed silently, nothing doubles."""

from __future__ import annotations

import io
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from core.config import Config, config_text, make_config
from core.errors import ConfigError
from core.rows import PHASE_COLUMNS, RUN_COLUMNS
from sweep.cli import exit_code
from sweep.dataset.query import query
from sweep.evidence.measurements import MeasurementError
from sweep.evidence.selftest.command import read_command
from sweep.evidence.selftest.imports import configured_runs
from sweep.evidence.selftest.text import SelftestText, Timing, read_selftest_text

DATA = Path(__file__).parents[3] / "data"
DOCUMENT = Path(__file__).parents[4] / "docs" / "measuring.md"
OLD, NEW, LOOP = (DATA / f"dirty-log-perf-{name}.txt" for name in ("5.17", "6.12", "loop"))

SHORT = """\
Test iterations: 1
Iteration 1 dirty memory time: {seconds}s
Iteration 1 get dirty log time: 0.000000001s
Iteration 1 clear dirty log time: 0.000000002s
"""
ONE, TWO = SHORT.format(seconds="1.000000000"), SHORT.format(seconds="2.000000000")


def read(text: str) -> SelftestText:
    return read_selftest_text("log", text.splitlines())


def configs(text: str, **words: object) -> list[Config]:
    return [item.config for item in configured_runs(read(text).runs, words)]


def texts(text: str, **words: object) -> list[str]:
    return [config_text(config) for config in configs(text, **words)]


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def imported(*words: str) -> int:
    return exit_code(["import", *words, "--results", "here"])


def rows(sql: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = query("here", sql).to_pylist()
    return found


# what the test prints


def test_the_old_format_without_a_clear_is_a_run_without_manual_protection() -> None:
    (run,) = read(OLD.read_text()).runs
    assert [(timing.phase, timing.iteration) for timing in run.timings] == [
        ("populate", None),
        ("enable", None),
        ("dirty", 1),
        ("get", 1),
        ("dirty", 2),
        ("get", 2),
        ("disable", None),
    ]
    assert run.timings[2] == Timing("dirty", 1, 0.310786549)
    assert run.place == "log:1"
    assert texts(OLD.read_text()) == ["mmu=tdp manual_protect=false"]


def test_the_new_format_tells_iterations_seed_and_memory() -> None:
    (run,) = read(NEW.read_text()).runs
    assert (run.iterations, run.has_clear, run.seed, run.memory) == (3, True, 1, 4 * 2**30)
    assert len(run.timings) == 12
    assert run.timings[-1] == Timing("disable", None, 0.004702919)


def test_every_line_of_the_formats_is_known() -> None:
    assert [read(file.read_text()).unknown_lines for file in (OLD, NEW, LOOP)] == [0, 0, 1]


def test_a_loop_leaves_a_run_for_each_turn_with_its_header_and_command() -> None:
    text = read(LOOP.read_text())
    assert [run.place for run in text.runs] == ["log:3", "log:21"]
    assert texts(LOOP.read_text()) == [
        "vcpus=2 backing=1G mmu=tdp split=fault",
        "vcpus=2 backing=1G mmu=tdp",
    ]


def test_runs_are_told_apart_without_any_preamble() -> None:
    lines = [line for line in (ONE + TWO).splitlines() if line.startswith("Iteration")]
    assert [run.timings[0].seconds for run in read("\n".join(lines)).runs] == [1.0, 2.0]


def test_windows_line_ends_and_indentation_do_no_harm() -> None:
    assert len(read(ONE.replace("\n", "\r\n  ")).runs[0].timings) == 3


# what the output does not say


def test_what_nothing_says_is_the_default() -> None:
    assert configs(ONE) == [make_config({"iterations": 1})]


def test_a_header_holds_for_the_runs_after_it_and_wins_over_the_words() -> None:
    text = f"{ONE}# vcpus=8 split=lazy\n{TWO}# vcpus=16\n{ONE}"
    assert [(config.vcpus, config.split) for config in configs(text, vcpus=2)] == [
        (2, "eager"),
        (8, "lazy"),
        (16, "lazy"),
    ]


def test_a_header_wins_over_the_command_line_of_the_test() -> None:
    (config,) = configs(f"# backing=4K\n./dirty_log_perf_test -s anonymous_thp\n{ONE}")
    assert config.backing == "4K"


def test_the_command_line_holds_until_the_next_one() -> None:
    text = f"$ ./dirty_log_perf_test -v 4 -x 2\n{ONE}{TWO}$ sudo ./dirty_log_perf_test -v 8 > log\n{ONE}"
    assert [(config.vcpus, config.slots) for config in configs(text)] == [(4, 2), (4, 2), (8, 1)]


@pytest.mark.parametrize(
    ("options", "fields"),
    [
        ("-v 64 -b 1G -s anonymous_hugetlb_1gb", {"vcpus": 64, "mem_per_vcpu": 2**30, "backing": "1G"}),
        ("-b512m", {"mem_per_vcpu": 2**29}),
        ("-s anonymous", {"backing": "4K"}),
        ("-s anonymous_thp", {"backing": "2M"}),
        ("-s anonymous_hugetlb_2mb", {"backing": "2M"}),
        ("-i 5 -x 4 -r 7", {"iterations": 5, "slots": 4, "seed": 7}),
        ("-f 5", {"write_percent": 20, "write_pattern": "stride"}),
        ("-w 20", {"write_percent": 20, "write_pattern": "random"}),
        ("-g", {"manual_protect": False, "initially_all_set": False}),
        ("-ao", {"access_order": "random", "partitioned": False}),
        ("-n", {"mmu": "nested"}),
        ("", {}),
        ("-v 2 2>&1 | tee -a log", {"vcpus": 2}),
        ("-v 2; done", {"vcpus": 2}),
    ],
)
def test_options_are_fields(options: str, fields: dict[str, object]) -> None:
    command = read_command(f"taskset -c 0-7 /usr/bin/dirty_log_perf_test {options}")
    assert command is not None
    assert command.fields == fields


def test_options_without_a_field_are_named() -> None:
    command = read_command("./dirty_log_perf_test -e -c 0,1 -p 0x1000 -m 2 -Z 9 -v 2")
    assert command is not None
    assert (command.fields, command.unused) == ({"vcpus": 2}, ("-e", "-c", "-p", "-m", "-Z"))


@pytest.mark.parametrize(
    "line",
    [
        "usage: ./dirty_log_perf_test [-h] [-a] [-i iterations] [-p offset]",
        "for v in 2 4; do ./dirty_log_perf_test -v $v; done",
        "make: 'dirty_log_perf_test' is up to date.",
        "dirty_log_perf_test is great",
        "./dirty_log_test -i 2",
    ],
)
def test_other_lines_are_no_command(line: str) -> None:
    assert read_command(line) is None


def test_the_size_of_the_memory_tells_what_is_not_stated() -> None:
    text = NEW.read_text()
    assert [(config.vcpus, config.mem_per_vcpu) for config in configs(text, vcpus=2)] == [(2, 2**31)]
    assert [(config.vcpus, config.mem_per_vcpu) for config in configs(text, mem_per_vcpu=2**30)] == [(4, 2**30)]
    assert [(config.vcpus, config.mem_per_vcpu) for config in configs(text)] == [(1, 2**32)]


# what cannot be right


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "log: no run of dirty_log_perf_test in it"),
        ("Hello\nTest iterations: 2\n", "log: no run of dirty_log_perf_test in it"),
        (f"# vcpus=two\n{ONE}", "log:1: vcpus: 'two' is not a whole number"),
        (f"# vcpus=0\n{ONE}", "log:1: vcpus: 0 is out of range; allowed: 1 to 4096"),
        (f"\n# vcpu=2\n{ONE}", "log:2: vcpu: no such field; allowed: vcpus"),
        (f"# vcpus=2, mmu=tdp\n{ONE}", "log:1: vcpus: '2,' is not a whole number"),
        (f"# vcpus = 2 mmu=tdp\n{ONE}", "log:1: 'vcpus' is not FIELD=VALUE"),
        (f"# mmu=tdp engine=kvm\n{ONE}", "log:1: engine: is set by the import; leave it out"),
        (f"./dirty_log_perf_test -v two\n{ONE}", "log:1: -v two: is not a whole number"),
        (f"./dirty_log_perf_test -v 0\n{ONE}", "log:1: vcpus: 0 is out of range; allowed: 1 to 4096"),
        (f"./dirty_log_perf_test -b 0\n{ONE}", "log:1: mem_per_vcpu: 0 bytes is no multiple"),
        (f"./dirty_log_perf_test -w 101\n{ONE}", "log:1: write_percent: 101 is out of range"),
        (f"./dirty_log_perf_test -b 1T\n{ONE}", "log:1: -b 1T: is not a size"),
        (f"./dirty_log_perf_test -f 3\n{ONE}", "log:1: -f 3: is no whole percentage"),
        (f"./dirty_log_perf_test -f 0\n{ONE}", "log:1: -f 0: is no whole percentage"),
        (f"./dirty_log_perf_test -s shmem\n{ONE}", "log:2: backing: -s shmem does not tell it; add backing="),
        (
            f"./dirty_log_perf_test -g\n{ONE}",
            "log:2: manual_protect: false is given, but what the test printed says true",
        ),
        (f"./dirty_log_perf_test -i 2\n{ONE}", "log:2: iterations: 2 is given, but what the test printed says 1"),
        (f"# iterations=3\n{ONE}", "log:2: iterations: 3 is given, but what the test printed says 1"),
        (f"# slots=3\n{ONE}", "log:2: mem_per_vcpu: 1 vCPUs x 1GiB in 3 slot(s) is not made of"),
        (
            f"# vcpus=2 mem_per_vcpu=1GiB\n{NEW.read_text()}",
            "log:2: vcpus: the test memory is 4GiB, which is not 2 x 1GiB",
        ),
        (f"# vcpus=3\n{NEW.read_text()}", "log:2: vcpus: the test memory is 4GiB, which is not 3 x mem_per_vcpu"),
        (ONE.replace(": 1\n", ": 2\n"), "log:1: the run has 1 of 2 iterations"),
        ("\n".join(ONE.splitlines()[:2]), "log:1: the run is not whole in iteration 1 ('get dirty log time')"),
        (ONE.replace("Iteration 1", "Iteration 2"), "log:1: the run is not whole in iteration 1 ('dirty memory time')"),
        ("Populate memory time: 0.5s", "log:1: the run has no 'Iteration 1 dirty memory time'"),
        (
            "\n".join(NEW.read_text().splitlines()[:12]),
            "log:1: the run is not whole in iteration 2 ('clear dirty log time')",
        ),
    ],
)
def test_what_cannot_be_right_is_an_error_with_its_place(text: str, says: str) -> None:
    with pytest.raises(MeasurementError, match=f"^{re.escape(says)}"):
        configs(text)


def test_words_that_the_command_line_denies_are_an_error() -> None:
    with pytest.raises(MeasurementError, match=r"^log:2: vcpus: 2 is given, but the test's command line says 4"):
        configs(f"./dirty_log_perf_test -v 4\n{ONE}", vcpus=2)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["vcpus=2"], "no file to import"),
        (["missing.txt"], "missing.txt: no such file"),
        (["."], ".: cannot be read: Is a directory"),
        (["binary"], "binary: is no text"),
        (["log", "vcpus=2", "vcpus=4"], "vcpus: given twice"),
        (["log", "vcpus=2,4"], "vcpus: '2,4' is not a whole number"),
        (["log", "repeat=1"], "repeat: is set by the import"),
        (["log", "nothing=1"], "nothing: no such field"),
    ],
)
def test_bad_usage_is_one_line_and_writes_nothing(
    words: list[str], says: str, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (workplace / "log").write_text(ONE)
    (workplace / "binary").write_bytes(b"\x7fELF\xff\xfe")
    assert imported(*words) == 2
    printed = capsys.readouterr().err
    assert printed.startswith(f"splitsweep: {says}")
    assert printed.count("\n") == 1
    assert not (workplace / "here").exists()


# the dataset


def test_the_dataset_has_the_result_schema(workplace: Path) -> None:
    assert imported(str(LOOP)) == 0
    assert query("here", "SELECT * FROM runs").column_names == [column.name for column in RUN_COLUMNS]
    assert query("here", "SELECT * FROM phases").column_names == [column.name for column in PHASE_COLUMNS]
    (run, _) = rows("SELECT * FROM runs ORDER BY split DESC")
    assert {"engine": "kvm", "status": "ok", "vcpus": 2, "mmu": "tdp", "repeat": 0}.items() <= run.items()
    assert {run[name] for name in ("host", "wall_seconds", "node_cpus", "started_at", "error")} == {None}
    (phase,) = rows("SELECT * FROM phases WHERE phase = 'clear' AND iteration = 2 AND split = 'fault'")
    assert (phase["seconds"], phase["config_id"]) == (0.015613726, run["config_id"])
    assert {phase[name] for name in ("seconds_lo", "faults", "dirty_pages", "other_seconds")} == {None}


def test_importing_a_file_twice_doubles_nothing(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert imported(str(LOOP), str(LOOP)) == 0
    assert "2 runs imported, 2 there already; 2 unknown lines passed over" in capsys.readouterr().out
    assert imported(str(LOOP)) == 0
    assert "0 runs imported, 2 there already" in capsys.readouterr().out
    assert rows("SELECT count(*) AS n FROM runs") == [{"n": 2}]
    assert rows("SELECT count(*) AS n FROM phases") == [{"n": 18}]


def test_repeated_runs_are_counted_through_all_imports(workplace: Path) -> None:
    (workplace / "first").write_text(ONE + TWO)
    (workplace / "second").write_text(TWO + SHORT.format(seconds="3.000000000"))
    for file in ("first", "second", "first"):
        assert imported(file) == 0
    found = rows("SELECT repeat, seconds FROM phases WHERE phase = 'dirty' ORDER BY ALL")
    assert [(row["repeat"], row["seconds"]) for row in found] == [(0, 1.0), (1, 2.0), (2, 3.0)]


def test_equal_runs_in_one_file_are_repeats(workplace: Path) -> None:
    (workplace / "log").write_text(ONE + ONE)
    for _ in range(2):
        assert imported("log") == 0
    assert [row["repeat"] for row in rows("SELECT repeat FROM runs ORDER BY repeat")] == [0, 1]


def test_the_summary_shows_what_was_assumed(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert imported(str(NEW), "vcpus=4", "mmu=shadow", "backing=2M") == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{NEW}:1: vcpus=4 backing=2M mmu=shadow iterations=3",
        "here: 1 run imported; 0 unknown lines passed over",
    ]


def test_timings_that_are_there_under_another_config_are_noted(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (workplace / "log").write_text(ONE)
    assert imported("log") == 0
    capsys.readouterr()
    assert imported("log", "split=lazy") == 0
    assert "note: the dataset holds the same timings also as mmu=tdp iterations=1" in capsys.readouterr().out


def test_a_dash_is_stdin(workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(OLD.read_bytes())))
    assert imported("-", "vcpus=2") == 0
    assert capsys.readouterr().out.startswith("stdin:1: vcpus=2 mmu=tdp manual_protect=false\n")


def test_no_user_may_run_a_measurement(workplace: Path) -> None:
    with pytest.raises(ConfigError, match="engine"):
        make_config({"engine": "kvm"})


def test_status_and_table_answer_on_measurements(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert imported(str(LOOP)) == 0
    capsys.readouterr()
    assert exit_code(["status", "here"]) == 0
    assert "engine    kvm dirty_log_perf_test" in capsys.readouterr().out
    assert exit_code(["table", "here", "--metric", "dirty", "--iteration", "2"]) == 0
    assert "2            | 0.310786549s         | 0.059615316s         |" in capsys.readouterr().out


def test_every_command_of_the_document_runs(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = DOCUMENT.read_text()
    (spec,) = re.findall(r"```toml\n(.*?)```", document, re.DOTALL)
    (workplace / "same.toml").write_text(spec.replace("vcpus = [2, 4, 8]", "vcpus = [2]"))
    (workplace / "measured.txt").write_text(LOOP.read_text())
    commands = re.findall(r"^splitsweep (.*)$", document, re.MULTILINE)
    assert len(commands) > 5
    for command in commands:
        capsys.readouterr()
        assert exit_code(shlex.split(command)) == 0, command
        if command.endswith("--iteration 1 --rows vcpus --columns engine"):
            printed = capsys.readouterr().out
            assert printed.count("| engine=sim           | engine=kvm           |") == 2


def test_the_command_has_help_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["import", "--help"]) == 0
    assert "splitsweep import eager.txt lazy.txt" in capsys.readouterr().out
