"""Where a run takes place if nobody says."""

from __future__ import annotations

from cluster.pool import usable_cpus
from sweep.running.place import choice_text, chosen_address


def test_what_takes_up_to_a_minute_runs_in_processes_of_this_machine() -> None:
    assert chosen_address(60 * usable_cpus()) == "pool"
    assert choice_text("pool", 30 * usable_cpus()).endswith(
        "of this machine: about 30 s, and up to a minute goes without Ray"
    )


def test_what_takes_longer_runs_on_ray() -> None:
    assert chosen_address(61 * usable_cpus()) == "local"
    assert choice_text("local", 200 * usable_cpus()) == (
        "runs on a Ray started for it on this machine: about 3 min 20 s, longer than a minute (or --address pool)"
    )
