"""Where work runs: on processes of this machine, on a Ray cluster started for the occasion, or on one that is there.

An address says which:

* `inline`: in this process, one piece of work after the other; for debugging and tests.
* `pool`: in worker processes of this machine, one a CPU. Neither imports Ray.
* `local`: Ray is started on this machine, and stopped at the end.
* `auto`: the cluster this machine belongs to.
* `ray://HOST:PORT` or `HOST:PORT`: that cluster.

Ray's core is enough here: no dashboard, no job server. Nothing is uploaded to a cluster: its nodes import the
package from their own environment, so kernels compiled there stay cached and all nodes run the same version.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Final

from cluster.attempt import Prepare
from cluster.errors import BrokenClusterError, ClusterError, first_line
from cluster.keeper import Keeper, end_users
from cluster.pool import Pool
from cluster.probe import check_answers

ADDRESSES: Final = "pool, local, auto, inline, ray://HOST:PORT, HOST:PORT"

OBJECT_STORE_BYTES: Final = 128 * 2**20
"""Results are small rows' summaries; Ray would take a quarter of the memory by default."""

_LEAVE_SECONDS: Final = 10.0

_HOST_PORT: Final = re.compile(r"(?P<client>ray://)?(?P<host>[^\s/:]+|\[[0-9a-fA-F:]+\]):(?P<port>\d{1,5})")


@dataclass(frozen=True, slots=True)
class Session:
    """A place to run work, open until the `open_session` block ends."""

    address: str
    pool: Pool | None = None

    @property
    def uses_ray(self) -> bool:
        return self.address not in ("inline", "pool")

    @property
    def is_elsewhere(self) -> bool:
        """Whether other machines may take part, which have installed what they run by themselves."""
        return self.uses_ray and self.address != "local"

    def largest_memory(self) -> int | None:
        """Bytes that the best node of a Ray cluster gives to work; None elsewhere, and while there is no such node."""
        if not self.uses_ray:
            return None
        from cluster.on_ray import largest_memory

        return largest_memory()


def check_address(address: str) -> None:
    """Raise ClusterError if `address` is none of the forms above."""
    if address not in ("inline", "pool", "local", "auto") and _HOST_PORT.fullmatch(address) is None:
        raise ClusterError(f"address {address!r} is not allowed; allowed: {ADDRESSES}")


@contextmanager
def open_session(address: str, prepare: Prepare = None, pool: Pool | None = None) -> Iterator[Session]:
    """Start or join what `address` names; leave it at the end of the block, and stop it if it was started here.

    Worker processes of this machine are forked after `prepare` was called once; or `pool` is taken, started before.
    """
    check_address(address)
    if address == "inline":
        yield Session(address)
        return
    if address == "pool":
        with pool or Pool(prepare) as pool:
            yield Session(address, pool)
        return
    _prepare_environment(address)
    if match := _HOST_PORT.fullmatch(address):
        check_answers(address, match["host"].strip("[]"), int(match["port"]))
    import ray  # half a second: only where it is used

    if ray.is_initialized():
        raise ClusterError(f"address {address}: this process uses a Ray cluster already; leave that one first")
    _silence()
    with Keeper() if address == "local" else nullcontext() as keeper:
        try:
            _connect(address, keeper.folder if keeper else None)
            yield Session(address)
        except BrokenClusterError:
            if keeper is not None:
                end_users(keeper.folder, but=os.getpid())  # nothing of it has an orderly end any more
            raise
        finally:
            _leave()


def _prepare_environment(address: str) -> None:
    """Settings that Ray and the workers it starts read from the environment; the user's own come first."""
    if address == "local" and "ray" not in sys.modules:  # Ray reads these when it is imported
        if "RAY_AUTH_MODE" not in os.environ:
            # Nobody but this process has the token, and no file holds it. Ray would leave one in the home folder that
            # others can read, and would from then on ask for it wherever this user starts a cluster.
            os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        # Ray listens on all interfaces; this is how it is told not to, where firewalls would ask the user
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    os.environ.setdefault("RAY_worker_niceness", "0")  # workers are measured; at Ray's nice 15 anything delays them
    os.environ.setdefault("RAY_enable_worker_prestart", "1")  # workers start beside the driver, not after it
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # silences a warning about GPUs nobody uses
    os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")  # whoever asked for a task's result reports its error


def _silence() -> None:
    """Keep Ray from writing between our own lines: what goes wrong is told by events and ClusterError."""
    import ray._private.worker

    logging.getLogger("ray").setLevel(logging.ERROR)
    # The raylet's report of a dead worker is printed to standard output, whatever log_to_driver says.
    ray._private.worker._worker_logs_enabled = False


def _leave() -> None:
    """Disconnect, and wait for it no longer than somebody may who waits for an answer: there may be none."""
    import ray

    leaving = threading.Thread(target=ray.shutdown, daemon=True)
    leaving.start()
    leaving.join(_LEAVE_SECONDS)


def _connect(address: str, folder: str | None) -> None:
    import ray

    try:
        if address == "local":
            ray.init(
                address="local",
                include_dashboard=False,
                object_store_memory=OBJECT_STORE_BYTES,
                configure_logging=False,
                log_to_driver=False,
                _temp_dir=folder,
            )
        else:
            ray.init(address=address, configure_logging=False, log_to_driver=False)
    except Exception as error:  # whatever Ray's layers raise: ValueError, ConnectionError, RuntimeError, gRPC's own
        raise ClusterError(_why_not(address, error)) from error


def _why_not(address: str, error: Exception) -> str:
    if address == "local":
        return f"address local: Ray does not start on this machine: {first_line(error)}"
    if address == "auto":
        return (
            "address auto: this machine belongs to no running Ray cluster; start one with `ray start --head`, "
            f"or use --address local ({first_line(error)})"
        )
    if address.startswith("ray://") and isinstance(error, ImportError):
        return f"address {address}: needs the Ray client; install it with `pip install 'ray[client]'`"
    # "Version mismatch" and then, on lines of their own, what the cluster runs and what this process runs
    said = " ".join(str(error).split()) if "Version mismatch" in str(error) else first_line(error)
    return f"address {address}: cannot join this cluster: {said}"
