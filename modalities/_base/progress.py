"""Progress bars on the standard error stream."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

T = TypeVar("T")


def console() -> Console:
    """A console on standard error, where progress and messages go."""
    return Console(stderr=True)


def track(
    iterable: Iterable[T], description: str, total: int | None = None, show: bool = True
) -> Iterator[T]:
    """Yield from `iterable` under a progress bar (`show=False`: silently).

    Example:
        >>> list(track(range(3), "counting", show=False))
        [0, 1, 2]
    """
    if not show:
        yield from iterable
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console(), transient=True) as bar:
        yield from bar.track(iterable, description=description, total=total)
