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
