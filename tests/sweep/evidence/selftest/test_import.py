"""What `splitsweep import` promises: every printed time becomes a row, nothing doubles, nothing is pooled silently."""

from __future__ import annotations

import io
import os
import re
import shlex
import sys
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from core.kvm.engine import measure
from core.kvm.host import Host
from core.rows import PHASE_COLUMNS, RUN_COLUMNS
from sweep.cli import exit_code
from sweep.dataset.query import query
from sweep.dataset.store import open_store
from sweep.running.execute import execute
from sweep.running.plan import make_plan
from sweep.spec.configs import load_spec
from tests.core.kvm.conftest import binary, host  # noqa: F401
from tests.sweep.evidence.selftest.outputs import ONE, SHORT, TWO

DATA = Path(__file__).parents[3] / "data"
DOCUMENT = Path(__file__).parents[4] / "docs" / "measuring.md"
OLD, NEW, LOOP = (DATA / f"dirty-log-perf-{name}.txt" for name in ("5.17", "6.12", "loop"))


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def imported(*words: str) -> int:
    return exit_code(["import", *words, "--results", "here"])


def rows(sql: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = query("here", sql).to_pylist()
    return found


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["vcpus=2"], "no file to import"),
        (["missing.txt"], "missing.txt: no such file"),
        (["."], ".: cannot be read: Is a directory"),
        (["binary"], "binary: is no text"),
        (["log", "vcpus=2", "vcpus=4"], "vcpus: given twice"),
        (["log", "label=a", "--label", "b"], "label: given twice"),
        (["log", "vcpus=2,4"], "vcpus: '2,4' is not a whole number"),
        (["log", "repeat=1"], "repeat: is set by the import"),
        (["log", "nothing=1"], "nothing: no such field"),
        (["log", "kernel=4.19"], "kernel: 4.19 is older than the TDP MMU"),
        (["log", "tdp_mmu=x"], "tdp_mmu: 'x' is not allowed"),
    ],
)
def test_bad_usage_is_one_line_and_writes_nothing(
    words: list[str], says: str, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (workplace / "log").write_text(ONE)
    (workplace / "binary").write_bytes(b"\x7fELF\0\xff\xfe")
    assert imported(*words) == 2
    printed = capsys.readouterr().err
    assert printed.startswith(f"splitsweep: {says}")
    assert printed.count("\n") == 1
    assert not (workplace / "here").exists()


def test_the_dataset_has_the_result_schema(workplace: Path) -> None:
    assert imported(str(LOOP)) == 0
    assert query("here", "SELECT * FROM runs").column_names == [*(column.name for column in RUN_COLUMNS), "origin"]
    assert query("here", "SELECT * FROM phases").column_names == [*(column.name for column in PHASE_COLUMNS), "origin"]
    (run, _) = rows("SELECT * FROM runs ORDER BY split DESC")
    assert {"engine": "kvm", "status": "ok", "vcpus": 2, "mmu": "tdp", "repeat": 0}.items() <= run.items()
    assert {run[name] for name in ("host", "wall_seconds", "node_cpus", "error")} == {None}
    (phase,) = rows("SELECT * FROM phases WHERE phase = 'clear' AND iteration = 2 AND split = 'fault'")
    assert (phase["seconds"], phase["config_id"]) == (0.015613726, run["config_id"])
    assert {phase[name] for name in ("seconds_lo", "faults", "dirty_pages", "other_seconds")} == {None}


def test_every_row_says_where_it_comes_from(workplace: Path) -> None:
    (workplace / "log").write_text(f"# host=box kernel=6.6.14 label=base\n{ONE}")
    os.utime("log", (86400, 86400))
    assert imported("log") == 0
    for table in ("runs", "phases"):
        found = rows(f"SELECT DISTINCT label, host, kernel, kernel_release, source, started_at FROM {table}")
        assert [tuple(row.values()) for row in found] == [
            ("base", "box", "6.12", "6.6.14", "log", datetime(1970, 1, 2, tzinfo=UTC))
        ]


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


def test_the_same_config_of_two_hosts_stays_two(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (workplace / "log").write_text(ONE)
    (workplace / "other").write_text(TWO)
    assert imported("log", "host=a") == 0
    assert imported("other", "host=b") == 0
    assert imported("log", "host=b", "--label", "again") == 0
    found = rows("SELECT host, label, repeat, config_id FROM runs ORDER BY ALL")
    assert [(row["host"], row["label"], row["repeat"]) for row in found] == [
        ("a", "", 0),
        ("b", "", 0),
        ("b", "again", 0),
    ]
    assert len({row["config_id"] for row in found}) == 3
    assert "warning" not in capsys.readouterr().out


def test_repeats_that_differ_too_much_are_warned_of(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (workplace / "log").write_text(ONE + SHORT.format(seconds="1.400000000"))
    assert imported("log") == 0
    assert "warning" not in capsys.readouterr().out
    (workplace / "more").write_text(TWO)
    assert imported("more") == 0
    assert (
        "warning: the 3 repeats of mmu=tdp iterations=1 differ by a factor of 2 in dirty 1 (1s to 2s); "
        "if they are not one configuration, tell them apart with --label" in capsys.readouterr().out
    )


def test_the_summary_shows_what_was_assumed(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert imported(str(NEW), "vcpus=4", "mmu=shadow", "host=box") == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{NEW}:1: vcpus=4 mmu=shadow split=lazy iterations=3 host=box",
        "here: 1 run imported; 0 unknown lines passed over",
    ]


def test_what_is_skipped_is_counted_and_shown(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    harness = "".join(f"# {line}\n" for line in ONE.splitlines())
    (workplace / "log").write_text("TAP version 13\n1..1\n" + harness + "".join(f"noise {n}\n" for n in range(5)))
    assert imported("log") == 0
    assert capsys.readouterr().out.splitlines() == [
        "log:3: mmu=tdp iterations=1",
        "log: what stood in front of 4 lines of the test was taken away",
        "log:1: passed over: TAP version 13",
        "log:2: passed over: 1..1",
        "log:7: passed over: noise 0",
        "log:8: passed over: noise 1",
        "log:9: passed over: noise 2",
        "log: and 2 more lines passed over",
        "here: 1 run imported; 7 unknown lines passed over",
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
    assert capsys.readouterr().out.startswith("stdin:1: vcpus=2 mmu=tdp split=lazy manual_protect=false kernel=6.1\n")


def test_a_file_may_have_the_name_of_a_word(workplace: Path) -> None:
    (workplace / "vcpus=2").write_text(ONE)
    assert imported("vcpus=2") == 0


def test_status_and_table_answer_on_measurements(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert imported(str(LOOP)) == 0
    capsys.readouterr()
    assert exit_code(["status", "here"]) == 0
    assert "engine    kvm dirty_log_perf_test" in capsys.readouterr().out
    assert exit_code(["table", "here", "--metric", "dirty", "--iteration", "2"]) == 0
    assert "2            | 0.310786549s         | 0.059615316s         |" in capsys.readouterr().out


def test_every_command_of_the_document_runs(
    workplace: Path,
    host: Host,  # noqa: F811
    binary: str,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    document = DOCUMENT.read_text()
    hardware, same = re.findall(r"```toml\n(.*?)```", document, re.DOTALL)
    small = hardware.replace('backing = "1G"', 'backing = "4K"').replace("1GiB", "16MiB")
    (workplace / "host.toml").write_text(small)
    (workplace / "same.toml").write_text(same.replace("vcpus = [2, 4, 8]", "vcpus = [2]"))
    (workplace / "measured.txt").write_text(LOOP.read_text())
    commands = re.findall(r"^splitsweep (.*)$", document, re.MULTILINE)
    assert commands.pop(0) == "run host.toml --results results/host --address inline --binary ./dirty_log_perf_test"
    plan = make_plan(load_spec(workplace / "host.toml", []).configs, set())  # on a host that is not this one
    engine = partial(measure, binary=binary, host=host)
    assert execute(plan, open_store("results/host"), "inline", lambda progress: None, engine=engine).done == 18
    for command in commands:
        capsys.readouterr()
        assert exit_code(shlex.split(command)) == 0, command
        if command.endswith("--iteration 1 --rows vcpus --columns engine"):
            printed = capsys.readouterr().out
            assert printed.count("| engine=sim           | engine=kvm           |") == 2


def test_the_command_has_help_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["import", "--help"]) == 0
    assert "splitsweep import eager.txt lazy.txt" in capsys.readouterr().out
