"""Random kills and faults over one sweep, again and again: afterwards the same command gives the undisturbed dataset.

Each test is told by its seed, so that one that fails can be repeated.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from cluster.descendants import descendants
from sweep.cli import exit_code
from tests.chaos.hosts import REPOSITORY
from tests.chaos.rows import ROWS, RUNS
from tests.core.live.leftovers import still_alive

CONFIGS = 60
SEEDS = list(range(1, CONFIGS + 1))
SPEC = f'name = "kills"\n[fixed]\nmem_per_vcpu = "1GiB"\naccess_order = "random"\n[[grid]]\nseed = {SEEDS}\n'
ENDS = {0, 69, -signal.SIGKILL}
"""Well; without a cluster; killed."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """What the sweep gives when nothing happens to it."""
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "kills.toml").write_text(SPEC)
    location = str(folder / "alone")
    assert exit_code(["run", str(folder / "kills.toml"), "--results", location, "--address", "pool"]) == 0
    return contents(location)


@pytest.fixture
def workplace() -> Iterator[Path]:
    """A folder for results and temporary files, with a name short enough for Ray's sockets."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "kills.toml").write_text(SPEC)
        (Path(folder) / "t").mkdir()
        yield Path(folder)


def contents(location: str) -> tuple[str, str]:
    query = [sys.executable, "-m", "sweep", "query", location]
    phases, runs = (
        subprocess.run([*query, sql, "--format", "csv"], capture_output=True, text=True, check=True).stdout
        for sql in (ROWS, RUNS)
    )
    return phases, runs


def start(workplace: Path, address: str, results: str = "results") -> subprocess.Popen[bytes]:
    words = ["run", "kills.toml", "--results", results, "--address", address]
    return subprocess.Popen(
        [sys.executable, "-m", "sweep", *words],
        cwd=workplace,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "TMPDIR": str(workplace / "t")},
        stdout=subprocess.DEVNULL,
        stderr=(workplace / "said").open("wb"),
    )


def finish(workplace: Path, address: str) -> None:
    """The same command once more, undisturbed."""
    process = start(workplace, address)
    assert process.wait(300) == 0, (workplace / "said").read_text()


def disturb(workplace: Path, address: str, chance: random.Random) -> tuple[int, str]:
    """Start a run, kill one of its processes at some moment, and wait for its end; who was killed, and the end."""
    process = start(workplace, address)
    time.sleep(chance.uniform(0.5, 12.0 if address == "local" else 4.0))
    family = sorted(descendants(process.pid))
    victim = chance.choice([process.pid, *family])
    name = name_of(victim)
    with suppress(ProcessLookupError):
        os.kill(victim, signal.SIGKILL)
    code = process.wait(120)
    assert still_alive(family, 30) == [], name
    return code, name


def name_of(process: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{process}/comm").read_text().strip()
    return "ended"


def left_behind(workplace: Path) -> list[str]:
    """Temporary files: hidden ones in the dataset, any elsewhere."""
    hidden = [str(path) for path in (workplace / "results").rglob(".*.tmp")]
    return hidden + [str(path) for path in (workplace / "t").iterdir()]


@pytest.mark.parametrize(
    ("address", "kills", "seed"),
    [
        ("pool", 3, 1),
        pytest.param("inline", 10, 2, marks=pytest.mark.chaos),
        pytest.param("pool", 10, 3, marks=pytest.mark.chaos),
        pytest.param("local", 10, 4, marks=pytest.mark.chaos),
    ],
)
def test_random_kills_lose_and_double_nothing(
    address: str, kills: int, seed: int, workplace: Path, undisturbed: tuple[str, str]
) -> None:
    chance = random.Random(seed)
    for number in range(kills):
        code, victim = disturb(workplace, address, chance)
        print(f"kill {number + 1} of {kills} with {address}, seed {seed}: {victim}, exit code {code}")
        assert code in ENDS, (workplace / "said").read_text()
    finish(workplace, address)
    assert contents(str(workplace / "results")) == undisturbed
    assert left_behind(workplace) == []


@pytest.mark.chaos
def test_killed_at_any_deletion_of_a_merge_nothing_is_lost(workplace: Path, undisturbed: tuple[str, str]) -> None:
    """The moment is told by a count of deletions: the process kills itself before each of them in turn."""
    finish(workplace, "pool")
    shutil.copytree(workplace / "results", workplace / "before")
    dies = (
        "import os, signal, sys\n"
        "import sweep.dataset.store as store\n"
        "left = int(sys.argv[1])\n"
        "delete = store._delete_file\n"
        "def counted(*arguments):\n"
        "    global left\n"
        "    left -= 1\n"
        "    if left < 0:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    delete(*arguments)\n"
        "store._delete_file = counted\n"
        "from sweep.cli import exit_code\n"
        "sys.exit(exit_code(['compact', 'results']))\n"
    )
    codes = []
    for deletions in (0, 1, 3, 1000):
        shutil.rmtree(workplace / "results")
        shutil.copytree(workplace / "before", workplace / "results")
        died = subprocess.run([sys.executable, "-c", dies, str(deletions)], cwd=workplace, capture_output=True)
        codes.append(died.returncode)
        assert contents(str(workplace / "results")) == undisturbed
        finish(workplace, "pool")
        assert contents(str(workplace / "results")) == undisturbed
        assert left_behind(workplace) == []
    assert codes == [-signal.SIGKILL] * 3 + [0]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount a small disk")
@pytest.mark.parametrize("address", ["pool", pytest.param("local", marks=pytest.mark.chaos)])
def test_a_full_disk_ends_the_run_and_room_lets_it_go_on(
    address: str, workplace: Path, undisturbed: tuple[str, str]
) -> None:
    (workplace / "results").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=120k", "none", str(workplace / "results")]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("no disk can be mounted here")
    try:
        process = start(workplace, address)
        assert process.wait(120) == 2
        assert "No space left on device" in (workplace / "said").read_text().splitlines()[-1]
        subprocess.run([*mount[:4], "remount,size=100m", *mount[5:]], check=True)
        finish(workplace, address)
        assert contents(str(workplace / "results")) == undisturbed
        assert left_behind(workplace) == []
    finally:
        subprocess.run(["umount", "-l", str(workplace / "results")], check=True)


@pytest.mark.chaos
@pytest.mark.parametrize("address", ["pool", "local"])
def test_a_deleted_folder_ends_the_run_and_the_same_command_makes_it_anew(
    address: str, workplace: Path, undisturbed: tuple[str, str]
) -> None:
    process = start(workplace, address)
    while process.poll() is None and not any((workplace / "results" / "runs").glob("*.parquet")):
        time.sleep(0.05)
    shutil.rmtree(workplace / "results", ignore_errors=True)
    shutil.rmtree(workplace / "results", ignore_errors=True)
    assert process.wait(120) in (1, 2), (workplace / "said").read_text()
    finish(workplace, address)
    assert contents(str(workplace / "results")) == undisturbed
    assert left_behind(workplace) == []


@pytest.mark.chaos
def test_of_two_drivers_the_second_is_told_and_the_first_goes_on(workplace: Path, undisturbed: tuple[str, str]) -> None:
    first = start(workplace, "pool")
    while first.poll() is None and not (workplace / "results" / ".lock").exists():
        time.sleep(0.05)
    time.sleep(0.2)
    second = start(workplace, "pool")
    assert second.wait(60) == 2
    assert "another run is writing there" in (workplace / "said").read_text()
    assert first.wait(120) == 0
    assert contents(str(workplace / "results")) == undisturbed


@pytest.mark.chaos
def test_a_clock_that_is_set_back_loses_and_doubles_nothing(workplace: Path, undisturbed: tuple[str, str]) -> None:
    """A killed run of tomorrow, as its files tell, and one of today."""
    process = start(workplace, "pool")
    while process.poll() is None and not any((workplace / "results" / "runs").glob("*.parquet")):
        time.sleep(0.05)
    process.kill()
    process.wait()
    tomorrow = time.time() + 86400
    for file in (workplace / "results").rglob("*"):
        os.utime(file, (tomorrow, tomorrow))
    finish(workplace, "pool")
    assert contents(str(workplace / "results")) == undisturbed
    assert left_behind(workplace) == []
