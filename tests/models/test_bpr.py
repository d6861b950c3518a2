from __future__ import annotations

import numpy as np
import pytest
import torch

from graphrec.data.sampling import Batch
from graphrec.data.train_view import TrainView
from graphrec.models.bpr import BPR


@pytest.mark.parametrize("bias", [False, True])
def test_scores_and_loss_match_numpy(tiny_train: TrainView, bias: bool) -> None:
    model = BPR(tiny_train, dim=3, reg_weight=0.2, item_bias=bias)
    if model.bias is not None:
        model.bias.data.normal_()
    b = np.zeros(6) if model.bias is None else model.bias.detach().numpy()
    p, q = model.users.detach().numpy(), model.items.detach().numpy()
    scores = p @ q.T + b
    np.testing.assert_allclose(model.score(torch.arange(5)), scores, rtol=1e-4, atol=1e-6)
    batch = Batch(torch.tensor([0, 3]), torch.tensor([1, 3]), torch.tensor([[3], [0]]))
    difference = scores[[0, 3], [1, 3]] - scores[[0, 3], [3, 0]]
    terms = model.loss(batch)
    assert terms["bpr"].item() == pytest.approx(np.log1p(np.exp(-difference)).mean(), rel=1e-5)
    norms = [np.linalg.norm(t) for t in (p[[0, 3]], q[[1, 3]], q[[3, 0]])]
    assert terms["reg"].item() == pytest.approx(0.2 * sum(norms) / 2, rel=1e-5)


def test_starts_from_xavier_normal() -> None:
    train = TrainView.from_arrays([0], [0], n_users=4000, n_items=50)
    assert BPR(train).users.std().item() == pytest.approx((2 / 4064) ** 0.5, rel=0.02)
