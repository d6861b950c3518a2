"""Inner products, norms and cosines: the one place that touches the embedding dimension."""

from __future__ import annotations

import torch
from torch import Tensor


def pair_scores(left: Tensor, right: Tensor) -> Tensor:
    """Inner products of matching rows: [..., d] and [..., d] (broadcast) to [...].

    Example:
        >>> pair_scores(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0]]))
        tensor([11.])
    """
    return (left * right).sum(-1)


def all_scores(left: Tensor, right: Tensor) -> Tensor:
    """Inner products of all pairs of rows: [n, d] and [m, d] to [n, m]."""
    return left @ right.T


def normalised(x: Tensor, eps: float = 1e-12) -> Tensor:
    """Rows of unit L2 norm; zero rows stay zero.

    Example:
        >>> normalised(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
        tensor([[0.6000, 0.8000],
                [0.0000, 0.0000]])
    """
    return torch.nn.functional.normalize(x, dim=-1, eps=eps)
