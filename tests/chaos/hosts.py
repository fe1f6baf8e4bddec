"""Several hosts on one machine: namespaces with names, addresses and processes of their own, wired to a switch.

A host is pulled from the switch and put back (`cut`, `heal`), which is what a broken cable is: packets get lost in
silence, nobody refuses anything. Killing a host's first process is a power failure. Nothing survives the test: the
kernel takes away network, mounts and processes with the first process.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).parents[2]
HEAD_PORT: Final = 6379
CLIENT_PORT: Final = 10001

_ISOLATED: Final = ("unshare", "--net", "--uts", "--ipc", "--pid", "--mount", "--fork", "--kill-child", "--mount-proc")
# Ray's sockets and logs are in /tmp/ray on every host, so each host sees a folder of its own there.
_FIRST_PROCESS: Final = (
    "hostname {name}; ip link set lo up; mkdir -p /tmp/ray; mount --bind {folder} /tmp/ray; "
    "mount -t tmpfs -o size=512m none /dev/shm; "
    "while :; do sleep 3600 & wait; done"
)


def why_not() -> str | None:
    """Why there can be no hosts here, None if there can."""
    if os.geteuid() != 0:
        return "needs root, for network namespaces"
    missing = [tool for tool in ("ip", "unshare", "nsenter") if shutil.which(tool) is None]
    if missing:
        return f"needs {', '.join(missing)} (iproute2, util-linux)"
    tried = subprocess.run(
        [*_ISOLATED, "sh", "-c", "ip link add x type bridge && ip link add name a type veth peer name b"],
        capture_output=True,
        text=True,
    )
    return f"no namespaces here: {tried.stderr.strip()}" if tried.returncode else None


@dataclass(frozen=True, slots=True)
class Host:
    """One of them; `first` is its first process as this machine counts them."""

    name: str
    address: str
    first: int

    def command(self, *words: str) -> list[str]:
        """The words as a command on that host."""
        return ["nsenter", "-t", str(self.first), "-n", "-u", "-i", "-p", "-m", f"--wd={os.getcwd()}", *words]

    def run(self, *words: str, **environment: str) -> str:
        """Run a command there, and return what it prints."""
        done = subprocess.run(
            self.command(*words), capture_output=True, text=True, env=os.environ | environment, timeout=300
        )
        assert done.returncode == 0, f"{self.name}: {' '.join(words)}: {done.stdout}{done.stderr}"
        return done.stdout


class Network:
    """A switch with hosts: 10.77.0.1, 10.77.0.2 and so on."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self._outer: list[subprocess.Popen[bytes]] = []
        self.hosts: list[Host] = []
        self._switch = self._isolated("switch")
        self._on_switch("ip", "link", "add", "switch", "type", "bridge")
        self._on_switch("ip", "link", "set", "switch", "up")

    def add(self, name: str) -> Host:
        """One host more."""
        host = Host(name, f"10.77.0.{len(self.hosts) + 1}", self._isolated(name))
        plug, socket = ["name", name, "netns", str(self._switch)], ["name", "eth0", "netns", str(host.first)]
        _run("ip", "link", "add", *plug, "type", "veth", "peer", *socket)
        host.run("ip", "address", "add", f"{host.address}/24", "dev", "eth0")
        host.run("ip", "link", "set", "eth0", "up")
        self._on_switch("ip", "link", "set", "dev", name, "up")
        self.heal(host)
        self.hosts.append(host)
        return host

    def cut(self, host: Host) -> None:
        """Pull its cable from the switch."""
        self._on_switch("ip", "link", "set", "dev", host.name, "nomaster")

    def heal(self, host: Host) -> None:
        """Put it back."""
        self._on_switch("ip", "link", "set", "dev", host.name, "master", "switch")

    def power_off(self, host: Host) -> None:
        with suppress(ProcessLookupError):
            os.kill(host.first, 9)

    def close(self) -> None:
        for host in self.hosts:
            self.power_off(host)
        for outer in self._outer:
            outer.kill()
            outer.wait()

    def _isolated(self, name: str) -> int:
        own = self._folder / name
        own.mkdir()
        command = [*_ISOLATED, "sh", "-c", _FIRST_PROCESS.format(name=name, folder=own)]
        outer = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        self._outer.append(outer)
        children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
        await_true(lambda: children.read_text().strip() != "", 30)
        first = int(children.read_text())
        namespaced = ["nsenter", "-t", str(first), "-u", "-n", "-p", "-m", "sh", "-c"]
        ready = f'test "$(hostname)" = {name} && mountpoint -q /dev/shm'
        await_true(lambda: subprocess.run([*namespaced, ready], capture_output=True).returncode == 0, 30)
        return first

    def _on_switch(self, *words: str) -> None:
        _run("nsenter", "-t", str(self._switch), "-n", *words)


def await_true(condition: Callable[[], bool], seconds: float) -> None:
    """Wait until it holds; AssertionError if it does not within so many seconds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds:.0f} s"
        time.sleep(0.1)


@contextmanager
def network(folder: Path) -> Iterator[Network]:
    made = Network(folder)
    try:
        yield made
    finally:
        made.close()


TOKEN: Final = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef" * 4}
S3: Final = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true"}


def ray_environment() -> Mapping[str, str]:
    return {"RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": str(REPOSITORY), **TOKEN, **S3}


def start_head(host: Host, *, client: bool = False) -> None:
    """Start a Ray cluster there, whose head takes no work; with a port for ray:// where it is wanted."""
    port = [f"--ray-client-server-port={CLIENT_PORT}"] if client else []
    _ray(host, "--head", "--include-dashboard=false", f"--port={HEAD_PORT}", *port, cpus=0)


def join(host: Host, head: Host, cpus: int = 1) -> None:
    """Make it a machine of the cluster."""
    _ray(host, f"--address={head.address}:{HEAD_PORT}", cpus=cpus)


def _ray(host: Host, *words: str, cpus: int) -> None:
    settings = (f"--node-ip-address={host.address}", f"--num-cpus={cpus}", "--object-store-memory=80000000")
    command = (sys.executable, "-m", "ray.scripts.scripts", "start", *words, *settings)
    host.run(*command, "--disable-usage-stats", **ray_environment())


def _run(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
