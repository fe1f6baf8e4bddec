"""The command line as a user meets it: help, version, exit codes, and the one line that an error is."""

import os
import resource
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from sweep.cli import exit_code

REPOSITORY = Path(__file__).parents[2]
COMMANDS = (
    "run",
    "status",
    "query",
    "table",
    "plot",
    "report",
    "explain",
    "validate",
    "calibrate",
    "import",
    "compare",
    "nightly",
    "history",
)
SMALL = 'name = "small"\n[fixed]\nmem_per_vcpu = "2MiB"\n[[grid]]\nsplit = ["lazy", "eager"]\nvcpus = [1, 2]\n'


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a small spec."""
    (tmp_path / "small.toml").write_text(SMALL)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def in_new_process(*arguments: str, folder: Path, memory_bytes: int = -1) -> subprocess.Popen[str]:
    """splitsweep as its own process, as a shell starts it, perhaps with a limit on its memory."""
    return subprocess.Popen(
        [sys.executable, "-c", "from sweep.cli import main; main()", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["--help"]) == 0
    printed = capsys.readouterr().out
    for command in COMMANDS:
        assert f"\n  {command} " in printed
    assert "--debug" in printed
    assert "--version" in printed


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code([command, "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    example = next(number for number, line in enumerate(lines) if line.strip() == "Example:")
    assert lines[example + 1].strip().startswith(f"splitsweep {command}")


def test_help_imports_nothing_heavy() -> None:
    heavy = "{'pandas', 'ray', 'numba', 'numpy', 'scipy', 'pyarrow', 'duckdb'}"
    check = f"assert not {heavy} & set(sys.modules)"
    program = f"import sys; from sweep.cli import exit_code; exit_code(['run', '--help']); {check}"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=REPOSITORY, stdout=subprocess.DEVNULL)


def test_the_version_is_that_of_the_installed_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["--version"]) == 0
    try:
        expected = f"splitsweep {version('splitsweep')}\n"
    except PackageNotFoundError:
        expected = "splitsweep, run from a checkout that is not installed\n"
    assert capsys.readouterr().out == expected


def test_no_command_prints_the_help_and_is_bad_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code([]) == 2
    assert "Example:" in capsys.readouterr().out


def test_an_unknown_command_is_one_line_and_bad_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["rum"]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("splitsweep: No such command 'rum'")
    assert printed.err.count("\n") == 1


@pytest.mark.parametrize("place", ["before", "after"])
def test_debug_shows_the_traceback_of_an_error(place: str, workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["run", "missing.toml"]
    assert exit_code(["--debug", *words] if place == "before" else [*words, "--debug"]) == 2
    printed = capsys.readouterr().err
    assert "Traceback (most recent call last)" in printed
    assert printed.splitlines()[-1].startswith("splitsweep: missing.toml: no such file")


def test_a_dry_run_says_what_would_run_and_writes_nothing(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["run", "small.toml", "vcpus=1,2,4", "pml=true", "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "6 configs" in printed
    assert "results/small" in printed
    assert "split=lazy" in printed
    assert [path.name for path in workplace.iterdir()] == ["small.toml"]


def test_a_run_leaves_a_dataset_and_a_second_run_has_nothing_to_do(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(["run", "small.toml", "--address", "inline"]) == 0
    first = sorted(path.name for path in (workplace / "results" / "small" / "runs").iterdir())
    assert "4 done" in capsys.readouterr().out
    assert exit_code(["run", "small.toml", "--address", "inline"]) == 0
    assert "0 done" in capsys.readouterr().out
    assert sorted(path.name for path in (workplace / "results" / "small" / "runs").iterdir()) == first


def test_the_spec_in_the_results_gives_the_same_sweep(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["run", "small.toml", "vcpus=1", "--results", "here", "--address", "inline"]) == 0
    capsys.readouterr()
    assert exit_code(["run", "here/spec.toml", "--results", "here", "--address", "inline", "--dry-run"]) == 0
    assert "2 done already" in capsys.readouterr().out


def test_another_spec_adds_its_configs_to_the_results(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for override in ("vcpus=1", "vcpus=2"):
        assert exit_code(["run", "small.toml", override, "--results", "here", "--address", "inline"]) == 0
    capsys.readouterr()
    assert exit_code(["run", "small.toml", "--results", "here", "--dry-run"]) == 0
    assert "4 done already" in capsys.readouterr().out
    assert "vcpus = 2" in (workplace / "here" / "spec.toml").read_text().replace("[2]", "2")


def test_fresh_starts_over_and_keeps_what_is_not_of_the_dataset(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(["run", "small.toml", "--results", "here", "--address", "inline"]) == 0
    (workplace / "here" / "notes.txt").write_text("mine")
    capsys.readouterr()
    assert exit_code(["run", "small.toml", "vcpus=1", "--results", "here", "--address", "inline", "--fresh"]) == 0
    assert "2 done" in capsys.readouterr().out
    assert (workplace / "here" / "notes.txt").read_text() == "mine"
    assert exit_code(["run", "small.toml", "--results", "here", "--dry-run"]) == 0
    assert "2 done already" in capsys.readouterr().out


def test_a_cluster_that_cannot_be_reached_leaves_results_as_they_are(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(["run", "small.toml", "vcpus=1", "--results", "here", "--address", "inline"]) == 0
    spec = (workplace / "here" / "spec.toml").read_text()
    capsys.readouterr()
    nobody = ["--address", "ray://127.0.0.1:9"]
    assert exit_code(["run", "small.toml", "--results", "here", "--fresh", *nobody]) == 2
    printed = capsys.readouterr().err
    assert "127.0.0.1:9" in printed
    assert printed.count("\n") == 1
    assert (workplace / "here" / "spec.toml").read_text() == spec
    assert exit_code(["run", "small.toml", "--results", "here", "--dry-run"]) == 0
    assert "2 done already" in capsys.readouterr().out


def test_configs_that_fail_make_exit_code_1_and_the_message_says_how_to_see_why(workplace: Path) -> None:
    # 64 TiB of guest memory need more page table than the process may have.
    (workplace / "huge.toml").write_text('name = "huge"\n[fixed]\nvcpus = 4096\nmem_per_vcpu = "16GiB"\nslots = 16\n')
    process = in_new_process("run", "huge.toml", "--address", "inline", folder=workplace, memory_bytes=6 * 2**30)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "0 done, 1 failed" in output
    assert errors.splitlines()[-1].endswith("see why with: splitsweep query results/huge 'SELECT * FROM failures'")
