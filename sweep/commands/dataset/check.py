"""`splitsweep check`."""

from __future__ import annotations

import typer

from sweep.commands.dataset import Directory


def check(directory: Directory) -> None:
    """Verify a dataset: every byte and checksum, runs against phases, configs that stand there twice, its columns.

    What is wrong is told with its cure. The exit code is 1 if anything is damaged; what is only untidy is told, too.

    \b
    Example:
      splitsweep check results/cover-letter
    """
    from sweep.dataset.check import check as findings
    from sweep.dataset.listing import list_shards
    from sweep.dataset.views import existing_store
    from sweep.errors import QueryError

    store = existing_store(directory)
    listing = list_shards(store)
    if not (listing.counting or listing.cut_off or listing.without_runs):
        raise QueryError(f"{directory}: no dataset there; `splitsweep run` makes one")
    is_damaged = False
    for finding in findings(store):
        is_damaged |= finding.is_damage
        print(f"{'damaged' if finding.is_damage else 'note'}: {finding.what}; {finding.cure}")
    shards = "shard" if len(listing.counting) == 1 else "shards"
    print(f"{directory}: {len(listing.counting):,} {shards}, {'damaged' if is_damaged else 'sound'}")
    if is_damaged:
        raise typer.Exit(1)
