from __future__ import annotations

from typing import cast

import numpy as np
import pytest
import torch

from graphrec.data.sampling import Batch
from graphrec.data.train_view import TrainView
from graphrec.graphs import cosine_neighbours
from graphrec.models.freedom import FREEDOM
from graphrec.nn import FeatureProjection
from modalities._base.errors import InputError, UnknownNameError

USERS, POSITIVES, NEGATIVES = [0, 1, 4], [1, 3, 2], [[3, 5], [0, 4], [1, 5]]


@pytest.fixture
def batch() -> Batch:
    return Batch(torch.tensor(USERS), torch.tensor(POSITIVES), torch.tensor(NEGATIVES))


def dense_item_graph(train: TrainView, k: int) -> np.ndarray:
    """S written out: 0.1 image + 0.9 text, edges 1/k, renormalised over present modalities."""
    total = np.zeros((train.n_items, train.n_items))
    share = np.zeros(train.n_items)
    for name, weight in (("image", 0.1), ("text", 0.9)):
        features = train.features[name]
        neighbours, _ = cosine_neighbours(features.values, features.present, k)
        for i in range(train.n_items):
            kept = [int(j) for j in neighbours[i] if j >= 0]
            for j in kept:
                total[i, j] += weight / k
            share[i] += weight if kept else 0
    return total / share[:, None]


def dense_normalised(edges: set[tuple[int, int]]) -> np.ndarray:
    a = np.zeros((11, 11))
    for user, item in edges:
        a[user, 5 + item] = a[5 + item, user] = 1
    scale = np.array([d**-0.5 if d else 0.0 for d in a.sum(1)])
    return scale[:, None] * a * scale


def all_edges(train: TrainView) -> set[tuple[int, int]]:
    return set(zip(train.users.tolist(), train.items.tolist(), strict=True))


def log_loss(difference: np.ndarray) -> float:
    return float(np.log1p(np.exp(-difference)).mean())


def forward(model: FREEDOM, a: np.ndarray, s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    e_u, e_i = (t.detach().double().numpy() for t in (model.users, model.items))
    e0 = np.concatenate([e_u, e_i])
    z = (e0 + a @ e0 + a @ a @ e0) / 3
    return z[:5], z[5:] + s @ e_i


def test_inference_uses_the_whole_graph(tiny_train: TrainView) -> None:
    model = FREEDOM(tiny_train, dim=4, k=2, drop_ratio=0.5)
    model.begin_epoch(0)
    users, items = forward(
        model, dense_normalised(all_edges(tiny_train)), dense_item_graph(tiny_train, 2)
    )
    vectors = model.embeddings()
    np.testing.assert_allclose(vectors.users, users, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(vectors.items, items, rtol=1e-4, atol=1e-6)


def test_training_loss_matches_dense_on_the_pruned_graph(
    tiny_train: TrainView, batch: Batch
) -> None:
    model = FREEDOM(tiny_train, dim=4, k=2, drop_ratio=0.4, content_weight=0.5)
    model.begin_epoch(0)
    pruned = model.pruned.to_dense()[:5, 5:]
    kept = {(int(u), int(i)) for u, i in pruned.nonzero()}
    assert len(kept) == 6  # floor(11 * 0.6)
    assert kept < all_edges(tiny_train)
    users, items = forward(model, dense_normalised(kept), dense_item_graph(tiny_train, 2))
    u, p, n = np.array(USERS), np.array(POSITIVES), np.array(NEGATIVES)

    def ranking(table: np.ndarray, present: np.ndarray | None = None) -> float:
        positive = (users[u] * table[p]).sum(1)[:, None]
        negative = (users[u][:, None] * table[n]).sum(2)
        if present is None:
            return log_loss(positive - negative)
        return log_loss((positive - negative)[present[p][:, None] & present[n]])

    terms = model.loss(batch)
    assert set(terms) == {"bpr", "content_image", "content_text"}
    assert terms["bpr"].item() == pytest.approx(ranking(items), rel=1e-5)
    for name in ("image", "text"):
        project = cast(FeatureProjection, model.projections[model.modalities.index(name)])
        x = tiny_train.features[name].values.double().numpy()
        weight = project.linear.weight.detach().double().numpy()
        bias = project.linear.bias.detach().double().numpy()
        content = x @ weight.T + bias
        present = tiny_train.features[name].present.numpy()
        expected = 0.5 * ranking(content, present)
        assert terms[f"content_{name}"].item() == pytest.approx(expected, rel=1e-5)


def test_pruning_is_replayable_by_epoch(tiny_train: TrainView) -> None:
    model = FREEDOM(tiny_train, dim=4, k=2, drop_ratio=0.5)
    graphs = []
    for epoch in (3, 1, 3):
        model.begin_epoch(epoch)
        graphs.append(model.pruned.to_dense())
    assert torch.equal(graphs[0], graphs[2])
    assert not torch.equal(graphs[0], graphs[1])


def test_no_pruning_trains_on_the_whole_graph(tiny_train: TrainView) -> None:
    model = FREEDOM(tiny_train, dim=4, k=2, drop_ratio=0.0)
    model.begin_epoch(0)
    assert model.pruned is model.graph


def test_frozen_features_take_no_gradient_and_the_graph_ignores_fine_tuning(
    tiny_train: TrainView, batch: Batch
) -> None:
    tuned, frozen = FREEDOM(tiny_train, k=2), FREEDOM(tiny_train, k=2, freeze_features=True)
    assert any("table" in name for name, _ in tuned.named_parameters())
    assert not any("table" in name for name, _ in frozen.named_parameters())
    before = tiny_train.features["text"].values.clone()
    optimiser = torch.optim.Adam(tuned.parameters(), lr=0.1)
    torch.stack(list(tuned.loss(batch).values())).sum().backward()
    optimiser.step()
    assert torch.equal(tiny_train.features["text"].values, before)


def test_one_modality_alone(tiny_train: TrainView, batch: Batch) -> None:
    model = FREEDOM(tiny_train.using(["text"]), dim=4, k=2)
    assert set(model.loss(batch)) == {"bpr", "content_text"}
    assert model.item_graph.to_dense()[4].abs().sum() == 0  # item 4 has no text


def test_without_content_losses_no_content_is_learnt(tiny_train: TrainView, batch: Batch) -> None:
    model = FREEDOM(tiny_train, dim=4, k=2, content_weight=0.0)
    assert set(model.loss(batch)) == {"bpr"}
    assert {name for name, _ in model.named_parameters()} == {"users", "items"}


def test_without_features_or_with_a_wrong_weight(tiny_train: TrainView) -> None:
    with pytest.raises(InputError, match="needs item features"):
        FREEDOM(tiny_train.using([]))
    with pytest.raises(UnknownNameError, match="did you mean 'image'"):
        FREEDOM(tiny_train, modality_weights={"imag": 1.0})
