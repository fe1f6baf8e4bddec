"""What a worker process loads before its first config, so that the time of that one is its own.

Apart from sweep/running/worker.py, as the driver names the function long before it has imported what workers need.
"""

from __future__ import annotations

from cluster.attempt import Tell
from core.compiled.cache import is_warm


def load_engine(tell: Tell) -> None:
    """Load the simulator and all that a worker needs besides; compile the simulator unless that is done."""
    import sweep.running.worker  # noqa: F401
    from core.run import warm_up
    from core.sim.engine import load_kernels

    if is_warm():
        load_kernels()
    else:
        warm_up(report=tell)


def load_concurrent_engine(tell: Tell) -> None:
    """The same, with what simulates vCPUs that run while the ioctls do."""
    from core.run import warm_up

    load_engine(tell)
    warm_up("concurrent", tell)


def load_live_engine(tell: Tell) -> None:
    """The same, with what the processes of live runs load."""
    from core.run import warm_up

    load_engine(tell)
    warm_up("live", tell)
