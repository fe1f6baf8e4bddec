"""Settings of all tests."""

from __future__ import annotations

from hypothesis import settings

# A property test's first example compiles kernels: no deadline. Derandomised, so that a failure is seen by everybody.
settings.register_profile("splitsweep", deadline=None, derandomize=True)
settings.load_profile("splitsweep")
