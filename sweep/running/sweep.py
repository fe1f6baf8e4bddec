"""A spec run from Python: what `splitsweep run` does, without its words on the terminal."""

from __future__ import annotations

from cluster.errors import BrokenClusterError
from sweep.dataset.listing import finished
from sweep.dataset.place import check_place, write_spec
from sweep.dataset.store import open_store
from sweep.errors import SweepError
from sweep.running.execute import execute
from sweep.running.place import chosen_address
from sweep.running.plan import make_plan
from sweep.spec.configs import Spec, resolved_text


def run_spec(sweep: Spec, location: str, address: str | None) -> None:
    """Run what the dataset lacks; SweepError if it is interrupted, or not all of it is in the dataset at the end."""
    store = open_store(location)
    check_place(store, fresh=False)
    plan = make_plan(sweep.configs, finished(store))
    try:
        outcome = execute(
            plan,
            store,
            address or chosen_address(plan.estimated_seconds),
            lambda progress: None,
            before_work=lambda: write_spec(store, resolved_text(sweep)),
        )
    except BrokenClusterError as error:
        raise SweepError(f"{location}: {error}; what is done is kept, run the same again") from error
    if outcome.interrupted_by is not None:
        raise SweepError(f"{location}: interrupted; what is done is kept, run the same again")
    if outcome.lost:
        raise SweepError(f"{location}: {outcome.lost} configs were run and are not there; run the same again")
