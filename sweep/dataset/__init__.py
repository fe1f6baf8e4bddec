"""A dataset: Parquet shards, their upkeep, and the views that questions are asked of."""
