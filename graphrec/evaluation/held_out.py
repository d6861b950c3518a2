"""The held-out interactions of one part of a split, by user."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from graphrec.data.splits import SUPPORT, TRAIN


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
        """Int [E]: 0 train, 1 valid, 2 test, 3 support, -1 dropped."""
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
        users: int64 [n], ascending; users of whom nothing is known are left out.
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
        events = dataset.interactions
        known = np.zeros(dataset.n_users, bool)
        known[events.users[np.isin(dataset.split.labels, (TRAIN, SUPPORT))]] = True
        kept = held & known[events.users]
        left_out = len(np.unique(events.users[held & ~kept]))
        return cls.from_pairs(part, events.users[kept], events.items[kept], left_out)

    @classmethod
    def from_pairs(
        cls,
        part: Literal["valid", "test"],
        users: NDArray[Any],
        items: NDArray[Any],
        n_dropped: int = 0,
    ) -> HeldOut:
        """From (user, item) pairs in any order; repeats count once."""
        width = int(items.max(initial=0)) + 1
        pairs = np.unique(users.astype(np.int64) * width + items)
        owners, counts = np.unique(pairs // width, return_counts=True)
        indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        return cls(part, owners, indptr, pairs % width, n_dropped)

    @property
    def pairs(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Users and items of all held-out interactions."""
        return np.repeat(self.users, np.diff(self.indptr)), self.items

    def within(self, users: NDArray[np.int64], items: NDArray[np.int64]) -> HeldOut:
        """What lies in a part of the data, under the indices it has there.

        Args:
            users: int64 [U], index of each user in the part, -1 outside it.
            items: int64 [I], likewise.
        """
        owners, held = self.pairs
        owners, held = users[owners], items[held]
        kept = (owners >= 0) & (held >= 0)
        return HeldOut.from_pairs(self.part, owners[kept], held[kept], self.n_dropped)


def held_out_valid(dataset: SplitData) -> HeldOut:
    """The users with validation interactions, and their items."""
    return HeldOut.where("valid", dataset, dataset.split.labels == 1)
