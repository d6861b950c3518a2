from __future__ import annotations

from typing import Any

import numpy as np
import torch

from graphrec.data.train_view import Features, TrainView
from graphrec.graphs import history_graph, item_hypergraph, user_hypergraph


def interactions(train: TrainView) -> Any:
    r = np.zeros((train.n_users, train.n_items))
    users, items = (part.numpy() for part in train.edges)
    r[users, items] = 1
    return r


def incidence(train: TrainView, k: int) -> Any:
    """[T_1 | T_2 | ...] by sorting whole rows of cosines."""
    blocks = []
    for features in train.features.values():
        x = features.values.numpy().astype(np.float64) * features.present.numpy()[:, None]
        norms = np.linalg.norm(x, axis=1, keepdims=True)
        unit = np.divide(x, norms, out=np.zeros_like(x), where=norms > 0)
        cosine = unit @ unit.T
        valid = norms[:, 0] > 0
        t = np.zeros_like(cosine)
        for row in np.flatnonzero(valid):
            ranked = sorted(np.flatnonzero(valid), key=lambda j: (j != row, -cosine[row, j]))
            for column in ranked[:k]:
                t[row, column] = 1.0 if cosine[row, column] > 0 else cosine[row, column]
        blocks.append(t)
    return np.concatenate(blocks, 1)


def inverse(x: Any, power: float) -> Any:
    return np.where(x > 0, np.maximum(x, 1e-300) ** -power, 0)


def test_users_are_tied_by_shared_items(tiny_train: TrainView) -> None:
    r = interactions(tiny_train)
    m = r @ r.T
    np.fill_diagonal(m, 0)
    expected = m * inverse(m.sum(1), 1)[:, None]
    np.testing.assert_allclose(user_hypergraph(tiny_train).to_dense(), expected, atol=1e-6)
    assert (expected > 0).any()


def test_items_are_tied_by_shared_neighbours(tiny_train: TrainView) -> None:
    for k in (2, 3, 5):
        h = incidence(tiny_train, k)
        s = h @ h.T
        scale = inverse(s.sum(1), 0.5)
        graph = item_hypergraph(tiny_train, k)
        np.testing.assert_allclose(graph.to_dense(), scale[:, None] * s * scale, atol=1e-5)
        assert graph.symmetric


def test_the_laplacian_divides_by_the_size_of_hyperedges(tiny_train: TrainView) -> None:
    h = incidence(tiny_train, 3)
    items, edges = inverse(np.abs(h).sum(1), 0.5), inverse(np.abs(h).sum(0), 1)
    expected = items[:, None] * (h * edges) @ h.T * items
    got = item_hypergraph(tiny_train, 3, "laplacian")
    np.testing.assert_allclose(got.to_dense(), expected, atol=1e-5)


def test_one_modality_and_items_without_any() -> None:
    values = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.0, 0.0]])
    present = torch.tensor([True, True, True, False])
    train = TrainView.from_arrays(
        [0], [0], n_users=1, n_items=4, features={"text": Features(values, present, "text", "x")}
    )
    dense = item_hypergraph(train, 2).to_dense()
    assert not dense[3].any()
    assert torch.isfinite(dense).all()
    assert dense[0, 1] > 0


def test_users_are_the_mean_of_their_items_with_content(tiny_train: TrainView) -> None:
    r = interactions(tiny_train)
    some = np.any([f.present.numpy() for f in tiny_train.features.values()], axis=0)
    r = r * some
    expected = r * inverse(r.sum(1), 1)[:, None]
    np.testing.assert_allclose(history_graph(tiny_train).to_dense(), expected, atol=1e-6)
    alone = tiny_train.using(["text"])
    r = interactions(tiny_train) * alone.features["text"].present.numpy()
    expected = r * inverse(r.sum(1), 1)[:, None]
    np.testing.assert_allclose(history_graph(alone).to_dense(), expected, atol=1e-6)
