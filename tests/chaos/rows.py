"""A dataset as text, without what tells where and when its rows were made: two that hold the same are equal."""

from __future__ import annotations

from typing import Final

ROWS: Final = """
SELECT * EXCLUDE (host, kernel_release, started_at, git_revision) FROM phases ORDER BY config_id, phase, iteration
"""
RUNS: Final = "SELECT config_id, status, error_type FROM runs ORDER BY ALL"
