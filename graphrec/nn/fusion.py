"""Fusion: of streams, weighted or side by side, and of modalities on the sphere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from graphrec.data.train_view import Features
from graphrec.nn.similarity import normalised, pair_scores

Copied = Literal["attention", "logits", "none"]
EvalMix = Literal["mean", "last", "sample"]

_CLOSE, _OPPOSITE = 1e-3, 1e-2


def slerp(first: Tensor, second: Tensor, p: Tensor) -> Tensor:
    r"""Spherical interpolation of unit rows: p = 0 gives `first`, p = 1 `second`.

    sin((1 - p) w) / sin(w) a + sin(p w) / sin(w) b, with w the angle between a and b

    Where the formula is 0 / 0 something near it takes its place, so that rows stay of unit length
    and gradients bounded: rows within 1e-3 of each other are interpolated along the line; rows
    within 1e-2 of opposite ones, between which no arc is the shortest, along a fixed half circle
    that leaves `first` at a right angle and ends in its opposite. Two rows of zeros give zeros.

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
    apart, together = (first - second).square().sum(-1), (first + second).square().sum(-1)
    close = apart < _CLOSE**2
    opposite = (together < _OPPOSITE**2) & ~close  # two rows of zeros are both
    degenerate = close | opposite
    chord, sum_ = (torch.where(degenerate, 1.0, x).sqrt() for x in (apart, together))
    angle = 2 * torch.atan2(chord, sum_)  # exact near 0 and pi, where arccos is not
    sine = angle.sin()
    left, right = ((1 - p) * angle).sin() / sine, (p * angle).sin() / sine
    arc = left.unsqueeze(-1) * first + right.unsqueeze(-1) * second
    line = normalised((1 - p).unsqueeze(-1) * first + p.unsqueeze(-1) * second, eps=0.5)
    made = torch.where(close.unsqueeze(-1), line, arc)
    if not bool(opposite.any()):
        return made
    return torch.where(opposite.unsqueeze(-1), _half_circle(first, p), made)


def _half_circle(first: Tensor, p: Tensor) -> Tensor:
    """From a to -a, at a right angle to a first: cos(p pi) a + sin(p pi) q."""
    axis = torch.zeros_like(first).scatter_(-1, first.abs().argmin(-1, keepdim=True), 1.0)
    side = normalised(axis - pair_scores(axis, first).unsqueeze(-1) * first, eps=1e-3)
    turn = torch.pi * p.unsqueeze(-1)
    return turn.cos() * first + turn.sin() * side


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


class SphericalMixture(nn.Module):
    r"""Every item's modalities mixed on the sphere, at a place p_i of its own.

    mix_i = bezier(norm(W_1 x^1_i + b_1), norm(W_2 x^2_i + b_2), ...; p_i)

    A modality that an item lacks is replaced by the one beside it; an item with none has a zero
    row.

    Args:
        features: the modalities, in order.
        dim: d.
        alpha: places are drawn from Beta(alpha, alpha).

    Shapes:
        input: p [I]; output unit rows [I, d].

    Source: CM3: Calibrating Multimodal Recommendation, 2025, arXiv 2508.01226.

    Example:
        >>> mixture = SphericalMixture([Features.from_tensor(torch.eye(3))] * 2, dim=4, alpha=0.5)
        >>> mixture(mixture.draw()).norm(dim=1).detach().round(decimals=3)
        tensor([1., 1., 1.])
    """

    last_p: Tensor

    def __init__(self, features: Iterable[Features], dim: int, alpha: float) -> None:
        super().__init__()
        given = list(features)
        self.alpha = alpha
        for number, one in enumerate(given):
            self.register_buffer(f"table_{number}", one.values, persistent=False)
            self.register_buffer(f"present_{number}", one.present, persistent=False)
        self.linear = nn.ModuleList(nn.Linear(one.dim, dim) for one in given)
        for layer in self.linear:
            nn.init.xavier_normal_(layer.weight)  # type: ignore[arg-type]
        self.register_buffer("last_p", torch.full((len(given[0].values),), 0.5))

    def draw(self) -> Tensor:
        """New places for all items, remembered as `last_p`."""
        self.last_p.copy_(
            torch.distributions.Beta(self.alpha, self.alpha).sample(self.last_p.shape)
        )
        return self.last_p.clone()

    def place(self, rule: EvalMix, seed: int = 0) -> Tensor:
        """Places for evaluation: `mean` 1/2, the `last` draw, or a `sample` fixed by the seed."""
        if rule == "last":
            return self.last_p
        if rule == "mean":
            return torch.full_like(self.last_p, 0.5)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return torch.distributions.Beta(self.alpha, self.alpha).sample(self.last_p.shape)

    def forward(self, p: Tensor) -> Tensor:
        """The mixtures."""
        numbers = range(len(self.linear))
        tables = [getattr(self, f"table_{number}") for number in numbers]
        masks = [getattr(self, f"present_{number}") for number in numbers]
        points = [normalised(layer(table)) for layer, table in zip(self.linear, tables)]
        return spherical_bezier(_filled(points, masks), p.to(points[0].device))


def _filled(points: list[Tensor], masks: list[Tensor]) -> list[Tensor]:
    """Points with an absent one replaced by the present one before it, else after it, else 0.

    Example:
        >>> one, two = torch.tensor([[1.0]]), torch.tensor([[5.0]])
        >>> _filled([one, two], [torch.tensor([True]), torch.tensor([False])])
        [tensor([[1.]]), tensor([[1.]])]
    """
    before: list[Tensor] = []
    current = torch.zeros_like(points[0])
    for point, mask in zip(points, masks):
        current = torch.where(mask[:, None], point, current)
        before.append(current)
    made: list[Tensor] = []
    after = torch.zeros_like(points[0])
    for place in reversed(range(len(points))):
        after = torch.where(masks[place][:, None], points[place], after)
        known = torch.stack(masks[: place + 1]).any(0)
        made.append(torch.where(known[:, None], before[place], after))
    return made[::-1]


class WeightedSum(nn.Module):
    r"""Streams added with one learnt weight each: Z = sum_m softmax(w)_m F_m.

    Args:
        streams: how many.

    Shapes:
        input: a list of [n, d]; output [n, d].

    Example:
        >>> WeightedSum(2)([torch.ones(1, 1), torch.zeros(1, 1)]).item()
        0.5
    """

    def __init__(self, streams: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(streams))

    def forward(self, blocks: Sequence[Tensor]) -> Tensor:
        """The sum."""
        return torch.stack([w * block for w, block in zip(self.weight.softmax(0), blocks)]).sum(0)


class StreamAttention(nn.Module):
    r"""Streams added with weights read from their vectors.

    a_m = q tanh(W F_m + b), Z = sum_m softmax(a)_m F_m, a softmax for every row.

    Args:
        dim: d of each stream.

    Shapes:
        input: a list of [n, d]; output [n, d].

    Source: the attention over views of MGCN, 2023, arXiv 2308.03588, and many before it.

    Example:
        >>> StreamAttention(1)([torch.ones(1, 1), torch.ones(1, 1)]).item()
        1.0
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.key = nn.Linear(dim, dim)
        self.query = nn.Linear(dim, 1, bias=False)

    def forward(self, blocks: Sequence[Tensor]) -> Tensor:
        """The sum."""
        stacked = torch.stack(list(blocks), 1)  # [n, streams, d]
        weights = self.query(self.key(stacked).tanh()).softmax(1)
        return (weights * stacked).sum(1)


class UserWeights(nn.Module):
    r"""Streams side by side, each weighted by every user: Z = [w_1 F_1 ; w_2 F_2 ; ...].

    w = softmax(theta_u), theta a table.

    Args:
        n_users: U.
        streams: how many.

    Shapes:
        input: a list of [U, d]; output [U, streams * d].

    Source: CM3, 2025, arXiv 2508.01226, among others.

    Example:
        >>> weigh = UserWeights(1, 2)
        >>> weigh([torch.ones(1, 1), torch.ones(1, 1)]).sum().round().item()
        1.0
    """

    def __init__(self, n_users: int, streams: int) -> None:
        super().__init__()
        self.table = nn.Parameter(nn.init.xavier_normal_(torch.empty(n_users, streams)))

    def forward(self, blocks: Sequence[Tensor]) -> Tensor:
        """The streams weighted and side by side."""
        return weighted_blocks(self.table.softmax(1), blocks)


def weighted_blocks(weights: Tensor, blocks: Sequence[Tensor]) -> Tensor:
    """Blocks [n, d] side by side, each row times its weight of that block, [n, blocks]."""
    return torch.cat([weights[:, [m]] * block for m, block in enumerate(blocks)], 1)


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
        return weighted_blocks(attention, blocks)
