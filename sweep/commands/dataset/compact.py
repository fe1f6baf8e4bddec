"""`splitsweep compact`."""

from __future__ import annotations

from sweep.commands.dataset import Directory


def compact(directory: Directory) -> None:
    """Copy the rows of a dataset into few files, and write old ones in today's form. Readers may read meanwhile.

    A run does the same for its own small files when it ends; this does it for all of them.

    \b
    Example:
      splitsweep compact results/cover-letter
    """
    from sweep.dataset.listing import list_shards
    from sweep.dataset.upkeep import compact as compact_dataset
    from sweep.dataset.upkeep import only_writer
    from sweep.dataset.views import existing_store, has_results
    from sweep.errors import QueryError

    store = existing_store(directory)
    if not has_results(store):
        raise QueryError(f"{directory}: no dataset there; `splitsweep run` makes one")
    before = len(list_shards(store).counting)
    with only_writer(store):
        compact_dataset(store)
    now = len(list_shards(store).counting)
    print(f"{directory}: {before:,} {'shard' if before == 1 else 'shards'} before, {now:,} now")
