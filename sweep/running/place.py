"""Where a run takes place if nobody says: worker processes of this machine for what is soon done, else Ray."""

from __future__ import annotations

from typing import Final

from cluster.pool import usable_cpus
from sweep.running.progress import duration_text

POOL_SECONDS: Final = 60.0
"""Up to so much work on all CPUs, Ray's start and stop (7 s on two cores) would be more than a tenth of the whole."""


def chosen_address(core_seconds: float) -> str:
    """The address for work that would take one core so long."""
    return "pool" if core_seconds / usable_cpus() <= POOL_SECONDS else "local"


def choice_text(address: str, core_seconds: float) -> str:
    """What was chosen, and why, in one line."""
    cpus = usable_cpus()
    expected = duration_text(max(0.1, core_seconds / cpus))
    if address == "pool":
        workers = f"{cpus} worker processes" if cpus > 1 else "one worker process"
        return f"runs in {workers} of this machine: about {expected}, and up to a minute goes without Ray"
    return f"runs on a Ray started for it on this machine: about {expected}, longer than a minute (or --address pool)"
