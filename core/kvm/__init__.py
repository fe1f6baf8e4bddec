"""Real KVM, through the kernel's own dirty_log_perf_test: its options, what it prints, the modules it depends on."""

from __future__ import annotations

from typing import Final

TEST: Final = "dirty_log_perf_test"

ENGINE_VERSION: Final = TEST
"""The version in the rows of measurements, whoever ran the test: what decides is the kernel's release."""
