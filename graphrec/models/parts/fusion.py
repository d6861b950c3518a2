"""Fusion of the streams' blocks into one vector per user and per item."""

from __future__ import annotations

from torch import Tensor, cat, nn

from graphrec.models.options import Share, Size
from graphrec.models.parts.base import Noise, Part, Plan
from graphrec.models.parts.registry import register_part
from graphrec.nn.fusion import (
    Copied,
    ProgressiveWeightCopying,
    StreamAttention,
    UserWeights,
    WeightedSum,
)
from modalities._base.errors import InputError

Pair = tuple[Tensor, Tensor]


class Fusion(Part):
    """Base: blocks of users and of items, each [., block width], to one vector each.

    Args:
        plan: the model so far.
    """

    width: int

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.width = plan.dim * plan.depth * len(plan.blocks)

    def forward(self, users: list[Tensor], items: list[Tensor]) -> Pair:
        """Fused users and items, [U, width] and [I, width]."""
        return side_by_side(users), side_by_side(items)


@register_part("fusion", "concat")
class Concatenation(Fusion):
    """Blocks side by side: scores of the streams add up.

    Args:
        plan: the model so far.
    """


@register_part("fusion", "sum")
class Sum(Fusion):
    """Blocks added with one learnt weight each, the same for users and items.

    Args:
        plan: the model so far.
    """

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self.width = plan.dim * plan.depth
        self.sum = WeightedSum(len(plan.blocks))

    def forward(self, users: list[Tensor], items: list[Tensor]) -> Pair:
        """The weighted sums."""
        return self.sum(users), self.sum(items)


@register_part("fusion", "attention")
class Attention(Fusion):
    """Blocks added with weights read from their vectors, by a network for users and for items.

    Args:
        plan: the model so far.
    """

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self.width = plan.dim * plan.depth
        self.sides = nn.ModuleList(StreamAttention(self.width) for _ in range(2))

    def forward(self, users: list[Tensor], items: list[Tensor]) -> Pair:
        """The attended sums."""
        user_side, item_side = self.sides
        return user_side(users), item_side(items)


@register_part("fusion", "user_weights")
class UserWeighted(Fusion):
    """Blocks side by side, every user weighing them by a softmax of its own, as in CM3.

    Args:
        plan: the model so far.
    """

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        several_blocks(plan, "user_weights")
        self.weights = UserWeights(plan.train.n_users, len(plan.blocks))

    def forward(self, users: list[Tensor], items: list[Tensor]) -> Pair:
        """Weighted users, plain items."""
        return self.weights(users), side_by_side(items)


@register_part("fusion", "progressive")
class Progressive(Fusion):
    """User weights by progressive copying, as in LIRDRec.

    Args:
        plan: the model so far.
        start: w_1 before the first epoch.
        copied: `attention`, `logits` or `none`.
        hidden: width of the networks that read the vectors.
    """

    def __init__(
        self, plan: Plan, *, start: Share = 0.9, copied: Copied = "attention", hidden: Size = 16
    ) -> None:
        super().__init__(plan)
        several_blocks(plan, "progressive")
        self.weights = ProgressiveWeightCopying(
            plan.train.n_users,
            len(plan.blocks),
            plan.dim * plan.depth,
            start=start,
            copied=copied,
            hidden=hidden,
        )

    def begin_epoch(self, epoch: int, noise: Noise) -> None:
        """Advance the weights."""
        self.weights.begin_epoch(epoch)

    def forward(self, users: list[Tensor], items: list[Tensor]) -> Pair:
        """Weighted users, plain items."""
        return self.weights(users), side_by_side(items)


def several_blocks(plan: Plan, fusion: str) -> None:
    """Raise `InputError` where there is nothing to weigh."""
    if len(plan.blocks) < 2:
        raise InputError(
            f"model.fusion={fusion} weighs several blocks and there is one, '{plan.blocks[0]}'; "
            "add a stream (model.streams.NAME=true) or use model.fusion=concat"
        )


def side_by_side(blocks: list[Tensor]) -> Tensor:
    """Blocks as one matrix."""
    return blocks[0] if len(blocks) == 1 else cat(blocks, 1)
