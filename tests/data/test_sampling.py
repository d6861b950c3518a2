from __future__ import annotations

import numpy as np
import pytest
import torch

from graphrec.data.sampling import BatchSampler, NegativeSampler, Sampling
from graphrec.data.train_view import TrainView
from modalities._base.errors import InputError


@pytest.fixture
def view() -> TrainView:
    random = np.random.default_rng(0)
    pairs = sorted({(int(u), int(i)) for u, i in random.integers(0, 14, (90, 2)) if i < 12})
    users, items = zip(*pairs)
    return TrainView.from_arrays(users, items, n_users=14, n_items=16)


@pytest.mark.parametrize("pool", ["train_items", "all"])
def test_negatives_are_uniform_over_the_pool_without_the_users_items(
    view: TrainView, pool: str
) -> None:
    sampler = NegativeSampler(view, pool)  # type: ignore[arg-type]
    owned: dict[int, set[int]] = {}
    for user, item in zip(view.users.tolist(), view.items.tolist()):
        owned.setdefault(user, set()).add(item)
    members = set(view.items.tolist()) if pool == "train_items" else set(range(16))
    random = torch.Generator().manual_seed(0)
    for user, mine in owned.items():
        drawn = sampler.draw(torch.full((4000,), user), 2, random).flatten()
        allowed = sorted(members - mine)
        assert set(drawn.tolist()) == set(allowed)
        share = torch.bincount(drawn, minlength=16)[allowed] / len(drawn)
        np.testing.assert_allclose(share, 1 / len(allowed), atol=0.035)


def test_one_free_item_is_found_at_once() -> None:
    n = 5000
    view = TrainView.from_arrays([0] * (n - 1) + [1], [*range(n - 1), n - 1], n_users=2, n_items=n)
    drawn = NegativeSampler(view).draw(torch.zeros(64, dtype=torch.long), 3, torch.Generator())
    assert (drawn == n - 1).all()


def test_users_who_own_the_pool_are_counted() -> None:
    view = TrainView.from_arrays([0, 0, 1, 1, 2], [0, 1, 0, 1, 0], n_users=3, n_items=5)
    with pytest.raises(InputError, match=r"2 user\(s\) own every item .* \(2 items\)"):
        NegativeSampler(view)
    NegativeSampler(view, "all")


def test_an_epoch_covers_every_interaction_once(view: TrainView) -> None:
    sampler = BatchSampler(view, Sampling(), batch_size=8, seed=3)
    batches = list(sampler.epoch(0))
    assert len(batches) == len(sampler)
    assert len(batches[-1]) == len(view.users) - 8 * (len(batches) - 1)
    seen = [
        pair for b in batches for pair in zip(b.users.tolist(), b.positives.tolist(), strict=True)
    ]
    assert sorted(seen) == sorted(zip(view.users.tolist(), view.items.tolist(), strict=True))
    assert seen != list(zip(view.users.tolist(), view.items.tolist(), strict=True))


def test_epochs_are_replayable_and_differ(view: TrainView) -> None:
    def draw(seed: int, epoch: int) -> list[int]:
        batches = BatchSampler(view, Sampling(), 8, seed).epoch(epoch)
        return [
            n
            for b in batches
            for t in (b.users, b.negatives)
            if t is not None
            for n in t.flatten().tolist()
        ]

    assert draw(0, 2) == draw(0, 2)
    assert draw(0, 2) != draw(0, 3)
    assert draw(0, 2) != draw(1, 2)


def test_user_epochs_have_distinct_users_and_their_own_positives(view: TrainView) -> None:
    sampler = BatchSampler(view, Sampling(epoch="users", negatives=2, pool="all"), 5, seed=0)
    batches = list(sampler.epoch(0))
    assert len(batches) == len(view.users) // 5 + 1
    pairs = set(zip(view.users.tolist(), view.items.tolist(), strict=True))
    for batch in batches:
        assert len(set(batch.users.tolist())) == 5
        assert {*zip(batch.users.tolist(), batch.positives.tolist(), strict=True)} <= pairs
        assert batch.negatives is not None
        assert batch.negatives.shape == (5, 2)


def test_user_epochs_choose_positives_uniformly() -> None:
    view = TrainView.from_arrays([0, 0, 0, 1], [0, 1, 2, 3], n_users=2, n_items=6)
    sampler = BatchSampler(view, Sampling(epoch="users", negatives=0), 2, seed=0)
    drawn = [
        int(batch.positives[batch.users == 0])
        for epoch in range(500)
        for batch in sampler.epoch(epoch)
    ]
    share = np.bincount(drawn, minlength=3) / len(drawn)
    np.testing.assert_allclose(share, 1 / 3, atol=0.05)
    assert next(sampler.epoch(0)).negatives is None


def test_empty_training_is_refused() -> None:
    view = TrainView.from_arrays([], [], n_users=1, n_items=1)
    with pytest.raises(InputError, match="training split is empty"):
        BatchSampler(view, Sampling(), 8, seed=0)
