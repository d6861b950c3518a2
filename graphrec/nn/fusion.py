"""Fusion: of streams per user, and of modalities on the sphere."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from graphrec.nn.similarity import normalised, pair_scores

Copied = Literal["attention", "logits", "none"]


_PARALLEL = 1e-6


def slerp(first: Tensor, second: Tensor, p: Tensor) -> Tensor:
    r"""Spherical interpolation of unit rows: p = 0 gives `first`, p = 1 `second`.

    sin((1 - p) w) / sin(w) a + sin(p w) / sin(w) b, with w the angle between a and b

    Rows within 1e-6 of parallel or opposite (in cosine) are interpolated along the line and
    normalised, where the formula is 0 / 0.

    Args:
        first: a, [..., d].
        second: b, [..., d].
        p: [...], in [0, 1].

    Source: Animating Rotation with Quaternion Curves, 1985, doi 10.1145/325165.325242.

    Example:
        >>> a, b = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
        >>> slerp(a, b, torch.tensor([0.5]))
        tensor([[0.7071, 0.7071]])
    """
    cosine = pair_scores(first, second)
    close = cosine.abs() > 1 - _PARALLEL
    angle = torch.where(close, 0.0, cosine).acos()
    sine = angle.sin()
    left, right = ((1 - p) * angle).sin() / sine, (p * angle).sin() / sine
    arc = left.unsqueeze(-1) * first + right.unsqueeze(-1) * second
    line = normalised((1 - p).unsqueeze(-1) * first + p.unsqueeze(-1) * second)
    return torch.where(close.unsqueeze(-1), line, arc)


def spherical_bezier(points: Sequence[Tensor], p: Tensor) -> Tensor:
    """One point between any number of unit rows, by nested spherical interpolation.

    De Casteljau's scheme with `slerp` in place of the straight line; of one point it is that
    point, of two their `slerp`.

    Args:
        points: unit rows in order, each [..., d].
        p: [...], in [0, 1]; 0 gives the first point, 1 the last.

    Source: CM3: Calibrating Multimodal Recommendation, 2025, arXiv 2508.01226.

    Example:
        >>> a, b = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
        >>> spherical_bezier([a, b, a], torch.tensor([1.0]))
        tensor([[1., 0.]])
    """
    level = list(points)
    while len(level) > 1:
        level = [slerp(left, right, p) for left, right in pairwise(level)]
    return level[0]


class ProgressiveWeightCopying(nn.Module):
    r"""Weights of streams per user, first from the vectors, later from what was copied.

    A = softmax(w_1 f + w_2 theta), f_m = g_m(F_m), Z = [A_1 F_1 ; A_2 F_2 ; ...]

    with g_m a small network per stream and theta a table. At the start of epoch e = 1, 2, ...
    w_1 is multiplied by 0.9^e and both are divided by their sum; from the second epoch on, theta
    is overwritten by what the last step of the epoch before had: its A (`"attention"`, as
    published, which contracts to equal weights) or its logits.

    Source: LIRDRec: Learning Item Representations Directly from Multimodal Features, 2025,
    arXiv 2505.04960.

    Args:
        n_users: U.
        streams: how many.
        dim: d of each stream.
        start: w_1 before the first epoch; w_2 = 1 - w_1.
        copied: what overwrites theta.
        hidden: width of g_m.

    Shapes:
        input: a list of [U, d]; output [U, streams * d].
    """

    weight: Tensor
    last: Tensor

    def __init__(
        self,
        n_users: int,
        streams: int,
        dim: int,
        *,
        start: float = 0.9,
        copied: Copied = "attention",
        hidden: int = 16,
    ) -> None:
        super().__init__()
        self.copied = copied
        self.first = nn.ModuleList(nn.Linear(dim, hidden) for _ in range(streams))
        self.second = nn.ModuleList(nn.Linear(hidden, 1) for _ in range(streams))
        self.table = nn.Parameter(nn.init.xavier_normal_(torch.empty(n_users, streams)))
        self.register_buffer("weight", torch.tensor(start))
        self.register_buffer("last", torch.zeros(n_users, streams))

    def begin_epoch(self, epoch: int) -> None:
        """Advance the weights; `epoch` counts from 0."""
        faded = self.weight * 0.9 ** (epoch + 1)
        self.weight.copy_(faded / (faded + 1 - self.weight))
        if epoch > 0 and self.copied != "none":
            with torch.no_grad():
                self.table.copy_(self.last)

    def forward(self, blocks: Sequence[Tensor]) -> Tensor:
        """The streams weighted and side by side."""
        scores = [
            second(leaky_relu(first(block), 0.01))
            for first, second, block in zip(self.first, self.second, blocks)
        ]
        logits = self.weight * torch.cat(scores, 1) + (1 - self.weight) * self.table
        attention = logits.softmax(1)
        if self.training:
            kept = attention if self.copied == "attention" else logits
            self.last.copy_(kept.detach())
        return torch.cat([attention[:, [m]] * block for m, block in enumerate(blocks)], 1)
