"""The process that runs the test and answers for the host: it changes settings, and puts them back whatever happens.

It is started in a session of its own, ignores interrupts, and watches the pipe from the one who asked: when that
breaks, because a worker was killed, it ends the test and puts everything back. What it is to put back stands in a file
before anything is changed, so that the next attendant does it if this one was killed too. That file is locked while an
attendant is at work: one test at a time runs on a host.

A request comes as one line of JSON on stdin, the answer as one on stdout.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, Final

from core.kvm.counting import PhaseCounts, counted_run
from core.kvm.errors import SelftestError
from core.kvm.host import Host

SKIPPED: Final = 4  # what a test of the kernel exits with when it cannot run here
NOTEBOOK: Final = "splitsweep-kvm.json"
POLL_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Request:
    """A run of the test, and the host it needs."""

    command: list[str]
    parameters: dict[str, bool] = field(default_factory=dict)
    huge_pages: str | None = None  # their size
    huge_pages_needed: int = 0
    pages_per_slot: int = 0  # of guest memory, to count the dirty ones
    is_shadow: bool = False  # the guest's page faults are traced by their virtual address
    root: str = "/"  # of the host's settings


@dataclass(frozen=True, slots=True)
class Answer:
    """What the test printed, and what KVM counted in each phase of a run beside it."""

    output: str
    counts: list[PhaseCounts]


class AbandonedError(Exception):
    """Whoever asked is gone."""


def attend(request: Request) -> Answer:
    """Run the test on a host set up for it, in an attendant; SelftestError if that cannot be done."""
    package_root = str(Path(__file__).parents[2])
    paths = os.pathsep.join(filter(None, (package_root, os.environ.get("PYTHONPATH"))))
    attendant = subprocess.Popen(
        [sys.executable, "-m", "core.kvm.attendant"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        env=os.environ | {"PYTHONPATH": paths},
    )
    assert attendant.stdin
    assert attendant.stdout
    try:
        with suppress(BrokenPipeError):
            attendant.stdin.write(json.dumps(asdict(request)).encode() + b"\n")
            attendant.stdin.flush()
        text = attendant.stdout.read()  # until it ends; stdin stays open as long: it is how it knows that we live
    finally:
        attendant.stdin.close()
        attendant.wait()
        attendant.stdout.close()
    if not text:
        raise SelftestError(f"the attendant of the test ended with {attendant.returncode}")
    answer = json.loads(text)
    if "error" in answer:
        raise SelftestError(answer["error"])
    return Answer(answer["output"], [PhaseCounts(**phase) for phase in answer["counts"]])


def main() -> None:
    """What the attendant does."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    answer: dict[str, Any]
    try:
        request = Request(**json.loads(sys.stdin.readline()))
        signal.signal(signal.SIGALRM, _look_for_the_asker)
        signal.setitimer(signal.ITIMER_REAL, POLL_SECONDS, POLL_SECONDS)
        with _notebook(Path(request.root)) as notebook:
            answer = asdict(_attended(request, Host(Path(request.root)), notebook))
    except (SelftestError, AbandonedError) as error:
        answer = {"error": str(error)}
    with suppress(BrokenPipeError):
        print(json.dumps(answer), flush=True)


def _look_for_the_asker(*_: object) -> None:
    """Raise AbandonedError, once, when whoever asked is gone: wherever the attendant waits."""
    if select.select([sys.stdin], [], [], 0)[0] and not os.read(sys.stdin.fileno(), 1):
        signal.setitimer(signal.ITIMER_REAL, 0)
        raise AbandonedError("whoever asked for the run is gone")


def _attended(request: Request, host: Host, notebook: IO[str]) -> Answer:
    _put_back(host, _read(notebook))  # of an attendant that was killed
    before = _state(host, request)
    _write(notebook, before)
    try:
        try:
            host.set_parameters(request.parameters)
            if request.huge_pages:
                host.reserve_huge_pages(request.huge_pages, request.huge_pages_needed)
            return Answer(_run(request.command), _counted(request))
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        _put_back(host, before)
        _write(notebook, {})


def _state(host: Host, request: Request) -> dict[str, Any]:
    """What is to be put back after the run."""
    now = host.parameters()
    state: dict[str, Any] = {"parameters": {name: now[name] for name in request.parameters if name in now}}
    if request.huge_pages:
        state["huge_pages"] = {request.huge_pages: host.huge_pages(request.huge_pages)[0]}
    return state


def _put_back(host: Host, state: Mapping[str, Any]) -> None:
    for size, count in state.get("huge_pages", {}).items():
        if host.huge_pages(size)[0] != count:
            host.set_huge_pages(size, count)
    host.set_parameters(state.get("parameters", {}))


def _run(command: Sequence[str]) -> str:
    """What the test prints; SelftestError with its last words if it fails."""
    try:
        test = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
        )
    except OSError as error:
        raise SelftestError(f"{command[0]}: cannot be run: {error.strerror}") from None
    try:
        output = test.communicate()[0]
    except BaseException:
        with suppress(ProcessLookupError):
            os.killpg(test.pid, signal.SIGKILL)
        test.wait()
        raise
    text = output.decode(errors="replace")
    last = " / ".join(line.strip() for line in text.splitlines()[-4:] if line.strip())
    if test.returncode == SKIPPED:
        raise SelftestError(f"the test was skipped: {last}")
    if test.returncode:
        raise SelftestError(f"the test failed with {test.returncode}: {last}")
    return text


def _counted(request: Request) -> list[PhaseCounts]:
    """What KVM counts in a second run, whose times are not used: being watched takes time. None, if it cannot be."""
    try:
        return counted_run(
            request.command, request.pages_per_slot, is_shadow=request.is_shadow, root=Path(request.root)
        )
    except (SelftestError, OSError):
        return []


@contextmanager
def _notebook(root: Path) -> Iterator[IO[str]]:
    """The file with what is to be put back, locked."""
    folders = [root / "run/lock", root / "run", Path(tempfile.gettempdir())]
    folder = next(path for path in folders if path.is_dir() and os.access(path, os.W_OK))
    with open(folder / NOTEBOOK, "a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file


def _read(notebook: IO[str]) -> dict[str, Any]:
    notebook.seek(0)
    text = notebook.read()
    try:
        return dict(json.loads(text)) if text else {}
    except ValueError:  # half a line: it was being written when the power failed, and then nothing had been changed
        return {}


def _write(notebook: IO[str], state: Mapping[str, Any]) -> None:
    notebook.seek(0)
    notebook.truncate()
    notebook.write(json.dumps(state))
    notebook.flush()
    os.fsync(notebook.fileno())


if __name__ == "__main__":
    main()
