"""Ray's job server: a command that runs on a cluster's head and outlives whoever sent it.

Its REST interface is asked directly, so the sender needs nothing of `ray[default]`; the head does.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import urllib3

from cluster.errors import BrokenClusterError, ClusterError
from cluster.probe import ray_token

POLL_SECONDS: Final = 1.0
LOST_SECONDS: Final = 60.0
"""So long a server that answered before may be silent: a head is restarted, a network heals."""

RUNNING: Final = ("PENDING", "RUNNING")

_TIMEOUT: Final = urllib3.Timeout(connect=5.0, read=30.0)
_ADDRESS: Final = re.compile(r"(?:https?://)?[^\s/:]+(?::\d{1,5})?/?")


@dataclass(frozen=True, slots=True)
class End:
    """How a job ended."""

    status: str  # SUCCEEDED, FAILED or STOPPED
    exit_code: int | None  # of its command; None if it was stopped, or never came to run
    message: str


def job_server(address: str) -> str:
    """The URL of the job server at HOST:8265 or http://HOST:8265; ClusterError if it is none."""
    if not _ADDRESS.fullmatch(address):
        raise ClusterError(f"address {address!r} is not allowed; allowed: a job server, HOST:8265")
    url = address if "://" in address else f"http://{address}"
    return url.rstrip("/")


def submit_job(server: str, name: str, command: str) -> None:
    """Start the command, in the head's environment, as the job of this name."""
    _asked(server, "POST", "/api/jobs/", {"entrypoint": command, "submission_id": name})


def follow_job(server: str, name: str, show: Callable[[str], None], is_left: Callable[[], bool]) -> End | None:
    """Show what the job prints as it comes, until it ends; None once `is_left`. ClusterError if there is no such job.

    BrokenClusterError where the server has not answered for a minute.
    """
    shown = 0
    heard = time.monotonic()
    while not is_left():
        try:
            job = _asked(server, "GET", f"/api/jobs/{quote(name, safe='')}")
            text = str(_asked(server, "GET", f"/api/jobs/{quote(name, safe='')}/logs").get("logs") or "")
            heard = time.monotonic()
        except _SilentError as error:
            if shown == 0:
                raise
            if time.monotonic() - heard > LOST_SECONDS:
                raise BrokenClusterError(str(error)) from None
            time.sleep(POLL_SECONDS)
            continue
        if len(text) > shown:
            show(text[shown:])
            shown = len(text)
        if job.get("status") not in RUNNING:
            return End(str(job.get("status")), job.get("driver_exit_code"), str(job.get("message") or ""))
        _sleep(POLL_SECONDS, is_left)
    return None


class _SilentError(ClusterError):
    """Nobody answers."""


def _sleep(seconds: float, is_over: Callable[[], bool]) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end and not is_over():
        time.sleep(0.1)


def _asked(server: str, method: str, path: str, body: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What the server answers; ClusterError with one line if it does not do what it is asked."""
    token = ray_token()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        answer = urllib3.request(
            method, f"{server}{path}", json=body, headers=headers, timeout=_TIMEOUT, retries=False, redirect=False
        )
    except urllib3.exceptions.HTTPError as error:
        raise _SilentError(
            f"address {server}: no job server answers there ({type(error).__name__}); it runs on a cluster's head that "
            "was started with ray[default], at port 8265, for other hosts with --dashboard-host 0.0.0.0"
        ) from None
    if answer.status in (401, 403):
        has = "this process has another one" if token else "this process has none"
        raise ClusterError(
            f"address {server}: this cluster asks for a token, and {has}; set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN "
            "or RAY_AUTH_TOKEN_PATH to what `ray get-auth-token` prints on its head"
        )
    if answer.status == 404:
        raise ClusterError(f"address {server}: there is no such job, or no job server; `ray job list` shows the jobs")
    if answer.status != 200:
        lines = [line for line in answer.data.decode(errors="replace").splitlines() if line.strip()]
        said = lines[-1].strip()[:200] if lines else f"status {answer.status}"
        raise ClusterError(f"address {server}: the job server refuses: {said}")
    try:
        found = json.loads(answer.data)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ClusterError(f"address {server}: what answers there is no job server; is the port right?")
    return found
