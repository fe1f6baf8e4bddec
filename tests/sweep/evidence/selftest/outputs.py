"""Short outputs of the test, to put together."""

from __future__ import annotations

from typing import Final

SHORT: Final = """\
Test iterations: 1
Iteration 1 dirty memory time: {seconds}s
Iteration 1 get dirty log time: 0.000000001s
Iteration 1 clear dirty log time: 0.000000002s
"""
ONE: Final = SHORT.format(seconds="1.000000000")
TWO: Final = SHORT.format(seconds="2.000000000")
