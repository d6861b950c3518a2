"""The held-out interactions of one part of a split, by user."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray


class Events(Protocol):
    """Who met what."""

    @property
    def users(self) -> NDArray[Any]:
        """Int [E]."""
        ...

    @property
    def items(self) -> NDArray[Any]:
        """Int [E]."""
        ...


class Labels(Protocol):
    """Which interaction serves what."""

    @property
    def labels(self) -> NDArray[Any]:
        """Int [E]: 0 train, 1 valid, 2 test, -1 dropped."""
        ...


class SplitData(Protocol):
    """What evaluation needs of a `graphrec.data.dataset.Dataset`."""

    @property
    def interactions(self) -> Events:
        """All interactions."""
        ...

    @property
    def split(self) -> Labels:
        """Their labels."""
        ...

    @property
    def n_users(self) -> int:
        """Number of users."""
        ...

    @property
    def n_items(self) -> int:
        """Number of items."""
        ...

    @property
    def data_id(self) -> str:
        """Identity of the interactions."""
        ...

    @property
    def split_id(self) -> str:
        """Identity of the split."""
        ...


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Users with held-out items, and those items: CSR over the users.

    Args:
        part: `valid` or `test`.
        users: int64 [n], ascending; users without training interactions are left out.
        indptr: int64 [n + 1].
        items: int64, distinct within a user, ascending.
        n_dropped: users left out.
    """

    part: Literal["valid", "test"]
    users: NDArray[np.int64]
    indptr: NDArray[np.int64]
    items: NDArray[np.int64]
    n_dropped: int = 0

    @classmethod
    def where(
        cls, part: Literal["valid", "test"], dataset: SplitData, held: NDArray[np.bool_]
    ) -> HeldOut:
        """The interactions marked in `held` (bool [E])."""
        events, n_items = dataset.interactions, max(dataset.n_items, 1)
        trained = np.zeros(dataset.n_users, bool)
        trained[events.users[dataset.split.labels == 0]] = True
        kept = held & trained[events.users]
        pairs = np.unique(events.users[kept].astype(np.int64) * n_items + events.items[kept])
        users, counts = np.unique(pairs // n_items, return_counts=True)
        indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        left_out = len(np.unique(events.users[held & ~kept]))
        return cls(part, users, indptr, pairs % n_items, left_out)


def held_out_valid(dataset: SplitData) -> HeldOut:
    """The users with validation interactions, and their items."""
    return HeldOut.where("valid", dataset, dataset.split.labels == 1)
