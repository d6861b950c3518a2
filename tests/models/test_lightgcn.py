from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from graphrec.data.sampling import Batch
from graphrec.data.train_view import TrainView
from graphrec.models.lightgcn import LightGCN

USERS, POSITIVES, NEGATIVES = [0, 0, 4, 2], [1, 2, 2, 4], [[3], [5], [0], [5]]


@pytest.fixture
def batch() -> Batch:
    return Batch(torch.tensor(USERS), torch.tensor(POSITIVES), torch.tensor(NEGATIVES))


def normalised(train: TrainView, kept: list[tuple[int, int]] | None = None) -> NDArray[np.float64]:
    """The normalised bipartite adjacency, written out densely."""
    u, i = train.n_users, train.n_items
    edges = kept or sorted(set(zip(train.users.tolist(), train.items.tolist(), strict=True)))
    a = np.zeros((u + i, u + i))
    for user, item in edges:
        a[user, u + item] = a[u + item, user] = 1
    degree = a.sum(1)
    scale = np.array([d**-0.5 if d else 0.0 for d in degree])
    return scale[:, None] * a * scale


def log_loss(difference: NDArray[np.float64]) -> float:
    return float(np.log1p(np.exp(-difference)).mean())


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("reg", ["norm", "l2"])
def test_forward_and_loss_match_dense(
    tiny_train: TrainView, batch: Batch, layers: int, reg: str
) -> None:
    model = LightGCN(tiny_train, dim=4, layers=layers, reg_weight=0.3, reg=reg)  # type: ignore[arg-type]
    e0 = model.nodes.detach().double().numpy()
    a, layer, total = normalised(tiny_train), e0, e0.copy()
    for _ in range(layers):
        layer = a @ layer
        total += layer
    z = total / (layers + 1)
    vectors = model.embeddings()
    np.testing.assert_allclose(vectors.users, z[:5], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(vectors.items, z[5:], rtol=1e-4, atol=1e-6)

    u, p, n = np.array(USERS), 5 + np.array(POSITIVES), 5 + np.array(NEGATIVES)[:, 0]
    terms = model.loss(batch)
    difference = (z[u] * z[p]).sum(1) - (z[u] * z[n]).sum(1)
    assert terms["bpr"].item() == pytest.approx(log_loss(difference), rel=1e-5)
    blocks = [e0[u], e0[p], e0[n]]
    if reg == "norm":
        expected = sum(np.sqrt((b**2).sum()) for b in blocks) / 4
    else:
        expected = sum((b**2).sum() / 2 for b in blocks) / 4
    assert terms["reg"].item() == pytest.approx(0.3 * expected, rel=1e-5)


def test_gradient_matches_autograd_on_the_dense_formula(
    tiny_train: TrainView, batch: Batch
) -> None:
    model = LightGCN(tiny_train, dim=4, layers=2, reg_weight=0.1)
    sum(model.loss(batch).values()).backward()  # type: ignore[union-attr]
    e0 = model.nodes.detach().clone().double().requires_grad_()
    a = torch.from_numpy(normalised(tiny_train))
    z = (e0 + a @ e0 + a @ a @ e0) / 3
    u, p = batch.users, batch.positives + 5
    n = torch.tensor(NEGATIVES)[:, 0] + 5
    loss = -torch.nn.functional.logsigmoid((z[u] * (z[p] - z[n])).sum(1)).mean()
    loss = loss + 0.1 * (e0[u].norm() + e0[p].norm() + e0[n].norm()) / 4
    loss.backward()
    assert model.nodes.grad is not None
    torch.testing.assert_close(model.nodes.grad.double(), e0.grad, rtol=1e-4, atol=1e-7)


def test_initialisation_is_xavier_per_table() -> None:
    train = TrainView.from_arrays([0], [0], n_users=1000, n_items=50)
    nodes = LightGCN(train, dim=64).nodes.detach()
    for table, rows in ((nodes[:1000], 1000), (nodes[1000:], 50)):
        bound = (6 / (rows + 64)) ** 0.5
        assert table.abs().max() <= bound
        assert table.abs().max() > 0.95 * bound


def test_variant_sets_options_together_and_an_option_wins(tiny_train: TrainView) -> None:
    assert LightGCN(tiny_train).reg == "norm"
    assert LightGCN(tiny_train, variant="corrected").reg == "l2"
    assert LightGCN(tiny_train, variant="corrected", reg="norm").reg == "norm"


def test_isolated_item_keeps_a_share_of_its_own_embedding(tiny_train: TrainView) -> None:
    model = LightGCN(tiny_train, dim=4, layers=3)
    torch.testing.assert_close(model.embeddings().items[5], model.nodes.detach()[10] / 4)
