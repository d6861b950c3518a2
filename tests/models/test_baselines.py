from __future__ import annotations

import numpy as np
import torch

from graphrec.data.train_view import TrainView
from graphrec.models.itemknn import ItemKNN
from graphrec.models.popularity import Popularity


def test_popularity_counts_every_training_interaction(tiny_train: TrainView) -> None:
    scores = Popularity(tiny_train).score(torch.tensor([0, 4]))
    expected = np.bincount(tiny_train.items.numpy(), minlength=6)
    np.testing.assert_array_equal(scores, np.stack([expected, expected]))


def test_itemknn_matches_loops() -> None:
    random = np.random.default_rng(0)
    r = (random.random((30, 12)) < 0.3).astype(float)
    users, items = r.nonzero()
    train = TrainView.from_arrays(users.tolist(), items.tolist(), n_users=30, n_items=12)
    model = ItemKNN(train, shrinkage=10, k=3)
    together, counts = r.T @ r, r.sum(0)
    similarity = np.zeros((12, 12))
    for i in range(12):
        row = together[i] / (np.sqrt(counts[i] * counts) + 10)
        row[i] = 0
        best = sorted(range(12), key=lambda j: (-row[j], j))[:3]
        similarity[i, best] = row[best]
    np.testing.assert_allclose(model.score(torch.arange(30)), r @ similarity, rtol=1e-5)
