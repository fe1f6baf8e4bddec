"""The Ray under a run dies: the run says so in one line, keeps what is done, and ends with an exit code of its own."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.descendants import descendants
from sweep.cli import exit_code
from tests.core.live.leftovers import still_alive
from tests.sweep.test_interrupts import await_line, start

CONFIGS = 400
SEEDS = list(range(1, CONFIGS + 1))
SPEC = f'name = "many"\n[fixed]\nmem_per_vcpu = "512MiB"\naccess_order = "random"\n[[grid]]\nseed = {SEEDS}\n'
HEAD_DIED = "the head of the cluster at 127.0.0.1:"
RAY_DIED = "the Ray of this machine is dead: its raylet or one of the agents that it dies with has ended"


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """For temporary files: Ray's sockets leave no room for the long names of pytest's folders."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.mark.parametrize(
    ("victim", "what_happened"),
    [
        ("gcs_server", HEAD_DIED),
        pytest.param("raylet", RAY_DIED, marks=pytest.mark.chaos),
        pytest.param("ray::Dashboard", RAY_DIED, marks=pytest.mark.chaos),
        pytest.param("ray::RuntimeEnv", RAY_DIED, marks=pytest.mark.chaos),
    ],
)
def test_a_run_whose_ray_dies_says_so_and_what_goes_on(
    victim: str,
    what_happened: str,
    short_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(short_folder))
    (tmp_path / "many.toml").write_text(SPEC)
    process = start(tmp_path, "run", "many.toml", "--address", "local")
    await_line(process, f"0/{CONFIGS} configs")
    family = list(descendants(process.pid))
    os.kill(next(process for process in family if name_of(process).startswith(victim)), signal.SIGKILL)
    _, errors = process.communicate(timeout=100)
    assert process.returncode == os.EX_UNAVAILABLE, errors
    last = errors.splitlines()[-1]
    assert last.startswith(f"splitsweep: {what_happened}")
    assert last.endswith(
        "what is done is kept, go on with: splitsweep run many.toml --results results/many --address local"
    )
    assert "core_worker" not in errors
    assert still_alive(family) == []
    assert list(short_folder.iterdir()) == []

    capsys.readouterr()
    assert exit_code(["run", "many.toml", "--results", "results/many", "--address", "pool"]) == 0
    done, before = (int(part.split()[0]) for part in capsys.readouterr().out.partition(": ")[2].split(", ")[::2])
    assert done + before == CONFIGS


def name_of(process: int) -> str:
    """The program, or what a process of Ray's calls itself."""
    try:
        return Path(f"/proc/{process}/cmdline").read_text().partition("\0")[0].rpartition("/")[2]
    except OSError:
        return ""
