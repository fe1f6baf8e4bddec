"""Addresses: what is allowed, what is told when nobody answers, and joining what runs already."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from cluster.errors import ClusterError
from cluster.fan_out import Done, fan_out
from cluster.probe import check_answers
from cluster.session import Session, check_address, open_session


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.mark.parametrize(
    "address", ["inline", "pool", "local", "auto", "ray://head:10001", "10.0.0.7:6379", "[::1]:6379"]
)
def test_addresses_that_are_allowed(address: str) -> None:
    check_address(address)


@pytest.mark.parametrize("address", ["", "lokal", "ray://head", "http://head:80", "head:", "head:port", "a b:1"])
def test_other_addresses_are_named_with_what_is_allowed(address: str) -> None:
    with pytest.raises(ClusterError) as error:
        check_address(address)
    assert repr(address) in str(error.value)
    assert "allowed: pool, local, auto, inline" in str(error.value)


@pytest.mark.parametrize("form", ["127.0.0.1:{}", "ray://127.0.0.1:{}"])
def test_an_address_where_nobody_listens_is_told_at_once(form: str) -> None:
    address = form.format(free_port())
    with (
        pytest.raises(ClusterError, match=f"^address {address}: cannot be reached: Connection refused"),
        open_session(address),
    ):
        pass


@pytest.mark.parametrize("address", ["inline", "pool"])
def test_without_a_cluster_ray_is_not_imported(address: str) -> None:
    program = (
        "import operator, sys\n"
        "from cluster.fan_out import fan_out\n"
        "from cluster.session import open_session\n"
        "with open_session(sys.argv[1]) as session:\n"
        "    [event] = fan_out(session, operator.add, [1])\n"
        "print(event.result, 'ray' in sys.modules)\n"
    )
    assert (
        subprocess.run([sys.executable, "-c", program, address], capture_output=True, text=True).stdout == "2 False\n"
    )


def test_a_running_cluster_can_be_joined(on_ray: Session) -> None:
    import ray

    address = ray.get_runtime_context().gcs_address
    program = (
        "import sys\n"
        "from cluster.fan_out import fan_out\n"
        "from cluster.session import open_session\n"
        "with open_session(sys.argv[1]) as session:\n"
        "    print(list(fan_out(session, lambda batch, attempt: batch + 1, [1])))\n"
    )
    done = subprocess.run([sys.executable, "-c", program, address], capture_output=True, text=True)
    assert done.stdout == f"{[Done(1, 2, attempts=1)]}\n", done.stderr


def test_a_process_uses_one_cluster_at_a_time(on_ray: Session) -> None:
    with pytest.raises(ClusterError, match="uses a Ray cluster already"), open_session("local"):
        pass
    assert list(fan_out(on_ray, lambda batch, attempt: batch, [1])) == [Done(1, 1, attempts=1)]


def test_leaving_a_cluster_does_not_stop_it(on_ray: Session) -> None:
    test_a_running_cluster_can_be_joined(on_ray)
    assert list(fan_out(on_ray, lambda batch, attempt: batch, [1])) == [Done(1, 1, attempts=1)]


@pytest.mark.parametrize("form", ["127.0.0.1:{}", "ray://127.0.0.1:{}"])
def test_an_address_that_accepts_and_says_nothing_is_given_up_in_seconds(form: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = form.format(silent.getsockname()[1])
        with (
            pytest.raises(ClusterError, match=f"^address {address}: nobody answers within 5 s"),
            open_session(address),
        ):
            pass


def test_an_address_where_something_else_listens_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"

        def answer() -> None:
            with server.accept()[0] as connection:
                connection.sendall(b"SSH-2.0-OpenSSH_9.2")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(ClusterError, match="what listens there is no Ray"), open_session(address):
            pass
        thread.join()


def test_a_cluster_that_asks_for_a_token_says_so_at_once(on_ray: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    address = ray.get_runtime_context().gcs_address
    host, port = address.split(":")
    check_answers(address, host, int(port))
    monkeypatch.setenv("RAY_AUTH_TOKEN", "0" * 64)
    with pytest.raises(ClusterError, match="asks for a token, and this process has another one; set RAY_AUTH_MODE"):
        check_answers(address, host, int(port))
    monkeypatch.delenv("RAY_AUTH_MODE")
    with pytest.raises(ClusterError, match="asks for a token, and this process has none; set RAY_AUTH_MODE"):
        check_answers(address, host, int(port))


def test_a_local_ray_listens_on_loopback_alone_and_keeps_its_token_in_no_file(tmp_path: Path) -> None:
    program = (
        "import os, subprocess\n"
        "from cluster.descendants import descendants\n"
        "from cluster.session import open_session\n"
        "with open_session('local'):\n"
        "    family = {os.getpid(), *descendants(os.getpid())}\n"
        "    for kind in ('tcp', 'tcp6'):\n"
        "        for line in open(f'/proc/net/{kind}').read().splitlines()[1:]:\n"
        "            fields = line.split()\n"
        "            sockets = {f'socket:[{fields[9]}]'}\n"
        "            for process in family:\n"
        "                for descriptor in os.listdir(f'/proc/{process}/fd'):\n"
        "                    try:\n"
        "                        held = os.readlink(f'/proc/{process}/fd/{descriptor}')\n"
        "                    except OSError:\n"
        "                        continue\n"
        "                    if fields[3] == '0A' and held in sockets:\n"
        "                        print(fields[1].split(':')[0])\n"
    )
    home = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")} | {"HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=home)
    loopback = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}
    assert set(done.stdout.split()) <= loopback, done.stdout
    assert len(done.stdout.split()) >= 4, done.stderr
    assert not (tmp_path / ".ray").exists()
