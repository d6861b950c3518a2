from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from graphrec.data.sampling import Batch
from graphrec.data.train_view import TrainView
from graphrec.models.alpharec import AlphaRec
from graphrec.nn.propagation import propagate
from graphrec.training import Experiment
from modalities._base.errors import InputError

BATCH = Batch(
    torch.tensor([0, 3, 1]), torch.tensor([1, 3, 3]), torch.tensor([[3, 4], [0, 5], [5, 0]])
)


def dense(model: AlphaRec, train: TrainView) -> Any:
    """Unit vectors of users, then items, in NumPy, users through the network like items."""
    several = len(train.features) > 1
    blocks, masks = [], []
    for features in train.features.values():
        x = features.values.numpy().astype(np.float64)
        if several:
            x = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
        blocks.append(x * features.present.numpy()[:, None])
        masks.append(features.present.numpy())
    x, some = np.concatenate(blocks, 1), np.any(masks, 0)
    users, items = (part.numpy() for part in train.edges)
    r = np.zeros((train.n_users, train.n_items))
    r[users, items] = 1
    history = r * some
    counts = history.sum(1, keepdims=True)
    means = np.divide(
        history @ x, counts, out=np.zeros((train.n_users, x.shape[1])), where=counts > 0
    )
    inputs = np.concatenate([means, x])
    w1 = model.first.weight.detach().numpy()
    layer = inputs @ w1.T
    if model.second is not None:
        layer = layer + model.first.bias.detach().numpy()
        layer = np.where(layer > 0, layer, 0.01 * layer)
        layer = layer @ model.second.weight.detach().numpy().T + model.second.bias.detach().numpy()
    layer = layer * np.concatenate([counts[:, 0] > 0, some])[:, None]
    n = sum(r.shape)
    a = np.zeros((n, n))
    a[: r.shape[0], r.shape[0] :] = r
    a = a + a.T
    degree = a.sum(1)
    inverse = np.divide(1, np.sqrt(degree), out=np.zeros(n), where=degree > 0)
    a = inverse[:, None] * a * inverse
    z = (layer + a @ layer + a @ a @ layer) / 3
    return z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-12)


@pytest.mark.parametrize("names", [["text"], ["image", "text"]])
@pytest.mark.parametrize("network", ["mlp", "linear"])
def test_vectors_and_loss_match_numpy(
    tiny_train: TrainView, names: list[str], network: Any
) -> None:
    train = tiny_train.using(names)
    hidden = 5 if network == "mlp" else None
    model = AlphaRec(train, dim=3, hidden=hidden, network=network)
    z = dense(model, train)
    got = model.embeddings()
    np.testing.assert_allclose(torch.cat([got.users, got.items]), z, rtol=1e-4, atol=1e-5)
    u, v = z[:5], z[5:]
    losses = []
    for user, good, bad in zip([0, 3, 1], [1, 3, 3], [[3, 4], [0, 5], [5, 0]]):
        top = np.exp(u[user] @ v[good] / 0.15)
        losses.append(-np.log(top / (top + sum(np.exp(u[user] @ v[j] / 0.15) for j in bad))))
    assert model.loss(BATCH)["softmax"].item() == pytest.approx(np.mean(losses), rel=1e-4)


def test_width_keeps_the_number_of_parameters_alike() -> None:
    for width, expected in ((768, 2048), (3072, 1530), (4096, 1153)):
        features = {"text": torch.zeros(3, width)}
        train = TrainView.from_arrays([0], [0], n_users=1, n_items=3, features=features)
        assert AlphaRec(train).first.out_features == expected


def test_nothing_belongs_to_a_user_or_item(tiny_train: TrainView) -> None:
    sizes = {p.shape[0] for p in AlphaRec(tiny_train, dim=7, hidden=9).parameters()}
    assert sizes == {7, 9}


def test_a_cold_item_with_content_can_be_ranked(tiny_train: TrainView) -> None:
    model = AlphaRec(tiny_train, dim=3, hidden=5)
    assert not tiny_train.warm_items[5]
    assert model.embeddings().items[5].norm().item() == pytest.approx(1, rel=1e-5)


def test_published_settings_are_the_defaults(tiny_train: TrainView) -> None:
    training = Experiment.parse({"model": {"name": "alpharec"}}).training
    assert (training.lr, training.batch_size) == (5e-4, 4096)
    sampling = AlphaRec(tiny_train).sampling
    assert (sampling.epoch, sampling.negatives, sampling.pool) == ("users", 256, "all")
    with pytest.raises(InputError, match=r"hidden=512 would change nothing; .*network=mlp"):
        AlphaRec(tiny_train, network="linear", hidden=512)
    with pytest.raises(InputError, match="needs item features"):
        AlphaRec(tiny_train.using([]))


def test_leaving_the_positive_out_of_the_users_mean(tiny_train: TrainView) -> None:
    """Item 4 has no text; user 3 has item 3 alone; user 0 occurs twice."""
    train = tiny_train.using(["text"])
    model = AlphaRec(train, dim=3, hidden=5, user_mean="leave_one_out")
    pairs = [(0, 1, 3), (0, 2, 4), (3, 3, 0), (2, 4, 5)]
    u, i, j = (torch.tensor(column) for column in zip(*pairs))
    others: dict[int, list[list[int]]] = {0: [[0, 2], [0, 1]], 3: [[]], 2: [[0, 2]]}
    x = train.features["text"].values.double().numpy()

    def start(rows: list[int]) -> Any:
        if not rows:
            return np.zeros(3)
        first, second = model.first, model.second
        assert second is not None
        hidden = x[rows].mean(0) @ first.weight.detach().double().numpy().T
        hidden = hidden + first.bias.detach().double().numpy()
        hidden = np.where(hidden > 0, hidden, 0.01 * hidden)
        made = hidden @ second.weight.detach().double().numpy().T
        return made + second.bias.detach().double().numpy()

    whole = {0: [0, 1, 2], 3: [3], 2: [0, 2]}
    raw = propagate(model.graph, model._second(*model._first()), 2).detach().double().numpy()
    unit = raw / np.maximum(np.linalg.norm(raw, axis=1, keepdims=True), 1e-12)
    losses = []
    for user, good, bad in pairs:
        rest = others[user].pop(0)
        z = raw[user] + (start(rest) - start(whole[user])) / 3
        z = z / np.linalg.norm(z)
        better, worse = (np.exp(z @ unit[5 + item] / 0.15) for item in (good, bad))
        losses.append(-np.log(better / (better + worse)))
    loss = model.loss(Batch(u, i, j.unsqueeze(1)))["softmax"].item()
    assert loss == pytest.approx(np.mean(losses), rel=1e-4)
