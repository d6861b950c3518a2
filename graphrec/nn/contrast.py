"""Contrastive losses and uniformity: what pushes vectors apart, and by how much.

The losses over pairs form their gradient in the forward pass, block by block, because they are
means: memory is that of one block of similarities, never of all pairs kept for the backward pass.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from graphrec.nn.similarity import normalised

BLOCK = 1024


def sampled_softmax(positive: Tensor, negative: Tensor, temperature: float = 1.0) -> Tensor:
    r"""Each positive against all its negatives at once.

    L = mean_b -log( e^(s_b / tau) / (e^(s_b / tau) + sum_j e^(s_bj / tau)) )

    Args:
        positive: scores of the positives, [B] or [B, 1].
        negative: scores of the negatives, [B, n].
        temperature: tau > 0.

    Source: InfoNCE, 2018, arXiv 1807.03748; with cosine scores the loss of AlphaRec, 2025,
    arXiv 2407.05441.

    Relations: with one negative and tau = 1 it is BPR.

    Example:
        >>> sampled_softmax(torch.tensor([1.0]), torch.tensor([[1.0]]))
        tensor(0.6931)
    """
    scores = torch.cat([positive.reshape(-1, 1), negative], 1) / temperature
    return (scores.logsumexp(1) - scores[:, 0]).mean()


def alignment(left: Tensor, right: Tensor) -> Tensor:
    r"""Mean squared distance of matching rows: mean_b \|x_b - y_b\|^2, both [B, d].

    Source: Understanding Contrastive Representation Learning through Alignment and Uniformity,
    2020, arXiv 2005.10242.

    Example:
        >>> alignment(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]]))
        tensor(2.)
    """
    return (left - right).square().sum(1).mean()


def uniformity(x: Tensor, t: float = 2.0) -> Tensor:
    r"""How evenly rows lie: log mean_(n < m) exp(-t \|x_n - x_m\|^2), x of shape [B, d].

    Rows that occur twice count as pairs at distance 0; a row and itself do not count. With fewer
    than two rows, as in a last batch of one, there is no pair and the loss is 0.

    Source: arXiv 2005.10242, as in `alignment`.

    Example:
        >>> uniformity(torch.eye(2))
        tensor(-4.)
    """
    result: Tensor = _Uniformity.apply(x, None, t, 0.0, 0.0)
    return result


def calibrated_uniformity(
    x: Tensor, content: Tensor, *, t: float = 2.0, low: float = 0.0, high: float = 1.0
) -> Tensor:
    r"""Uniformity that pushes pairs of similar content apart less.

    L = log mean_(n < m) exp(-t ( \|x_n - x_m\|^2 - 2 + 2 s_nm )), s_nm = clip(c_n c_m, low, high)

    On unit rows the exponent is 2 t (cos(x_n, x_m) - s_nm). Gradients reach x and, where the
    similarity is not clipped, the content.

    Args:
        x: rows to spread, [B, d].
        content: unit rows c of the same items, [B, k].
        t: sharpness.
        low: least similarity.
        high: greatest.

    Source: CM3: Calibrating Multimodal Recommendation, 2025, arXiv 2508.01226.

    Relations: with all similarities clipped to 1 it is `uniformity`.

    Raises:
        ValueError: shapes that do not match.

    Example:
        >>> x = torch.eye(2)
        >>> calibrated_uniformity(x, x)
        tensor(0.)
    """
    if len(content) != len(x):
        raise ValueError(f"x has {len(x)} rows and content {len(content)}")
    result: Tensor = _Uniformity.apply(x, content, t, low, high)
    return result


def node_contrast(
    first: Tensor,
    second: Tensor,
    temperature: float = 0.5,
    *,
    nodes: int | None = None,
    block: int = BLOCK,
) -> Tensor:
    r"""Tells each node's two views from all other nodes, of both views.

    With cosines c and tau the temperature

    L = mean_n -log( e^(c(a_n, b_n) / tau)
    / ( sum_(x != n) e^(c(a_n, a_x) / tau) + sum_x e^(c(a_n, b_x) / tau) ) )

    One direction: nodes of `first` are the anchors.

    Args:
        first: a, [N, d].
        second: b, [N, d].
        temperature: tau > 0.
        nodes: contrast this many nodes among themselves, drawn anew at every call by torch's
            global generator; None: all.
        block: anchors at a time; memory is block x N.

    Source: MMHCL, 2025, arXiv 2504.16576; the form of Deep Graph Contrastive Representation
    Learning, 2020, arXiv 2006.04131, without its other direction.

    Example:
        >>> node_contrast(torch.eye(2), torch.eye(2), 1.0)
        tensor(0.5514)
    """
    if first.shape != second.shape:
        raise ValueError(f"views must match, got {tuple(first.shape)} and {tuple(second.shape)}")
    if nodes is not None and nodes < len(first):
        chosen = torch.randperm(len(first), device=first.device)[:nodes]
        first, second = first[chosen], second[chosen]
    a, b = normalised(first), normalised(second)
    result: Tensor = _NodeContrast.apply(a, b, temperature, block)
    return result


class _Uniformity(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, content: Tensor | None, t: float, low: float, high: float
    ) -> Tensor:
        n = len(x)
        if n < 2:
            ctx.gradients = (torch.zeros_like(x), None)
            return x.new_zeros(())
        lengths = x.square().sum(1)
        z = torch.addmm(lengths[:, None] + lengths, x, x.T, alpha=-2).clamp_min_(0)  # distances
        inside = None if content is None else _calibrate(z, content, low, high)
        z.mul_(-t).fill_diagonal_(-torch.inf)
        top = z.max()
        p = z.sub_(top).exp_()
        total = p.sum()
        p.div_(total)  # share of each ordered pair
        ctx.gradients = (
            4 * t * (p @ x - p.sum(1, keepdim=True) * x) if ctx.needs_input_grad[0] else None,
            -4 * t * (p.mul_(inside) @ content)
            if content is not None and inside is not None and ctx.needs_input_grad[1]
            else None,
        )
        return top + (total / (n * (n - 1.0))).log()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        scaled = (None if g is None else g * gradient for g in ctx.gradients)
        return (*scaled, None, None, None)


def _calibrate(z: Tensor, content: Tensor, low: float, high: float) -> Tensor:
    """Add 2 s - 2 to the distances z in place; where the similarity s was not clipped."""
    inside = torch.empty(z.shape, dtype=torch.bool, device=z.device)
    for start in range(0, len(z), BLOCK // 4):
        rows = slice(start, start + BLOCK // 4)
        similar = content[rows] @ content.T
        torch.logical_and(similar >= low, similar <= high, out=inside[rows])
        z[rows].add_(similar.clamp_(low, high).sub_(1), alpha=2)
    return inside


class _NodeContrast(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, temperature: float, block: int) -> Tensor:
        n, total = len(a), a.new_zeros(())
        learn = any(ctx.needs_input_grad[:2])
        to_a, to_b = (torch.zeros_like(a), torch.zeros_like(b)) if learn else (a, b)
        for start in range(0, n, block):
            rows = slice(start, min(start + block, n))
            within = (a[rows] @ a.T).div_(temperature)
            within.diagonal(start).fill_(-torch.inf)  # a node is no negative of itself
            across = (a[rows] @ b.T).div_(temperature)
            below = torch.logaddexp(within.logsumexp(1), across.logsumexp(1))
            total += (below - across.diagonal(start)).sum()
            if learn:
                within.sub_(below[:, None]).exp_()
                across.sub_(below[:, None]).exp_()
                to_a[rows] += within @ a + across @ b - b[rows]
                to_a.addmm_(within.T, a[rows])
                to_b.addmm_(across.T, a[rows])
                to_b[rows] -= a[rows]
        ctx.gradients = (to_a, to_b) if learn else None
        ctx.scale = 1 / (n * temperature)
        return total / n

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        to_a, to_b = ctx.gradients
        factor = gradient * ctx.scale
        return to_a * factor, to_b * factor, None, None
