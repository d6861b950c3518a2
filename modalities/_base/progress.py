"""Progress bars on the standard error stream."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

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


@contextmanager
def counter(description: str, total: int, show: bool = True) -> Iterator[Callable[[int], None]]:
    """Yield a function that counts things done, under a bar with their rate and the time left.

    Example:
        >>> with counter("encoding", 10, show=False) as tell:
        ...     tell(10)
    """
    if not show:
        yield lambda count: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate())
    with Progress(*columns, TimeRemainingColumn(), console=console(), transient=True) as bar:
        task = bar.add_task(description, total=total)
        yield lambda count: bar.advance(task, count)


class _Rate(ProgressColumn):
    """Items per second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.1f}/s")
