from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from graphrec.data.sampling import Batch
from graphrec.data.train_view import TrainView
from graphrec.models.ngcf import NGCF
from graphrec.training import Experiment

BATCH = Batch(torch.tensor([0, 3, 1]), torch.tensor([1, 3, 3]), torch.tensor([[3], [0], [5]]))


def adjacency(train: TrainView, kind: str) -> Any:
    users, items = (part.numpy() for part in train.edges)
    n = train.n_users + train.n_items
    a = np.zeros((n, n))
    a[users, items + train.n_users] = 1
    a = a + a.T
    degree = a.sum(1)
    inverse = np.divide(1, degree, out=np.zeros(n), where=degree > 0)
    eye = np.eye(n)
    return {
        "norm": (a + eye) / (degree + 1)[:, None],
        "ngcf": inverse[:, None] * a + eye,
        "gcmc": inverse[:, None] * a,
        "plain": a,
        "symmetric": np.sqrt(inverse)[:, None] * a * np.sqrt(inverse)[None],
    }[kind]


def dense(model: NGCF, train: TrainView, kind: str, two: bool, bias: bool) -> Any:
    """Z in NumPy."""
    a = adjacency(train, kind)
    e = np.concatenate([model.users.detach(), model.items.detach()]).astype(np.float64)
    parts, z = model.propagation, [e]

    def f(x: Any) -> Any:
        return np.where(x > 0, x, 0.2 * x)

    for layer in range(len(parts.linear)):
        w1, w2 = (p[layer].detach().numpy() for p in (parts.linear, parts.affinity))
        side = a @ e
        first = (side + (e if kind == "symmetric" else 0)) @ w1
        second = (e * side) @ w2
        if bias:
            first = first + parts.linear_bias[layer].detach().numpy()
            second = second + parts.affinity_bias[layer].detach().numpy()
        e = f(first) + f(second) if two else f(first + second)
        z.append(e / np.maximum(np.linalg.norm(e, axis=1, keepdims=True), 1e-12))
    return np.concatenate(z, 1)


@pytest.mark.parametrize(
    ("options", "kind", "two", "bias"),
    [
        ({}, "norm", True, True),
        ({"variant": "corrected"}, "symmetric", False, False),
        ({"adjacency": "ngcf", "bias": False}, "ngcf", True, False),
        ({"adjacency": "gcmc", "activations": 1}, "gcmc", False, True),
        ({"adjacency": "plain", "layers": 1}, "plain", True, True),
    ],
)
def test_vectors_and_loss_match_numpy(
    tiny_train: TrainView, options: dict[str, Any], kind: str, two: bool, bias: bool
) -> None:
    model = NGCF(tiny_train, dim=3, dropout=0.0, reg_weight=0.3, **options)
    z = dense(model, tiny_train, kind, two, bias)
    got = model.embeddings()
    np.testing.assert_allclose(torch.cat([got.users, got.items]), z, rtol=1e-4, atol=1e-5)
    users, good, bad = [0, 3, 1], [6, 8, 8], [8, 5, 10]  # items follow 5 users
    difference = (z[users] * z[good]).sum(1) - (z[users] * z[bad]).sum(1)
    terms = model.loss(BATCH)
    assert terms["bpr"].item() == pytest.approx(np.log1p(np.exp(-difference)).mean(), rel=1e-4)
    rows = z if options.get("variant") != "corrected" else z[:, :3]
    penalty = sum((rows[nodes] ** 2).sum() for nodes in (users, good, bad)) / 2 / 3
    assert terms["reg"].item() == pytest.approx(0.3 * penalty, rel=1e-4)


def test_gradients_match_finite_differences(tiny_train: TrainView) -> None:
    torch.manual_seed(0)
    model = NGCF(tiny_train, dim=2, layers=2, dropout=0.0).double()

    def total(*given: torch.Tensor) -> torch.Tensor:
        terms = torch.func.functional_call(Wrapped(model), dict(zip(names, given)), (BATCH,))
        return torch.stack(list(terms.values())).sum()

    wrapped = Wrapped(model)
    names = [name for name, _ in wrapped.named_parameters()]
    values = tuple(p.detach().clone().requires_grad_() for p in wrapped.parameters())
    assert torch.autograd.gradcheck(total, values, eps=1e-6, atol=1e-6)


class Wrapped(torch.nn.Module):
    """Makes `loss` the forward of a module."""

    def __init__(self, model: NGCF) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch) -> dict[str, torch.Tensor]:
        return self.model.loss(batch)


def test_rows_of_the_batch_are_rows_of_all(tiny_train: TrainView) -> None:
    model = NGCF(tiny_train, dim=3).eval()
    ego = torch.cat([model.users, model.items])
    rows = torch.tensor([2, 7, 0])
    every = model.propagation(model.graph, ego)
    torch.testing.assert_close(model.propagation(model.graph, ego, rows), every[rows])


def test_dropout_is_of_training_only(tiny_train: TrainView) -> None:
    model = NGCF(tiny_train, dim=8, dropout=0.5)
    assert torch.equal(model.embeddings().users, model.embeddings().users)
    model.train()
    ego = torch.cat([model.users, model.items])
    kept = model.propagation._layer(model.graph, ego, 0, None) != 0
    assert 0.3 < kept.float().mean() < 0.7


def test_all_parameters_can_be_regularised(tiny_train: TrainView) -> None:
    model = NGCF(tiny_train, dim=3, regularised="parameters", reg_weight=0.5)
    expected = sum(float(p.detach().square().sum()) for p in model.parameters()) / 2
    assert model.loss(BATCH)["reg"].item() == pytest.approx(0.5 * expected, rel=1e-5)


def test_published_settings_are_the_defaults(tiny_train: TrainView) -> None:
    training = Experiment.parse({"model": {"name": "ngcf"}}).training
    assert (training.lr, training.batch_size, training.epochs) == (1e-4, 1024, 400)
    assert (training.eval_every, training.patience) == (10, 4)
    given = Experiment.parse({"model": {"name": "ngcf"}, "training": {"lr": 0.1}})
    assert given.training.lr == 0.1
    assert Experiment.parse(given.to_dict()) == given
    model = NGCF(tiny_train)
    assert (model.sampling.epoch, model.sampling.pool) == ("users", "all")
    assert model.propagation.linear_bias[0].abs().max() <= (6 / 65) ** 0.5


def test_node_dropout_leaves_out_the_same_entries_in_every_layer(tiny_train: TrainView) -> None:
    model = NGCF(tiny_train, dim=3, layers=2, dropout=0.0, node_dropout=0.5)
    ego = torch.cat([model.users, model.items])
    torch.manual_seed(3)
    graph = model.graph.dropout(0.5)
    kept = graph.values != 0
    assert 0 < kept.sum() < len(kept)
    torch.testing.assert_close(graph.values[kept], 2 * model.graph.values[kept])
    model.eval()
    expected = model.propagation(graph, ego)
    model.train()
    torch.manual_seed(3)
    torch.testing.assert_close(model.propagation(model.graph, ego), expected)
    assert not torch.allclose(model.propagation(model.graph, ego), expected)
    got = model.embeddings()
    whole = NGCF(tiny_train, dim=3, layers=2)
    whole.load_state_dict(model.state_dict())
    torch.testing.assert_close(got.items, whole.embeddings().items)


def test_gradients_flow_through_a_graph_with_dropout(tiny_train: TrainView) -> None:
    graph = NGCF(tiny_train, dim=3).graph.dropout(0.5)
    x = torch.randn(graph.shape[1], 2, requires_grad=True)
    weight = torch.randn(graph.shape[0], 2)
    ((graph @ x) * weight).sum().backward()
    torch.testing.assert_close(x.grad, graph.to_dense().T @ weight)
