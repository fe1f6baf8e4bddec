"""An object store on loopback: a real server process that speaks S3."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

import benchmarks.object_server


@pytest.fixture(scope="session")
def object_server() -> Iterator[str]:
    """HOST:PORT of a server that keeps objects in its memory."""
    with benchmarks.object_server.object_server() as server:
        yield server


@pytest.fixture
def bucket(object_server: str) -> str:
    """The URI of a folder, with `{}` for its name, in a bucket of its own."""
    return benchmarks.object_server.new_bucket(object_server, f"bucket-{uuid.uuid4().hex[:8]}")
