"""A sweep over several hosts, each with an address of its own: some are killed or cut off, and one comes late.

What the driver says is read from a file, so that it never waits for its reader.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.chaos.hosts import (
    CLIENT_PORT,
    HEAD_PORT,
    Host,
    Network,
    await_true,
    join,
    network,
    ray_environment,
    start_head,
    why_not,
)
from tests.chaos.rows import ROWS, RUNS

SEEDS = list(range(1, 33))
SPEC = f'name = "hosts"\n[fixed]\nmem_per_vcpu = "2GiB"\naccess_order = "random"\n[[grid]]\nseed = {SEEDS}\n'
S3_PORT = 5000

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Network]:
    with network(tmp_path / "hosts") as made:
        yield made


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """What the same sweep gives on this machine when nothing happens to it."""
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "hosts.toml").write_text(SPEC)
    run = [sys.executable, "-m", "sweep", "run", "hosts.toml", "--results", "alone", "--address", "pool"]
    done = subprocess.run(run, cwd=folder, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return contents([], str(folder / "alone"))


def environment() -> dict[str, str]:
    return os.environ | ray_environment()


def contents(at: list[str], location: str) -> tuple[str, str]:
    """The rows of a dataset, read by a command on a host."""
    command = [*at, sys.executable, "-m", "sweep", "query", location]
    phases, runs = (
        subprocess.run([*command, sql, "--format", "csv"], env=environment(), capture_output=True, text=True).stdout
        for sql in (ROWS, RUNS)
    )
    return phases, runs


class Run:
    """`splitsweep run` on one of the hosts."""

    def __init__(self, host: Host, location: str, address: str, folder: Path, *overrides: str) -> None:
        (folder / "hosts.toml").write_text(SPEC)
        self.said = folder / "said"
        self.location = location
        words = ["run", str(folder / "hosts.toml"), *overrides, "--results", location, "--address", address]
        with self.said.open("w") as said:
            self.process = subprocess.Popen(
                host.command(sys.executable, "-m", "sweep", *words), env=environment(), stdout=said, stderr=said
            )

    def await_shard(self) -> None:
        """Wait until something is done."""
        await_true(lambda: any(Path(self.location, "runs").glob("*.parquet")), 200)

    def end(self, within: float) -> str:
        """What it has said, once it has ended well."""
        assert self.process.wait(within) == 0, self.said.read_text()
        return self.said.read_text()


@contextmanager
def running(host: Host, location: str, address: str, folder: Path, *overrides: str) -> Iterator[Run]:
    run = Run(host, location, address, folder, *overrides)
    try:
        yield run
    finally:
        run.process.kill()
        run.process.wait()


def head_and_two(net: Network, *, client: bool = False) -> tuple[Host, Host, Host]:
    """A cluster: its head, and two hosts that have joined it."""
    head, first, second = net.add("head"), net.add("first"), net.add("second")
    start_head(head, client=client)
    join(first, head)
    join(second, head)
    return head, first, second


def kill_a_worker(host: Host) -> None:
    """Kill one that is at a batch, from outside."""
    listed = host.run("ps", "-eo", "pid,args").splitlines()
    worker = next((line.split()[0] for line in listed if "ray::_run_pickled" in line), None)
    if worker is not None:
        host.run("kill", f"-{signal.SIGKILL.value}", worker)


def test_a_worker_is_killed_a_node_cut_off_another_loses_power_and_one_joins_late(
    net: Network, tmp_path: Path, undisturbed: tuple[str, str]
) -> None:
    head, first, second = head_and_two(net)
    location = str(tmp_path / "shared")
    with running(head, location, f"{head.address}:{HEAD_PORT}", tmp_path) as run:
        run.await_shard()
        kill_a_worker(first)
        net.cut(second)
        net.power_off(first)
        join(net.add("late"), head)
        run.end(within=200)
    assert contents([], location) == undisturbed
    hosts = head.run(
        sys.executable, "-m", "sweep", "query", location, "SELECT DISTINCT host FROM runs", **environment()
    )
    assert "late" in hosts


@pytest.mark.chaos
@pytest.mark.parametrize("seconds", [5, 20, 60])
def test_a_node_cut_off_for_some_time(
    seconds: float, net: Network, tmp_path: Path, undisturbed: tuple[str, str]
) -> None:
    head, _, second = head_and_two(net)
    location = str(tmp_path / "shared")
    with running(head, location, f"{head.address}:{HEAD_PORT}", tmp_path) as run:
        run.await_shard()
        net.cut(second)
        time.sleep(seconds)
        net.heal(second)
        run.end(within=120)
    assert contents([], location) == undisturbed


@pytest.mark.chaos
def test_the_driver_is_cut_off_from_the_head(net: Network, tmp_path: Path) -> None:
    head, first = net.add("head"), net.add("first")
    start_head(head)
    join(first, head)
    location = str(tmp_path / "shared")
    with running(first, location, f"{head.address}:{HEAD_PORT}", tmp_path, "mem_per_vcpu=64GiB") as run:
        run.await_shard()
        net.cut(head)
        assert run.process.wait(100) == os.EX_UNAVAILABLE, run.said.read_text()
        assert "has said nothing for 40 s; what is done is kept, go on with: splitsweep run" in run.said.read_text()
    assert "ok" in contents([], location)[1]


@pytest.mark.chaos
def test_through_ray_client_and_s3_with_a_host_that_loses_power(
    net: Network, tmp_path: Path, undisturbed: tuple[str, str]
) -> None:
    pytest.importorskip("grpc", reason="needs ray[client]")
    head, first, second = head_and_two(net, client=True)
    laptop = net.add("laptop")
    server = subprocess.Popen(
        laptop.command(sys.executable, "-m", "moto.server", "-H", laptop.address, "-p", str(S3_PORT)),
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    store = f"endpoint_override={laptop.address}%3A{S3_PORT}&scheme=http&region=us-east-1"
    make_bucket = (
        "import sys, time, urllib.request\n"
        "for attempt in range(100):\n"
        "    try:\n"
        "        urllib.request.urlopen(urllib.request.Request(sys.argv[1], method='PUT'))\n"
        "        break\n"
        "    except OSError:\n"
        "        time.sleep(0.3)\n"
    )
    bucket = f"http://{laptop.address}:{S3_PORT}/sweeps"
    laptop.run(sys.executable, "-c", make_bucket, bucket)
    location = f"s3://sweeps/hosts?{store}"
    try:
        with running(laptop, location, f"ray://{head.address}:{CLIENT_PORT}", tmp_path) as run:
            list_runs = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1]).read())"
            runs = f"{bucket}?list-type=2&prefix=hosts/runs/"
            await_true(lambda: ".parquet" in laptop.run(sys.executable, "-S", "-c", list_runs, runs), 200)
            kill_a_worker(first)
            net.power_off(second)
            run.end(within=200)
        assert contents(laptop.command(), location) == undisturbed
    finally:
        server.kill()
        server.wait()
