from __future__ import annotations

import math

import pytest
import torch

from graphrec.nn import bpr_loss, embedding_norm


def test_bpr_by_hand() -> None:
    positive = torch.tensor([2.0, 0.0])
    negative = torch.tensor([[1.0, 3.0], [0.0, -1.0]])
    differences = [1.0, -1.0, 0.0, 1.0]
    expected = sum(math.log(1 + math.exp(-d)) for d in differences) / 4
    assert bpr_loss(positive, negative).item() == pytest.approx(expected, rel=1e-6)


def test_bpr_is_finite_far_out() -> None:
    negative = torch.tensor([[1e4]], requires_grad=True)
    loss = bpr_loss(torch.tensor([0.0]), negative)
    loss.backward()
    assert loss.item() == pytest.approx(1e4)
    assert negative.grad is not None
    assert negative.grad.item() == pytest.approx(1.0)


def test_forms_of_the_regulariser() -> None:
    a, b = torch.randn(4, 3), torch.randn(4, 2, 3)
    norm = (a.pow(2).sum().sqrt() + b.pow(2).sum().sqrt()) / 4
    squared = (a.pow(2).sum() + b.pow(2).sum()) / 2 / 4
    torch.testing.assert_close(embedding_norm(a, b), norm)
    torch.testing.assert_close(embedding_norm(a, b, form="l2"), squared)
