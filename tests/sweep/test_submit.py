"""`splitsweep submit` against a server that speaks as Ray's job server does: what it sends, shows and ends with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

import cluster.jobs
from sweep.cli import exit_code
from sweep.commands.submit import job_command
from sweep.spec.configs import load_spec

SPEC = 'name = "small"\n[fixed]\nmem_per_vcpu = "2MiB"\n[[grid]]\nvcpus = [1, 2]\nlabel = ["a-b", "c:d"]\n'


class Jobs(BaseHTTPRequestHandler):
    """The answers that Ray 2.60 gave to the same requests."""

    token: ClassVar[str] = "right"
    jobs: ClassVar[dict[str, str]] = {}  # name to command
    looks: ClassVar[int] = 0  # times the job was asked about
    end: ClassVar[dict[str, Any]] = {}  # what it is after two looks
    at_look: ClassVar[Any] = None  # called with the number of the look

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self._lets_in():
            self.jobs[body["submission_id"]] = body["entrypoint"]
            self._answer(200, {"job_id": body["submission_id"], "submission_id": body["submission_id"]})

    def do_GET(self) -> None:
        if not self._lets_in():
            return
        name = self.path.removeprefix("/api/jobs/").removesuffix("/logs")
        if name not in self.jobs:
            self._answer(404, f"Job {name} does not exist")
        elif self.path.endswith("/logs"):
            self._answer(200, {"logs": "".join(f"line {number}\n" for number in range(Jobs.looks))})
        else:
            Jobs.looks += 1
            if Jobs.at_look is not None:
                Jobs.at_look(Jobs.looks)
            running = {"status": "RUNNING", "driver_exit_code": None, "message": "Job is currently running."}
            self._answer(200, running if Jobs.looks < 3 else Jobs.end)

    def _lets_in(self) -> bool:
        given = self.headers.get("Authorization")
        if given == f"Bearer {self.token}":
            return True
        self._answer(403 if given else 401, "Unauthorized: Missing authentication token")
        return False

    def _answer(self, status: int, body: object) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode() if isinstance(body, dict) else str(body).encode())

    def log_message(self, *args: object) -> None:
        """Nothing."""


@pytest.fixture(autouse=True)
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """HOST:PORT of a job server, with its token in the environment."""
    (tmp_path / "small.toml").write_text(SPEC)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cluster.jobs, "POLL_SECONDS", 0.01)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "right")
    Jobs.jobs, Jobs.looks, Jobs.at_look = {}, 0, None
    Jobs.end = {"status": "SUCCEEDED", "driver_exit_code": 0, "message": "Job finished successfully."}
    server = ThreadingHTTPServer(("127.0.0.1", 0), Jobs)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def submit(address: str, *words: str) -> int:
    return exit_code(["submit", "small.toml", *words, "--address", address, "--results", "s3://bucket/small"])


def test_the_log_is_shown_as_it_comes_and_the_exit_code_is_the_jobs(
    address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Jobs.end = {"status": "FAILED", "driver_exit_code": 1, "message": "Job entrypoint command failed"}
    assert submit(address) == 1
    said = capsys.readouterr()
    assert said.out == "line 0\nline 1\nline 2\n"
    (name,) = Jobs.jobs
    assert said.err == f"splitsweep: sent as {name}\n"
    assert name.startswith("splitsweep-small-")


def test_the_command_runs_the_sweep_that_was_sent(tmp_path: Path) -> None:
    command = job_command(load_spec(tmp_path / "small.toml", ["seed=3", "vcpus=1,4"]), "s3://bucket/small")
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "splitsweep"
    program.write_text('#!/bin/sh\necho "$@" > "$OUT/words"\ncp "$2" "$OUT/sent.toml"\n')
    program.chmod(0o755)
    environment = os.environ | {"PATH": f"{program.parent}:{os.environ['PATH']}", "OUT": str(tmp_path)}
    subprocess.run(["/bin/sh", "-c", command], env=environment | {"TMPDIR": str(tmp_path)}, check=True)
    words = "run small.toml --results s3://bucket/small --address auto\n"
    assert (tmp_path / "words").read_text() == words
    sent = load_spec(tmp_path / "sent.toml").configs
    assert tuple(sent) == tuple(load_spec(tmp_path / "small.toml", ["seed=3", "vcpus=1,4"]).configs)


def test_whoever_leaves_is_told_how_to_come_back(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    Jobs.at_look = lambda look: os.kill(os.getpid(), signal.SIGINT) if look == 2 else None
    Jobs.end = {"status": "RUNNING"}
    assert submit(address) == 130
    (name,) = Jobs.jobs
    again = f"splitsweep submit --rejoin {name} --address {address}"
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"splitsweep: {name} goes on without you; come back to it with: {again}"
    )
    Jobs.at_look = None
    Jobs.end = {"status": "SUCCEEDED", "driver_exit_code": 0, "message": ""}
    assert exit_code(again.split()[1:]) == 0


def test_a_job_that_was_stopped_has_no_exit_code_of_its_own(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    Jobs.end = {"status": "STOPPED", "driver_exit_code": None, "message": "Job was intentionally stopped."}
    assert submit(address) == 69
    assert "stopped: Job was intentionally stopped.; what is done is kept" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["submit", "--address", "HERE"], "submit: give either SPEC, to start a sweep, or --rejoin JOB"),
        (["submit", "small.toml", "--address", "HERE"], "--results: the job runs on the cluster; allowed: s3://"),
        (["submit", "small.toml", "--address", "HERE", "--results", "results/x"], "--results: the job runs on"),
        (["submit", "small.toml", "--address", "HERE", "--results", "s3://k:s@b/x"], "would see these credentials"),
        (["submit", "small.toml", "--address", "ray://x", "--results", "/x"], "address 'ray://x' is not allowed"),
        (["submit", "small.toml", "--address", "127.0.0.1:9", "--results", "/x"], "no job server answers there"),
        (["submit", "--rejoin", "nosuch", "--address", "HERE"], "there is no such job"),
    ],
)
def test_what_cannot_work_is_one_line(
    words: list[str], said: str, address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code([address if word == "HERE" else word for word in words]) == 2
    errors = capsys.readouterr().err
    assert said in errors
    assert len(errors.splitlines()) == 1
    assert Jobs.jobs == {}


def test_a_profile_that_only_this_machine_has_is_not_sent(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    import core.costs.profile

    text = (Path(core.costs.profile.__file__).parent / "profiles" / "cascade-lake-2022.toml").read_text()
    Path("mine.toml").write_text(text)
    assert submit(address, "profile=mine.toml") == 2
    assert "profile: 'mine.toml' is a file of this machine" in capsys.readouterr().err


@pytest.mark.parametrize(("mode", "said"), [("disabled", "this process has none"), ("token", "has another one")])
def test_a_missing_or_wrong_token_is_said(
    mode: str, said: str, address: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", mode)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "wrong")
    assert submit(address) == 2
    assert said in capsys.readouterr().err
