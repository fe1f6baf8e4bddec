"""One Ray for all tests of a file: starting it costs more than all of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cluster.session import Session, open_session


@pytest.fixture(scope="module")
def on_ray() -> Iterator[Session]:
    with open_session("local") as session:
        yield session
