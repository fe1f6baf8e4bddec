"""One process server for all tests that need one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from core.live.processes.server import Server, process_server
from tests.core.live.workers import PRELOAD


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with process_server(PRELOAD) as running:
        yield running
