from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from graphrec.data.sampling import Batch
from graphrec.data.train_view import TrainView
from graphrec.models.lirdrec import LIRDRec
from graphrec.nn.fusion import ProgressiveWeightCopying
from graphrec.nn.projection import dct_rows
from graphrec.training import Experiment
from graphrec.training.checkpoint import (
    Progress,
    load_checkpoint,
    restore_model,
    save_checkpoint,
    training_tensors,
)
from tests.graphs.test_hypergraph import interactions, inverse

BATCH = Batch(torch.tensor([0, 3, 1]), torch.tensor([1, 3, 3]), torch.tensor([[3], [0], [5]]))


def array(parameter: Any) -> Any:
    return parameter.detach().numpy().astype(np.float64)


def leaky(x: Any) -> Any:
    return np.where(x > 0, x, 0.01 * x)


def cosine_transform(x: Any) -> Any:
    """By its definition."""
    d = x.shape[1]
    n = np.arange(d)
    basis = np.cos(np.pi * (n[:, None] + 0.5) * n / d) * np.sqrt(2 / d)
    basis[:, 0] /= np.sqrt(2)
    return x @ basis


def dense(model: LIRDRec, train: TrainView, transform: str) -> tuple[Any, Any]:
    """Users and items in NumPy; the item graph is taken from the model."""
    given = [
        (f.values.numpy().astype(np.float64), f.present.numpy()) for f in train.features.values()
    ]
    clean = [x * present[:, None] for x, present in given]
    change = cosine_transform if transform == "dct_rows" else (lambda x: x)
    joined = np.concatenate([change(x) for x in clean], 1)
    tables = [*given, (joined, np.any([present for _, present in given], 0))]
    blocks = []
    streams: list[Any] = list(model.streams)
    for (x, present), stream, users in zip(tables, streams, model.users):
        made = leaky(x @ array(stream.first.weight).T + array(stream.first.bias))
        made = (made @ array(stream.second.weight).T) * present[:, None]
        block = np.concatenate([array(users), made])
        blocks.append(block / np.maximum(np.linalg.norm(block, axis=1, keepdims=True), 1e-12))
    f0 = np.concatenate(blocks, 1)
    r = interactions(train)
    n = sum(r.shape)
    a = np.zeros((n, n))
    a[: len(r), len(r) :] = r
    a = a + a.T
    scale = inverse(a.sum(1), 0.5)
    a = scale[:, None] * a * scale
    f = f0 + a @ f0 + a @ a @ f0
    users, items = f[: len(r)], f[len(r) :]
    parts = np.split(users, len(blocks), 1)
    scores = []
    for part, first, second in zip(parts, model.fusion.first, model.fusion.second):
        hidden = leaky(part @ array(first.weight).T + array(first.bias))
        scores.append(hidden @ array(second.weight).T + array(second.bias))
    w = float(model.fusion.weight)
    logits = w * np.concatenate(scores, 1) + (1 - w) * array(model.fusion.table)
    attention = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    fused = np.concatenate([attention[:, [m]] * part for m, part in enumerate(parts)], 1)
    return fused, items + model.item_graph.to_dense().numpy() @ items


@pytest.mark.parametrize("names", [["text"], ["image", "text"]])
@pytest.mark.parametrize(
    ("options", "transform"), [({}, "dct_rows"), ({"variant": "corrected"}, "none")]
)
def test_vectors_and_loss_match_numpy(
    tiny_train: TrainView, names: list[str], options: dict[str, Any], transform: str
) -> None:
    train = tiny_train.using(names)
    model = LIRDRec(train, dim=3, k=3, hidden=5, reg_weight=0.2, **options)
    users, items = dense(model, train, transform)
    got = model.embeddings()
    np.testing.assert_allclose(got.users, users, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(got.items, items, rtol=1e-4, atol=1e-5)
    difference = (users[[0, 3, 1]] * (items[[1, 3, 3]] - items[[3, 0, 5]])).sum(1)
    terms = model.loss(BATCH)
    assert terms["bpr"].item() == pytest.approx(np.log1p(np.exp(-difference)).mean(), rel=1e-4)
    penalty = (users**2).mean() + (items**2).mean()
    assert terms["reg"].item() == pytest.approx(0.2 * penalty, rel=1e-4)


def test_the_transform_is_orthonormal() -> None:
    x = torch.randn(4, 7, dtype=torch.float64)
    np.testing.assert_allclose(dct_rows(x), cosine_transform(x.numpy()), atol=1e-12)
    torch.testing.assert_close(dct_rows(x) @ dct_rows(x).T, x @ x.T)


def test_weights_fade_as_published() -> None:
    fusion = ProgressiveWeightCopying(2, 3, 4, start=0.9)
    seen = []
    for epoch in range(11):
        fusion.begin_epoch(epoch)
        seen.append(float(fusion.weight))
    published = [0.890, 0.868, 0.827, 0.758, 0.650, 0.496, 0.320, 0.169, 0.073, 0.027, 0.009]
    np.testing.assert_allclose(seen, published, atol=6e-4)


@pytest.mark.parametrize("copied", ["attention", "logits", "none"])
def test_what_is_copied(copied: Any) -> None:
    fusion = ProgressiveWeightCopying(5, 2, 3, copied=copied)
    blocks = [torch.randn(5, 3), torch.randn(5, 3)]
    fusion.begin_epoch(0)
    before = fusion.table.detach().clone()
    out = fusion(blocks)
    attention = out[:, [0, 3]] / torch.stack([blocks[0][:, 0], blocks[1][:, 0]], 1)
    fusion.begin_epoch(1)
    if copied == "none":
        assert torch.equal(fusion.table, before)
    else:
        held = fusion.table if copied == "attention" else fusion.table.softmax(1)
        torch.testing.assert_close(held.detach(), attention.detach(), rtol=1e-4, atol=1e-5)


def test_the_schedule_is_part_of_a_checkpoint(tiny_train: TrainView, tmp_path: Path) -> None:
    def step(model: LIRDRec, epoch: int) -> torch.Tensor:
        model.train()
        model.begin_epoch(epoch)
        return torch.stack(list(model.loss(BATCH).values())).detach()

    model = LIRDRec(tiny_train, dim=3, k=3, hidden=5)
    for epoch in range(3):
        step(model, epoch)
    save_checkpoint(tmp_path, Progress(epoch=3), training_tensors(model, None))
    other = LIRDRec(tiny_train, dim=3, k=3, hidden=5)
    restore_model(other, load_checkpoint(tmp_path)[1])
    torch.testing.assert_close(step(other, 3), step(model, 3), rtol=0, atol=0)


def test_items_have_no_table(tiny_train: TrainView) -> None:
    model = LIRDRec(tiny_train, dim=3, k=3, hidden=7)
    assert not any(parameter.shape[0] == tiny_train.n_items for parameter in model.parameters())
    assert Experiment.parse({"model": {"name": "lirdrec"}}).training.lr == 1e-4
