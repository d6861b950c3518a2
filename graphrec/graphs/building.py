"""The mark of a graph builder: what it reads decides when its result can be reused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeVar

from graphrec.graphs.graph import Graph

F = TypeVar("F", bound=Callable[..., Graph])


def builder(
    *, reads: tuple[Literal["interactions", "features"], ...], version: int = 1
) -> Callable[[F], F]:
    """Mark a function `(train, ...) -> Graph` for `TrainView.graph`.

    Args:
        reads: the inputs whose identities enter the cache key.
        version: raise it when the function computes something new, so that no old file is used.
    """

    def mark(function: F) -> F:
        attributes: dict[str, Any] = {"reads": reads, "version": version, "load": Graph.load}
        for name, value in attributes.items():
            setattr(function, name, value)
        return function

    return mark
