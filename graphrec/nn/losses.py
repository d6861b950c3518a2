"""Losses as pure functions of scores and embeddings."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

Regulariser = Literal["norm", "l2"]


def bpr_loss(positive: Tensor, negative: Tensor, mask: Tensor | None = None) -> Tensor:
    r"""Bayesian personalised ranking: mean of -log sigma(s+ - s-).

    Args:
        positive: scores of the positives, [B] or [B, 1].
        negative: scores of the negatives, [B, n].
        mask: bool [B, n], pairs that count; None: all. Without any the loss is 0.

    Source: BPR, 2009, arXiv 1205.2618.

    Relations: the sampled-softmax loss compares each positive with all its negatives at once;
    BPR averages over pairs.

    Example:
        >>> bpr_loss(torch.tensor([1.0]), torch.tensor([[1.0]]))
        tensor(0.6931)
    """
    losses = -logsigmoid(positive.reshape(-1, 1) - negative)
    if mask is None:
        return losses.mean()
    return torch.where(mask, losses, 0.0).sum() / mask.sum().clamp_min(1)


def embedding_norm(*blocks: Tensor, form: Regulariser = "norm") -> Tensor:
    r"""Regulariser of a batch's embedding rows (rows that occur twice count twice).

    - `"norm"`: sum_k ||X_k||_F / B, the norm *not* squared, as the MMRec toolbox computes it: a
      pull of constant size, so its weight does not carry over to the other form
    - `"l2"`: sum_k 1/2 ||X_k||_F^2 / B, the form of the LightGCN paper

    Args:
        blocks: matrices [B, d] (or [B, n, d]); B is taken from the last one.
        form: one of the two.

    Example:
        >>> x = torch.tensor([[3.0, 4.0]])
        >>> embedding_norm(x), embedding_norm(x, form="l2")
        (tensor(5.), tensor(12.5000))
    """
    rows = len(blocks[-1])
    if form == "norm":
        return torch.stack([block.norm() for block in blocks]).sum() / rows
    return torch.stack([0.5 * block.square().sum() for block in blocks]).sum() / rows
