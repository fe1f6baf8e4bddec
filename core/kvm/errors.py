"""What can be wrong with a run of the kernel's test, each with the sentence that tells what to do about it."""

from __future__ import annotations


class SelftestError(ValueError):
    """What dirty_log_perf_test was told or printed cannot be used. The message names the value and what is allowed."""
