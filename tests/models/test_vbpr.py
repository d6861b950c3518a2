from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from graphrec.data.sampling import Batch
from graphrec.data.train_view import TrainView
from graphrec.models.vbpr import VBPR
from modalities._base.errors import InputError

BATCH = Batch(torch.tensor([0, 3, 1]), torch.tensor([1, 3, 4]), torch.tensor([[3], [0], [5]]))


def dense(model: VBPR, train: TrainView, *, unit: bool = False) -> tuple[Any, Any, Any]:
    """P, V and the item biases, in NumPy."""
    blocks = []
    for features in train.features.values():
        x = features.values.numpy().astype(np.float64)
        if unit:
            x = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
        blocks.append(x * features.present.numpy()[:, None])
    x = np.concatenate(blocks, 1)
    some = np.any([features.present.numpy() for features in train.features.values()], axis=0)
    w, b = (p.detach().numpy() for p in (model.projection.weight, model.projection.bias))
    f = (x @ w.T + b) * some[:, None]
    bias = np.zeros(len(x))
    if model.bias is not None:
        bias = bias + model.bias.detach().numpy()
    if model.content_bias is not None:
        bias = bias + x @ model.content_bias.detach().numpy()
    return model.users.detach().numpy(), np.concatenate([model.items.detach(), f], 1), bias


@pytest.mark.parametrize(
    "options",
    [{}, {"variant": "corrected"}, {"item_bias": True, "content_bias": True}],
)
def test_scores_and_loss_match_numpy(tiny_train: TrainView, options: dict[str, Any]) -> None:
    model = VBPR(tiny_train, dim=3, reg_weight=0.2, **options)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
    corrected = options.get("variant") == "corrected"
    p, v, bias = dense(model, tiny_train, unit=corrected)
    scores = p @ v.T + bias
    np.testing.assert_allclose(model.score(torch.arange(5)), scores, rtol=1e-4, atol=1e-4)
    users, good, bad = [0, 3, 1], [1, 3, 4], [3, 0, 5]
    difference = scores[users, good] - scores[users, bad]
    terms = model.loss(BATCH)
    assert terms["bpr"].item() == pytest.approx(np.log1p(np.exp(-difference)).mean(), rel=1e-4)
    blocks = [p[users], v[good], v[bad]]
    if corrected:
        squares = sum((block**2).sum() for block in blocks)
        expected = (squares + (model.projection.weight.detach().numpy() ** 2).sum()) / 2 / 3
    else:
        expected = sum(np.linalg.norm(block) for block in blocks) / 3
    assert terms["reg"].item() == pytest.approx(0.2 * expected, rel=1e-4)


def test_only_items_of_the_batch_are_touched(tiny_train: TrainView) -> None:
    """The gradient of the batch equals that of projecting every item."""
    model = VBPR(tiny_train, dim=3)
    torch.stack(list(model.loss(BATCH).values())).sum().backward()
    got = [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]
    model.zero_grad()
    users, items = model.vectors()
    user, good, bad = users[BATCH.users], items[BATCH.positives], items[[3, 0, 5]]
    loss = torch.nn.functional.softplus(-((user * good).sum(1) - (user * bad).sum(1))).mean()
    penalty = (user.norm() + good.norm() + bad.norm()) / 3
    (loss + model.reg_weight * penalty).backward()
    for mine, parameter in zip(got, model.parameters()):
        torch.testing.assert_close(mine, parameter.grad)


def test_one_modality_alone_and_items_without_any(tiny_train: TrainView) -> None:
    for names in (["text"], ["image"], ["image", "text"]):
        model = VBPR(tiny_train.using(names), dim=3)
        some = np.any([f.present.numpy() for f in tiny_train.using(names).features.values()], 0)
        content = model.embeddings().items[:, 3:].numpy()
        assert np.array_equal(np.abs(content).sum(1) > 0, some)


def test_starts_as_published() -> None:
    features = {"text": torch.randn(50, 300), "image": torch.randn(50, 500)}
    train = TrainView.from_arrays([0], [0], n_users=4000, n_items=50, features=features)
    model = VBPR(train)
    assert model.users.shape == (4000, 128)
    assert model.users.abs().max().item() == pytest.approx((6 / 4128) ** 0.5, rel=0.01)
    assert model.projection.weight.std().item() == pytest.approx((2 / 864) ** 0.5, rel=0.02)
    assert not model.projection.bias.any()


def test_needs_features(tiny_train: TrainView) -> None:
    with pytest.raises(InputError, match="needs item features"):
        VBPR(tiny_train.using([]))
