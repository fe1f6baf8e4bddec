"""Functions that are something else in compiled code than in Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

COMPILED_AS: Final[list[tuple[Callable[..., Any], Callable[..., Any]]]] = []
"""Such functions that the compiler does not know yet, each with what chooses by the types of the arguments."""


def compiled_as(function: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator: kernels that call `function` get what the decorated one returns for the types of the arguments."""

    def chosen(choose: Callable[..., Any]) -> Callable[..., Any]:
        COMPILED_AS.append((function, choose))
        return choose

    return chosen
