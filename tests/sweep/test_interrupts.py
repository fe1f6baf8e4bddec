"""A run that is asked to end: it keeps what is done, says how to go on, and leaves nobody behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.descendants import descendants
from sweep.cli import exit_code
from tests.core.live.leftovers import still_alive

REPOSITORY = Path(__file__).parents[2]
QUICK = f'name = "many"\n[fixed]\nmem_per_vcpu = "256KiB"\n[[grid]]\nrepeat = {list(range(1000))}\n'
COSTLY = 'name = "many"\n[fixed]\nmem_per_vcpu = "32GiB"\naccess_order = "random"\n[[grid]]\n'


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def start(workplace: Path, *words: str, preface: str = "") -> subprocess.Popen[str]:
    """splitsweep as its own process."""
    return subprocess.Popen(
        [sys.executable, "-c", f"{preface}from sweep.cli import main; main()", *words],
        cwd=workplace,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def await_line(process: subprocess.Popen[str], beginning: str) -> None:
    """Read what it says up to the line that begins so."""
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        if line.startswith(beginning):
            return
        said.append(line)
    raise AssertionError(f"{beginning!r} was never said, but {''.join(said)}")


@pytest.mark.parametrize(
    ("address", "number"),
    [
        ("inline", signal.SIGINT),
        ("inline", signal.SIGTERM),
        ("pool", signal.SIGINT),
        ("pool", signal.SIGTERM),
        ("pool", signal.SIGHUP),
        ("local", signal.SIGTERM),
    ],
)
def test_a_signal_keeps_what_is_done_and_the_command_that_goes_on_is_told(
    address: str, number: signal.Signals, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (workplace / "many.toml").write_text(QUICK)
    process = start(workplace, "run", "many.toml", "vcpus=1", "--address", address, "--share-cpus")
    await_line(process, "0/1000 configs")
    process.send_signal(number)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 128 + number, errors
    assert errors.splitlines()[0].startswith("splitsweep: interrupted; what runs gets 5 s to end")
    command = errors.splitlines()[-1].partition("go on with: splitsweep ")[2].split()
    again = ["run", "many.toml", "vcpus=1", "--results", "results/many", "--address", address, "--share-cpus"]
    assert command == again

    capsys.readouterr()
    assert exit_code([*command[:-3], "--address", "inline"]) == 0
    done, before = (int(part.split()[0]) for part in capsys.readouterr().out.partition(": ")[2].split(", ")[::2])
    assert done + before == 1000


@pytest.mark.parametrize("address", ["inline", "pool", "local"])
@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_it_at_once(address: str, second: signal.Signals, workplace: Path) -> None:
    (workplace / "many.toml").write_text(f"{COSTLY}seed = {list(range(1, 9))}\n")
    process = start(workplace, "run", "many.toml", "--address", address)
    await_line(process, "0/8 configs")
    family = list(descendants(process.pid))
    process.send_signal(signal.SIGINT)
    await_line(process, "splitsweep: interrupted; what runs gets 5 s")
    process.send_signal(second)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + second, errors
    [line] = errors.strip().splitlines()
    assert line.startswith("splitsweep: interrupted; what is done is kept, go on with: splitsweep run many.toml")
    assert still_alive(family) == []


def test_what_nohup_ignores_stays_ignored(workplace: Path) -> None:
    (workplace / "many.toml").write_text(QUICK)
    ignore = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN); "
    process = start(workplace, "run", "many.toml", "--address", "pool", preface=ignore)
    await_line(process, "0/1000 configs")
    process.send_signal(signal.SIGHUP)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert "1000 done" in output
