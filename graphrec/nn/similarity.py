"""Inner products, norms and cosines: the one place that touches the embedding dimension."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_BLOCK = 128


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


def chosen_scores(left: Tensor, table: Tensor, places: Tensor) -> Tensor:
    """Inner products of each row with rows of its own choice: out[b, j] = left[b] table[places].

    The [B, n, d] tensor of chosen rows is never made: forward goes block by block, backward sums
    weighted rows.

    Args:
        left: [B, d].
        table: [N, d].
        places: rows of `table` for each row of `left`, int64 [B, n].

    Example:
        >>> table = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> chosen_scores(torch.tensor([[2.0, 3.0]]), table, torch.tensor([[1, 0, 1]]))
        tensor([[3., 2., 3.]])
    """
    scores: Tensor = _ChosenScores.apply(left, table, places)
    return scores


class _ChosenScores(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, left: Tensor, table: Tensor, places: Tensor) -> Tensor:
        ctx.save_for_backward(left, table, places)
        scores = left.new_empty(places.shape)
        for start in range(0, len(left), _BLOCK):
            rows = slice(start, start + _BLOCK)
            out = scores[rows].unsqueeze(2)
            torch.bmm(table[places[rows]], left[rows].unsqueeze(2), out=out)
        return scores

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        left, table, places = ctx.saved_tensors
        gradient = gradient.contiguous()
        order = places.flatten().argsort()
        starts = torch.bincount(places.flatten(), minlength=len(table)).cumsum(0)
        to_left = _weighted_sums(table, places.flatten(), gradient.flatten(), places.shape[1])
        owners = order // places.shape[1]
        offsets = torch.cat([starts.new_zeros(1), starts])
        to_table = _weighted_sums(left, owners, gradient.flatten()[order], offsets)
        return to_left, to_table, None


def _weighted_sums(table: Tensor, places: Tensor, weights: Tensor, bags: Tensor | int) -> Tensor:
    """Sums of weighted rows, by bags of equal size or between offsets."""
    if isinstance(bags, int):
        bags = torch.arange(0, len(places) + 1, bags, device=places.device)
    return torch.nn.functional.embedding_bag(
        places, table, bags, mode="sum", per_sample_weights=weights, include_last_offset=True
    )


def normalised(x: Tensor, eps: float = 1e-12) -> Tensor:
    """Rows of unit L2 norm; zero rows stay zero.

    Example:
        >>> normalised(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
        tensor([[0.6000, 0.8000],
                [0.0000, 0.0000]])
    """
    return torch.nn.functional.normalize(x, dim=-1, eps=eps)
