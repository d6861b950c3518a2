"""Loss terms: each computed from a forward pass and a batch, each with a weight."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from graphrec.data.sampling import Batch
from graphrec.models.base import require_features
from graphrec.models.options import (
    Cosine,
    Nodes,
    Regulariser,
    Temperature,
    Weight,
    checked_limits,
)
from graphrec.models.parts.base import Part, Plan, State
from graphrec.models.parts.registry import register_part
from graphrec.nn.contrast import (
    alignment,
    calibrated_uniformity,
    node_contrast,
    sampled_softmax,
    uniformity,
)
from graphrec.nn.losses import bpr_loss, embedding_norm
from graphrec.nn.projection import FeatureProjection, JoinedFeatures
from graphrec.nn.similarity import chosen_scores, normalised, pair_scores
from modalities._base.errors import InputError

Spread = Literal["negatives", "positives"]


class Term(Part):
    """Base: a weight, and named values before it.

    Attributes:
        learns: it tells what users like; a model needs at least one such term.

    Args:
        weight: of the term.
        needs_negatives: it cannot be computed without the batch's negatives.
    """

    learns: ClassVar[bool] = False

    def __init__(self, weight: float, *, needs_negatives: bool = False) -> None:
        super().__init__()
        self.weight, self.needs_negatives = weight, needs_negatives

    def forward(self, state: State, batch: Batch) -> dict[str, Tensor]:
        """Values by name; the model multiplies them by `weight`."""
        raise NotImplementedError


@register_part("loss", "bpr")
class BPRTerm(Term):
    """Positives above negatives, by inner product; see `graphrec.nn.bpr_loss`.

    Args:
        plan: the model so far.
        weight: of the term.
    """

    learns: ClassVar[bool] = True

    def __init__(self, plan: Plan, *, weight: Weight = 1.0) -> None:
        super().__init__(weight, needs_negatives=True)

    def forward(self, state: State, batch: Batch) -> dict[str, Tensor]:
        """The loss."""
        user = rows(state.users, batch.users)
        better = pair_scores(user, rows(state.items, batch.positives))
        worse = pair_scores(user.unsqueeze(1), rows(state.items, negatives(batch)))
        return {"bpr": bpr_loss(better, worse)}


@register_part("loss", "softmax")
class SoftmaxTerm(Term):
    """Each positive against all its negatives; see `graphrec.nn.sampled_softmax`.

    Args:
        plan: the model so far.
        weight: of the term.
        temperature: of the softmax.
        cosine: compare directions instead of inner products.
        pool: the sampled negatives of each positive, or the positives of the rest of the `batch`,
            but for rows of the same user or the same item.
    """

    learns: ClassVar[bool] = True

    def __init__(
        self,
        plan: Plan,
        *,
        weight: Weight = 1.0,
        temperature: Temperature = 0.2,
        cosine: bool = True,
        pool: Literal["sampled", "batch"] = "sampled",
    ) -> None:
        super().__init__(weight, needs_negatives=pool == "sampled")
        self.temperature, self.cosine, self.pool = temperature, cosine, pool

    def forward(self, state: State, batch: Batch) -> dict[str, Tensor]:
        """The loss."""
        user, good = rows(state.users, batch.users), rows(state.items, batch.positives)
        if self.cosine:
            user, good = normalised(user), normalised(good)
        if self.pool == "sampled":
            items = normalised(state.items) if self.cosine else state.items
            worse = chosen_scores(user, items, negatives(batch))
        else:
            worse = user @ good.T
            same = batch.users[:, None] == batch.users
            same |= batch.positives[:, None] == batch.positives
            worse = worse.masked_fill(same, -torch.inf)
        return {"softmax": sampled_softmax(pair_scores(user, good), worse, self.temperature)}


@register_part("loss", "alignment")
class AlignmentTerm(Term):
    """Unit vectors of a user and its positive near each other; see `graphrec.nn.alignment`.

    Args:
        plan: the model so far.
        weight: of the term.
    """

    learns: ClassVar[bool] = True

    def __init__(self, plan: Plan, *, weight: Weight = 1.0) -> None:
        super().__init__(weight)

    def forward(self, state: State, batch: Batch) -> dict[str, Tensor]:
        """The loss."""
        user = normalised(rows(state.users, batch.users))
        return {"alignment": alignment(user, normalised(rows(state.items, batch.positives)))}


@register_part("loss", "uniform_users")
class UniformUsersTerm(Term):
    """Users of the batch spread over the sphere; see `graphrec.nn.uniformity`.

    Args:
        plan: the model so far.
        weight: of the term.
    """

    def __init__(self, plan: Plan, *, weight: Weight = 0.25) -> None:
        super().__init__(weight)

    def forward(self, state: State, batch: Batch) -> dict[str, Tensor]:
        """The loss."""
        return {"uniform_users": uniformity(normalised(rows(state.users, batch.users)))}


@register_part("loss", "uniform_items")
class UniformItemsTerm(Term):
    """Items of the batch spread over the sphere; see `graphrec.nn.uniformity`.

    Args:
        plan: the model so far.
        weight: of the term.
        spread: the batch's `negatives` (the first of each row) or its `positives`.
    """

    def __init__(self, plan: Plan, *, weight: Weight = 0.25, spread: Spread = "positives") -> None:
        super().__init__(weight, needs_negatives=spread == "negatives")
        self.spread = spread

    def forward(self, state: State, batch: Batch) -> dict[str, Tensor]:
        """The loss."""
        return {"uniform_items": uniformity(normalised(state.items[spread(batch, self.spread)]))}


@register_part("loss", "calibrated_items")
class CalibratedItemsTerm(Term):
    """Items spread less where their content is alike; see `graphrec.nn.calibrated_uniformity`.

    Args:
        plan: the model so far.
        weight: of the term.
        spread: the batch's `negatives` (the first of each row) or its `positives`.
        content: block whose cosines calibrate, such as `mixture`; or `features`, the frozen
            features of all modalities.
        low: least similarity that calibrates.
        high: greatest.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        weight: Weight = 0.25,
        spread: Spread = "negatives",
        content: str = "features",
        low: Cosine = 0.0,
        high: Cosine = 1.0,
    ) -> None:
        super().__init__(weight, needs_negatives=spread == "negatives")
        self.spread, self.content = spread, content
        self.limits = checked_limits(low, high, "model.losses.calibrated_items.{low,high}")
        self.features: JoinedFeatures | None = None
        if content == "features":
            require_features(plan.train, "loss 'calibrated_items'")
            self.features = JoinedFeatures(plan.train.features.values(), transform="l2")
        elif content not in plan.blocks:
            raise InputError(
                f"model.losses.calibrated_items.content='{content}' is no block of this model; "
                f"valid: features, {', '.join(plan.blocks)}"
            )

    def forward(self, state: State, batch: Batch) -> dict[str, Tensor]:
        """The loss."""
        items = spread(batch, self.spread)
        if self.features is None:
            content = state.blocks[self.content].items[items]
        else:
            content, _ = self.features(items)
        low, high = self.limits
        x = normalised(state.items[items])
        found = calibrated_uniformity(x, normalised(content), low=low, high=high)
        return {"calibrated_items": found}


@register_part("loss", "content")
class ContentTerm(Term):
    """A BPR of every modality: users against projected features, as in FREEDOM.

    A pair of which an item lacks the modality is left out.

    Args:
        plan: the model so far.
        weight: of each of the terms.
        freeze_features: keep the features as given; otherwise they are fine-tuned here.
    """

    def __init__(self, plan: Plan, *, weight: Weight = 1e-3, freeze_features: bool = False) -> None:
        super().__init__(weight, needs_negatives=True)
        require_features(plan.train, "loss 'content'")
        self.names = tuple(plan.train.features)
        self.projections = nn.ModuleList(
            FeatureProjection(features, plan.width, freeze=freeze_features)
            for features in plan.train.features.values()
        )

    def forward(self, state: State, batch: Batch) -> dict[str, Tensor]:
        """A loss for every modality."""
        user = rows(state.users, batch.users)
        shape = negatives(batch).shape
        both = torch.cat([batch.positives, negatives(batch).flatten()])
        distinct, places = torch.unique(both, return_inverse=True)
        good, bad = places[: len(batch)], places[len(batch) :].view(shape)
        terms = {}
        for name, project in zip(self.names, self.projections):
            content = project(distinct)
            better = pair_scores(user, rows(content, good))
            worse = pair_scores(user.unsqueeze(1), rows(content, bad))
            present: Tensor = project.present[distinct]  # type: ignore[index]
            mask = present[good].unsqueeze(1) & present[bad]
            terms[f"content_{name}"] = bpr_loss(better, worse, mask)
        return terms


@register_part("loss", "reg")
class RegulariserTerm(Term):
    """Norms of the batch's rows; see `graphrec.nn.embedding_norm`.

    Args:
        plan: the model so far.
        weight: of the term.
        form: `norm`, not squared, or `l2`.
        of: rows before propagation (`ego`) or the `outputs`.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        weight: Weight = 1e-4,
        form: Regulariser = "l2",
        of: Literal["ego", "outputs"] = "ego",
    ) -> None:
        super().__init__(weight, needs_negatives=True)
        self.form: Regulariser = form
        self.of = of

    def forward(self, state: State, batch: Batch) -> dict[str, Tensor]:
        """The penalty."""
        pairs = [(state.users, state.items)]
        if self.of == "ego":
            pairs = [(block.users, block.items) for block in state.blocks.values()]
        # The norms of rows stand for the rows: a batch of many negatives repeats few of them.
        users, items = (torch.stack([x.norm(dim=1) for x in side], 1) for side in zip(*pairs))
        chosen = (users[batch.users], items[batch.positives], items[negatives(batch)])
        return {"reg": embedding_norm(*chosen, form=self.form)}


@register_part("loss", "mean_square")
class MeanSquareTerm(Term):
    """Mean square of all users' and of all items' outputs, as in LIRDRec.

    Args:
        plan: the model so far.
        weight: of the term.
    """

    def __init__(self, plan: Plan, *, weight: Weight = 1e-4) -> None:
        super().__init__(weight)

    def forward(self, state: State, batch: Batch) -> dict[str, Tensor]:
        """The penalty."""
        return {"mean_square": state.users.square().mean() + state.items.square().mean()}


class ContrastTerm(Term):
    """Base: a side's first vectors against its branch's; see `graphrec.nn.node_contrast`.

    Args:
        plan: the model so far.
        side: `user` or `item`.
        weight: of the term.
        temperature: of the softmax.
        anchor: the `fused` vectors, which hold the branch's, or the `first_order` ones.
        nodes: contrast this many nodes, drawn anew at every step; None: all.
    """

    def __init__(
        self,
        plan: Plan,
        side: Literal["user", "item"],
        weight: float,
        temperature: float,
        anchor: Literal["fused", "first_order"],
        nodes: int | None,
    ) -> None:
        super().__init__(weight)
        self.side, self.temperature, self.anchor, self.nodes = side, temperature, anchor, nodes
        branch = f"{side}_hypergraph"
        if branch not in plan.branches:
            raise InputError(
                f"model.losses.contrast_{side} needs a second vector of the {side}s; add "
                f"model.branches.{branch}=true or leave the term out"
            )

    def forward(self, state: State, batch: Batch) -> dict[str, Tensor]:
        """The contrast."""
        fused, first = {
            "user": (state.users, state.first_users),
            "item": (state.items, state.first_items),
        }[self.side]
        anchors, second = fused if self.anchor == "fused" else first, state.second[self.side]
        found = node_contrast(anchors, second, self.temperature, nodes=self.nodes)
        return {f"contrast_{self.side}": found}


@register_part("loss", "contrast_user")
class UserContrastTerm(ContrastTerm):
    """Users' vectors against those of the user hypergraph, as in MMHCL.

    Args:
        plan: the model so far.
        weight: of the term.
        temperature: of the softmax.
        anchor: the `fused` vectors, which hold the branch's, or the `first_order` ones.
        nodes: contrast this many users, drawn anew at every step; None: all.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        weight: Weight = 0.3,
        temperature: Temperature = 0.5,
        anchor: Literal["fused", "first_order"] = "fused",
        nodes: Nodes | None = None,
    ) -> None:
        super().__init__(plan, "user", weight, temperature, anchor, nodes)


@register_part("loss", "contrast_item")
class ItemContrastTerm(ContrastTerm):
    """Items' vectors against those of the item hypergraph, as in MMHCL.

    Args:
        plan: the model so far.
        weight: of the term.
        temperature: of the softmax.
        anchor: the `fused` vectors, which hold the branch's, or the `first_order` ones.
        nodes: contrast this many items, drawn anew at every step; None: all.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        weight: Weight = 0.7,
        temperature: Temperature = 0.5,
        anchor: Literal["fused", "first_order"] = "fused",
        nodes: Nodes | None = None,
    ) -> None:
        super().__init__(plan, "item", weight, temperature, anchor, nodes)


def rows(table: Tensor, chosen: Tensor) -> Tensor:
    """Rows [..., d] of a table, with a backward that sums repeated rows fast."""
    return nn.functional.embedding(chosen, table)


def negatives(batch: Batch) -> Tensor:
    """The batch's negatives [B, n]."""
    if batch.negatives is None:
        raise ValueError("this loss needs negatives in the batch; set model.negatives to 1 or more")
    return batch.negatives


def spread(batch: Batch, which: Spread) -> Tensor:
    """The batch's positives or its first negatives, [B]."""
    return batch.positives if which == "positives" else negatives(batch)[:, 0]
