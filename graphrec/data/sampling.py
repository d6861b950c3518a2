"""Training batches: order and negatives drawn on the device, vectorised, replayable by epoch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from graphrec.data.randomness import generator
from graphrec.data.train_view import TrainView
from modalities._base.errors import InputError


@dataclass(frozen=True)
class Sampling:
    """How a model wants its batches.

    Args:
        epoch: `"interactions"`: each training interaction once, shuffled, the short last batch
            kept; `"users"`: floor(E / B) + 1 batches of B distinct users drawn uniformly, each
            with one random positive.
        negatives: negatives per positive; 0 for none.
        pool: where negatives come from: `"train_items"` (items with a training interaction) or
            `"all"` items. The user's own training items are never drawn.
    """

    epoch: Literal["interactions", "users"] = "interactions"
    negatives: int = 1
    pool: Literal["train_items", "all"] = "train_items"


@dataclass(frozen=True, eq=False)
class Batch:
    """One training step's triples.

    Args:
        users: int64 [B].
        positives: int64 [B].
        negatives: int64 [B, n], or None.
    """

    users: Tensor
    positives: Tensor
    negatives: Tensor | None

    def __len__(self) -> int:
        return len(self.users)


class NegativeSampler:
    """Uniform negatives outside each user's training items, exactly and without rejection.

    The pool is ordered; a user owns m of its P places a_0 < ... < a_(m-1). A uniform r in
    [0, P - m) stands for the r-th place not owned, r + #{j : a_j - j <= r}, found by one
    binary search for the whole batch.

    Args:
        train: the training interactions; negatives are drawn on its device.
        pool: `"train_items"` or `"all"`.

    Raises:
        InputError: some user owns the whole pool; the message counts them.

    Example:
        >>> view = TrainView.from_arrays([0, 0, 1], [0, 2, 1], n_users=2, n_items=3)
        >>> sampler = NegativeSampler(view)
        >>> sampler.draw(torch.tensor([0, 0]), 1, torch.Generator().manual_seed(0))
        tensor([[1],
                [1]])
    """

    def __init__(
        self, train: TrainView, pool: Literal["train_items", "all"] = "train_items"
    ) -> None:
        everything = torch.ones(train.n_items, dtype=torch.bool, device=train.device)
        member = everything if pool == "all" else train.warm_items
        self.pool = member.nonzero().squeeze(1)
        place = member.cumsum(0) - 1
        indptr, owned = train.user_items
        counts = indptr.diff()
        self._free = len(self.pool) - counts
        self._start = indptr[:-1]
        self._stride = len(self.pool) + 1
        users = torch.arange(train.n_users, device=train.device).repeat_interleave(counts)
        rank = torch.arange(len(owned), device=train.device) - self._start[users]
        self._keys = users * self._stride + (place[owned] - rank)
        full = int(((self._free <= 0) & (counts > 0)).sum())
        if full:
            raise InputError(
                f"{full} user(s) own every item of the negative pool '{pool}' "
                f"({len(self.pool)} items), so no negative exists for them; "
                "drop these users or use a larger pool"
            )

    def draw(self, users: Tensor, n: int, random: torch.Generator) -> Tensor:
        """N negatives for each of `users` [B], int64 [B, n]."""
        shape = (len(users), n)
        uniform = torch.rand(shape, generator=random, dtype=torch.float64, device=users.device)
        free = self.free(users).unsqueeze(1)
        return self.nth(users, torch.minimum((uniform * free).long(), free - 1))

    def free(self, users: Tensor) -> Tensor:
        """How many items of the pool each of `users` does not own."""
        return self._free[users]

    def nth(self, users: Tensor, r: Tensor) -> Tensor:
        """The items at the places `r` [B, n], from 0, among those each of `users` [B] lacks."""
        key = users.unsqueeze(1) * self._stride + r
        before = torch.searchsorted(self._keys, key, right=True) - self._start[users].unsqueeze(1)
        return self.pool[r + before]


class BatchSampler:
    """Batches of an epoch; epoch e depends only on (seed, e), never on epochs before it.

    Args:
        train: the training interactions, on the device where batches are wanted.
        sampling: what the model declares.
        batch_size: interactions or users per batch.
        seed: of the streams "order" and "negatives".
    """

    def __init__(self, train: TrainView, sampling: Sampling, batch_size: int, seed: int) -> None:
        if len(train.users) == 0:
            raise InputError("the training split is empty: there is nothing to learn from")
        self.train = train
        self.sampling = sampling
        self.batch_size = batch_size
        self.seed = seed
        self._negatives = NegativeSampler(train, sampling.pool) if sampling.negatives else None
        self._active = (train.user_items[0].diff() > 0).nonzero().squeeze(1)

    def __len__(self) -> int:
        """Batches per epoch."""
        full, rest = divmod(len(self.train.users), self.batch_size)
        return full + (1 if rest or self.sampling.epoch == "users" else 0)

    def epoch(self, number: int) -> Iterator[Batch]:
        """The batches of epoch `number`."""
        device = self.train.device
        order = generator(self.seed, "order", number, device=device)
        noise = generator(self.seed, "negatives", number, device=device)
        pairs = self._interactions if self.sampling.epoch == "interactions" else self._users
        for users, positives in pairs(order):
            drawn = self._negatives
            chosen = drawn.draw(users, self.sampling.negatives, noise) if drawn else None
            yield Batch(users, positives, chosen)

    def _interactions(self, random: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        total = len(self.train.users)
        order = torch.randperm(total, generator=random, device=self.train.device)
        for chosen in order.split(self.batch_size):
            yield self.train.users[chosen], self.train.items[chosen]

    def _users(self, random: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        indptr, items = self.train.user_items
        device, active = self.train.device, self._active
        for _ in range(len(self)):
            users = active[_draw_users(len(active), self.batch_size, random, device)]
            size = indptr[users + 1] - indptr[users]
            uniform = torch.rand(len(users), generator=random, dtype=torch.float64, device=device)
            place = torch.minimum((uniform * size).long(), size - 1)
            yield users, items[indptr[users] + place]


def _draw_users(n: int, size: int, random: torch.Generator, device: torch.device) -> Tensor:
    if size <= n:
        return torch.randperm(n, generator=random, device=device)[:size]
    return torch.randint(n, (size,), generator=random, device=device)
