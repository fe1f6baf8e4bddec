"""A node that runs something else than the driver is refused, with both named."""

from __future__ import annotations

import platform
import socket

import numba
import pytest

from sweep.errors import SweepError
from sweep.running.versions import on_same_versions, own_versions


def double(batch: int, attempt: int) -> int:
    return 2 * batch + attempt


def test_a_node_of_the_same_versions_does_the_work() -> None:
    assert on_same_versions(own_versions(), double, 20, 2) == 42


@pytest.mark.parametrize("own", [platform.python_version(), numba.__version__, "source"])
def test_a_node_that_differs_in_anything_is_refused_and_both_are_named(own: str) -> None:
    versions = own_versions().replace(own, "other")
    assert versions != own_versions()
    with pytest.raises(SweepError) as raised:
        on_same_versions(versions, double, 20, 2)
    node = f"node {socket.gethostname()} runs {own_versions()}; the driver runs {versions}"
    assert str(raised.value) == f"{node}; install the same on every node"
