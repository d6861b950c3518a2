from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from graphrec.data.sampling import Batch
from graphrec.data.train_view import TrainView
from graphrec.models.mmhcl import MMHCL
from graphrec.training import Experiment
from modalities._base.errors import InputError
from tests.graphs.test_hypergraph import incidence, interactions, inverse

BATCH = Batch(torch.tensor([0, 3, 1]), torch.tensor([1, 3, 3]), torch.tensor([[3], [0], [5]]))


def unit(x: Any) -> Any:
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)


def array(parameter: Any) -> Any:
    return parameter.detach().numpy().astype(np.float64)


def dense(model: MMHCL, train: TrainView, k: int) -> tuple[Any, Any, Any, Any, Any]:
    """Z, fused users and items, and the hypergraphs' vectors, in NumPy."""
    r = interactions(train)
    n = sum(r.shape)
    a = np.zeros((n, n))
    a[: r.shape[0], r.shape[0] :] = r
    a = a + a.T
    scale = inverse(a.sum(1), 0.5)
    a = scale[:, None] * a * scale
    e = np.concatenate([array(model.users), array(model.items)])
    z = (e + a @ e + a @ a @ e) / 3
    m = r @ r.T
    np.fill_diagonal(m, 0)
    m = m * inverse(m.sum(1), 1)[:, None]
    h = incidence(train, k)
    s = h @ h.T
    scale = inverse(s.sum(1), 0.5)
    s = scale[:, None] * s * scale
    second_u, second_i = m @ m @ array(model.user_nodes), s @ s @ array(model.item_nodes)
    users, items = z[: r.shape[0]] + unit(second_u), z[r.shape[0] :] + unit(second_i)
    return z, users, items, second_u, second_i


def contrast(first: Any, second: Any, tau: float) -> float:
    a, b = unit(first), unit(second)
    within, across = np.exp(a @ a.T / tau), np.exp(a @ b.T / tau)
    below = within.sum(1) - within.diagonal() + across.sum(1)
    return float(-np.log(across.diagonal() / below).mean())


@pytest.mark.parametrize("anchor", ["fused", "first_order"])
@pytest.mark.parametrize("names", [["text"], ["image", "text"]])
def test_vectors_and_loss_match_numpy(tiny_train: TrainView, names: list[str], anchor: Any) -> None:
    train = tiny_train.using(names)
    model = MMHCL(train, dim=3, k=3, reg_weight=0.1, anchor=anchor)
    z, users, items, second_u, second_i = dense(model, train, 3)
    got = model.embeddings()
    np.testing.assert_allclose(got.users, users, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(got.items, items, rtol=1e-4, atol=1e-5)
    u, good, bad = users[[0, 3, 1]], items[[1, 3, 3]], items[[3, 0, 5]]
    difference = (u * good).sum(1) - (u * bad).sum(1)
    terms = {name: term.item() for name, term in model.loss(BATCH).items()}
    assert terms["bpr"] == pytest.approx(np.log1p(np.exp(-difference)).mean(), rel=1e-4)
    squares = sum((block**2).sum() for block in (u, good, bad))
    assert terms["reg"] == pytest.approx(0.1 * squares / 2 / 3, rel=1e-4)
    first = (users, items) if anchor == "fused" else (z[:5], z[5:])
    assert terms["contrast_user"] == pytest.approx(
        0.3 * contrast(first[0], second_u, 0.5), rel=1e-4
    )
    whole = contrast(first[1], second_i, 0.5)
    assert terms["contrast_item"] == pytest.approx(0.7 * whole, rel=1e-3)


def test_features_are_needed_by_the_item_hypergraph_alone(tiny_train: TrainView) -> None:
    bare = tiny_train.using([])
    with pytest.raises(InputError, match=r"item_contrast above 0 needs item features"):
        MMHCL(bare, dim=3)
    model = MMHCL(bare, dim=3, item_contrast=0.0)
    assert set(model.loss(BATCH)) == {"bpr", "reg", "contrast_user"}
    assert model.embeddings().items.shape == (6, 3)


def test_a_side_without_weight_has_no_hypergraph(tiny_train: TrainView) -> None:
    model = MMHCL(tiny_train, dim=3, k=3, user_contrast=0.0)
    assert model.user_graph is None
    assert set(model.loss(BATCH)) == {"bpr", "reg", "contrast_item"}
    assert {name for name, _ in model.named_parameters()} == {"users", "items", "item_nodes"}


@pytest.mark.parametrize("backbone", ["lightgcn", "ngcf", "mf"])
def test_backbones(tiny_train: TrainView, backbone: Any) -> None:
    model = MMHCL(tiny_train, dim=3, k=3, backbone=backbone)
    first = model._first_order()
    assert first.shape == (11, 3)
    if backbone == "mf":
        assert torch.equal(first, torch.cat([model.users, model.items]))
    torch.stack(list(model.loss(BATCH).values())).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_the_backbone_ngcf_is_that_of_the_reference(tiny_train: TrainView) -> None:
    """A symmetric graph without self-loops, a slope of 0.01, the mean of normalised layers."""
    torch.manual_seed(1)
    model = MMHCL(tiny_train, dim=3, k=3, backbone="ngcf").eval()
    assert model.ngcf is not None
    assert model.ngcf.dropout == 0.1
    r = interactions(tiny_train)
    a = np.block([[np.zeros((5, 5)), r], [r.T, np.zeros((6, 6))]])
    scale = inverse(a.sum(1), 0.5)
    a = scale[:, None] * a * scale
    e = np.concatenate([array(model.users), array(model.items)])
    layers = [e]
    for layer in range(2):
        w1, w2, b1, b2 = (
            array(parameters[layer])
            for parameters in (
                model.ngcf.linear,
                model.ngcf.affinity,
                model.ngcf.linear_bias,
                model.ngcf.affinity_bias,
            )
        )
        assert max(np.abs(w1).max(), np.abs(b1).max()) <= 3**-0.5
        parts = (a @ e) @ w1 + b1, (e * (a @ e)) @ w2 + b2
        e = sum(np.where(part > 0, part, 0.01 * part) for part in parts)
        layers.append(unit(e))
    np.testing.assert_allclose(model._first_order().detach(), sum(layers) / 3, rtol=1e-4, atol=1e-6)


def test_sampled_nodes_are_drawn_anew_and_near_the_whole(tiny_train: TrainView) -> None:
    torch.manual_seed(0)
    model = MMHCL(tiny_train, dim=3, k=3, contrast_nodes=4)
    drawn = {round(model.loss(BATCH)["contrast_item"].item(), 6) for _ in range(8)}
    assert len(drawn) > 1
    everything = MMHCL(tiny_train, dim=3, k=3, contrast_nodes=100)
    assert len({everything.loss(BATCH)["contrast_item"].item() for _ in range(3)}) == 1


def test_published_settings_are_the_defaults() -> None:
    training = Experiment.parse({"model": {"name": "mmhcl"}}).training
    assert (training.lr, training.lr_decay, training.batch_size) == (1e-4, 0.96, 1024)
    assert (training.eval_every, training.patience) == (5, 5)
