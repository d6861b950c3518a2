"""Training interactions replaced by random ones, to see what a model makes of wrong data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from graphrec.data.randomness import derived_seed
from graphrec.data.sampling import NegativeSampler
from graphrec.data.train_view import TrainView
from modalities._base.errors import InputError
from modalities._base.identity import digest


def flipped(train: TrainView, share: float, seed: int) -> TrainView:
    """The view with a share of its interactions replaced: same user and time, another item.

    A flipped interaction gets an item drawn uniformly from those with training interactions of
    which the user has none; no two of a user's are the same. Nothing held out is looked at, so a
    drawn item may by chance be one that the user has in a held-out part. Draws depend on the seed
    and the interactions alone: a greater share holds every flip of a smaller one.

    Args:
        train: the training interactions.
        share: of the interactions, in [0, 1]; rounded to whole ones. 0 returns `train` itself.
        seed: which, and what instead.

    Returns:
        A view of an identity of its own, so that no graph of the true interactions meets it.

    Raises:
        InputError: a user lacks too few items to flip as many interactions.

    Example:
        >>> train = TrainView.from_arrays([0, 0, 1], [0, 1, 2], n_users=2, n_items=3)
        >>> flipped(train, 1 / 3, seed=0).users
        tensor([0, 0, 1])
        >>> int((flipped(train, 1 / 3, seed=0).items != train.items).sum())
        1
    """
    total = len(train.users)
    count = round(share * total)
    if count == 0:
        return train
    random = np.random.default_rng(derived_seed(seed, "flipped interactions"))
    order = torch.from_numpy(random.permutation(total))
    users = train.users.cpu()[order]
    by_user = torch.argsort(users, stable=True)
    drawn = torch.empty(total, dtype=torch.long)
    drawn[by_user] = _replacements(train.to("cpu"), users[by_user], random)
    chosen, items = order[:count], drawn[:count]
    lacking = int((items < 0).sum())
    if lacking:
        raise InputError(
            f"data.flip={share:g} would flip {count:,} interactions, but {lacking:,} of them are "
            "of users who lack too few of the other items; choose a smaller share"
        )
    changed = train.items.clone()
    changed[chosen.to(train.device)] = items.to(train.device)
    identity = digest([train.id, "flipped"], changed.cpu().numpy())
    return replace(train, items=changed, id=identity)


def _replacements(train: TrainView, users: Tensor, random: np.random.Generator) -> Tensor:
    """For each of `users`, ascending, an item that is not theirs; -1 where none is left."""
    sampler = NegativeSampler(train)
    each, counts = torch.unique_consecutive(users, return_counts=True)
    free = sampler.free(each)
    places = np.full(len(users), -1)
    start = 0
    for n_free, n_rows in zip(free.tolist(), counts.tolist()):
        n = min(n_free, n_rows)
        places[start : start + n] = random.choice(n_free, n, replace=False)
        start += n_rows
    found = torch.from_numpy(places)
    items = sampler.nth(users, found.clamp_min(0).unsqueeze(1)).squeeze(1)
    return torch.where(found < 0, -1, items)
