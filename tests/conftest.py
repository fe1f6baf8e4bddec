"""Settings of all tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings

import sweep.secrets

# A property test's first example compiles kernels: no deadline. Derandomised, so that a failure is seen by everybody.
settings.register_profile("splitsweep", deadline=None, derandomize=True)
settings.load_profile("splitsweep")


@pytest.fixture(autouse=True)
def no_secrets_of_other_tests() -> Iterator[None]:
    """A secret that one test gave is no reason to hide the same word in another's messages."""
    yield
    sweep.secrets._secrets.clear()
