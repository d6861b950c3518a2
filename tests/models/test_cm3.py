from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from graphrec.data.sampling import Batch
from graphrec.data.train_view import Features, TrainView
from graphrec.models.cm3 import CM3
from graphrec.nn.fusion import _filled
from graphrec.training import Experiment
from tests.graphs.test_hypergraph import interactions, inverse

BATCH = Batch(torch.tensor([0, 3, 1]), torch.tensor([1, 3, 3]), torch.tensor([[3], [0], [2]]))


def array(parameter: Any) -> Any:
    return parameter.detach().numpy().astype(np.float64)


def unit(x: Any) -> Any:
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)


def slerp(a: Any, b: Any, p: Any) -> Any:
    angle = np.arccos((a * b).sum(1))[:, None]
    p = p[:, None]
    return (np.sin((1 - p) * angle) * a + np.sin(p * angle) * b) / np.sin(angle)


def dense(model: CM3, train: TrainView, p: Any) -> tuple[Any, Any, Any]:
    """Users, items and the mixture in NumPy; the item graph is taken from the model."""
    streams: list[Any] = list(model.streams)
    mixers: list[Any] = list(model.mixture.linear)
    contents, points, masks = [], [], []
    for features, stream, mixer in zip(train.features.values(), streams, mixers):
        x = features.values.numpy().astype(np.float64)
        present = features.present.numpy()
        hidden = x @ array(stream.first.weight).T + array(stream.first.bias)
        hidden = np.where(hidden > 0, hidden, 0.01 * hidden)
        contents.append((hidden @ array(stream.second.weight).T) * present[:, None])
        points.append(unit(x @ array(mixer.weight).T + array(mixer.bias)))
        masks.append(present)
    if len(points) == 1:
        mix = points[0] * masks[0][:, None]
    else:
        first = np.where(masks[0][:, None], points[0], points[1])
        second = np.where(masks[1][:, None], points[1], points[0])
        both = masks[0] & masks[1]
        mix = np.where(both[:, None], 0.0, first)
        mix[both] = slerp(first[both], second[both], p[both])
    blocks = [
        unit(np.concatenate([array(users), content]))
        for users, content in zip(model.users, [*contents, mix])
    ]
    f0 = np.concatenate(blocks, 1)
    r = interactions(train)
    n = sum(r.shape)
    a = np.zeros((n, n))
    a[: len(r), len(r) :] = r
    a = a + a.T
    scale = inverse(a.sum(1), 0.5)
    a = scale[:, None] * a * scale
    f = f0 + a @ f0 + a @ a @ f0 + a @ a @ a @ f0
    theta = np.exp(array(model.preferences.table))
    theta = theta / theta.sum(1, keepdims=True)
    parts = np.split(f[: len(r)], len(blocks), 1)
    users = np.concatenate([theta[:, [m]] * part for m, part in enumerate(parts)], 1)
    items = f[len(r) :]
    return users, items + model.item_graph.to_dense().numpy() @ items, mix


@pytest.mark.parametrize("names", [["text"], ["image", "text"]])
def test_vectors_and_loss_match_numpy(tiny_train: TrainView, names: list[str]) -> None:
    train = tiny_train.using(names)
    model = CM3(train, dim=3, k=3, hidden=5, gamma=0.6, s_min=0.1, s_max=0.8)
    users, items, _ = dense(model, train, np.full(6, 0.5))
    got = model.embeddings()
    np.testing.assert_allclose(got.users, users, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(got.items, items, rtol=1e-4, atol=1e-5)

    terms = {name: term.item() for name, term in model.loss(BATCH).items()}
    users, items, mix = dense(model, train, array(model.mixture.last_p))
    u, good, bad = unit(users[[0, 3, 1]]), unit(items[[1, 3, 3]]), unit(items[[3, 0, 2]])
    assert terms["align"] == pytest.approx(((u - good) ** 2).sum(1).mean(), rel=1e-4)
    pairs = [(0, 1), (0, 2), (1, 2)]
    spread = [np.exp(-2 * ((u[i] - u[j]) ** 2).sum()) for i, j in pairs]
    assert terms["uniform_users"] == pytest.approx(0.3 * np.log(np.mean(spread)), rel=1e-4)
    alike = mix[[3, 0, 2]] @ mix[[3, 0, 2]].T
    spread = [
        np.exp(-2 * (((bad[i] - bad[j]) ** 2).sum() - 2 + 2 * np.clip(alike[i, j], 0.1, 0.8)))
        for i, j in pairs
    ]
    assert terms["uniform_items"] == pytest.approx(
        0.3 * np.log(np.mean(spread)), rel=1e-3, abs=1e-5
    )


def test_the_last_draw_can_be_scored(tiny_train: TrainView) -> None:
    model = CM3(tiny_train, dim=3, k=3, hidden=5, eval_mix="last")
    before = model.embeddings().items
    model.loss(BATCH)
    after = model.embeddings().items
    assert not torch.allclose(before, after)
    _, items, _ = dense(model, tiny_train, array(model.mixture.last_p))
    np.testing.assert_allclose(after, items, rtol=1e-4, atol=1e-5)
    assert "mixture.last_p" in model.state_dict()


def test_absent_points_are_those_beside_them() -> None:
    a, b, c = (torch.full((4, 1), float(value)) for value in (1, 2, 3))
    masks = [
        torch.tensor([True, False, False, False]),
        torch.tensor([False, True, False, False]),
        torch.tensor([True, False, True, False]),
    ]
    first, second, third = _filled([a, b, c], masks)
    assert first[:, 0].tolist() == [1, 2, 3, 0]
    assert second[:, 0].tolist() == [1, 2, 3, 0]
    assert third[:, 0].tolist() == [3, 2, 3, 0]


@pytest.mark.parametrize("names", [["text"], ["image", "text"], ["image", "text", "audio"]])
def test_an_item_without_content_has_no_stream(tiny_train: TrainView, names: list[str]) -> None:
    random = torch.Generator().manual_seed(0)
    present = torch.arange(6) != 4
    features = {
        name: Features(torch.randn(6, 5, generator=random) * present[:, None], present, "text", "z")
        for name in names
    }
    users, items = tiny_train.users, tiny_train.items
    train = TrainView.from_arrays(users, items, n_users=5, n_items=6, features=features)
    model = CM3(train, dim=3, k=3, hidden=5)
    for parameter in model.mixture.parameters():
        torch.nn.init.normal_(parameter)
    for p in (0.3, 0.5):
        mixed = model.mixture(torch.full((6,), p))
        assert not mixed[4].any()
        torch.testing.assert_close(mixed[:4].norm(dim=1), torch.ones(4))


def test_three_modalities_and_none(tiny_train: TrainView) -> None:
    random = torch.Generator().manual_seed(0)
    rows = torch.randn(6, 5, generator=random)
    present = torch.tensor([True, True, False, True, False, False])
    features = {**tiny_train.features, "audio": Features(rows, present, "audio", "z")}
    train = TrainView.from_arrays(
        tiny_train.users, tiny_train.items, n_users=5, n_items=6, features=features
    )
    model = CM3(train, dim=3, k=3, hidden=5)
    terms = torch.stack(list(model.loss(BATCH).values()))
    terms.sum().backward()
    assert torch.isfinite(terms).all()
    for parameter in model.parameters():
        assert parameter.grad is not None
        assert torch.isfinite(parameter.grad).all()


def test_published_settings_are_the_defaults() -> None:
    training = Experiment.parse({"model": {"name": "cm3"}}).training
    assert (training.patience, training.lr, training.batch_size) == (10, 1e-3, 2048)
