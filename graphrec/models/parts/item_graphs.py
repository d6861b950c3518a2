"""Item-item graphs, frozen, on which items are convolved before or after propagation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

from graphrec.graphs.cooccurrence import Measure, cooccurrence_graph, mixed_item_graph
from graphrec.graphs.graph import Graph
from graphrec.graphs.knn import (
    KnnNorm,
    Ties,
    Weights,
    mixed_knn_graph,
    modality_shares,
)
from graphrec.models.base import neighbourhood, require_features
from graphrec.models.options import Size
from graphrec.models.parts.base import Part, Plan
from graphrec.models.parts.registry import register_part
from graphrec.nn.propagation import propagate
from modalities._base.errors import InputError

Applied = Literal["identities", "propagated"]
Shares = Mapping[str, float]


class ItemGraph(Part):
    """Base: z + S^layers x, x being the items before propagation (`identities`) or z itself.

    Args:
        plan: the model so far.
        graph: S, [I, I].
        layers: how often S is applied.
        applied: to `identities`, as in FREEDOM, or `propagated` items, as in CM3.
    """

    def __init__(self, plan: Plan, graph: Graph, layers: int, applied: Applied) -> None:
        super().__init__()
        self.graph, self.layers, self.applied = graph, layers, applied
        if applied == "identities" and plan.depth > 1:
            raise InputError(
                "model.item_graph.applied=identities cannot be added to layers side by side; "
                "use model.item_graph.applied=propagated or model.propagation.readout=mean"
            )

    def forward(self, ego: Tensor, z: Tensor) -> Tensor:
        """Items with what their neighbours have: of `ego` or of `z`, both [I, width]."""
        x = ego if self.applied == "identities" else z
        return z + propagate(self.graph, x, self.layers, readout="last")


@register_part("item_graph", "none")
class NoItemGraph(Part):
    """Items as they are.

    Args:
        plan: the model so far.
    """

    def __init__(self, plan: Plan) -> None:
        super().__init__()

    def forward(self, ego: Tensor, z: Tensor) -> Tensor:
        """Z."""
        return z


@register_part("item_graph", "knn")
class KnnItemGraph(ItemGraph):
    """Neighbours by content; see `graphrec.graphs.mixed_knn_graph`.

    Args:
        plan: the model so far.
        layers: how often it is applied.
        applied: to `identities` or to `propagated` items.
        k: neighbours per item and modality, the item itself included.
        modality_weights: share of each modality; None: images share 0.1, the others 0.9. A weight
            of 0 leaves a modality out.
        weights: `binary` or `cosine`.
        norm: `rowdeg_both`, `symmetric`, `row` or `none`.
        ties: order of equal cosines, `hash` or `index`.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        layers: Size = 1,
        applied: Applied = "propagated",
        k: Size = 10,
        modality_weights: Shares | None = None,
        weights: Weights = "binary",
        norm: KnnNorm = "rowdeg_both",
        ties: Ties = "hash",
    ) -> None:
        require_features(plan.train, "item graph 'knn'")
        shares = modality_shares(plan.train, modality_weights)
        graph = plan.train.graph(
            mixed_knn_graph, shares, k=k, weights=weights, norm=norm, ties=ties
        )
        super().__init__(plan, graph, layers, applied)
        self.neighbourhood = neighbourhood(k, shares, ties)


@register_part("item_graph", "cooccurrence")
class CooccurrenceItemGraph(ItemGraph):
    """Neighbours by shared users; see `graphrec.graphs.cooccurrence_graph`.

    Args:
        plan: the model so far.
        layers: how often it is applied.
        applied: to `identities` or to `propagated` items.
        k: neighbours per item.
        measure: `count`, `ochiai` or `pmi`.
        norm: `symmetric`, `row` or `none`.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        layers: Size = 1,
        applied: Applied = "propagated",
        k: Size = 10,
        measure: Measure = "ochiai",
        norm: Literal["symmetric", "row", "none"] = "symmetric",
    ) -> None:
        graph = plan.train.graph(cooccurrence_graph, k=k, measure=measure, norm=norm)
        super().__init__(plan, graph, layers, applied)


@register_part("item_graph", "mixed")
class MixedItemGraph(ItemGraph):
    """Neighbours by content and by shared users; see `graphrec.graphs.mixed_item_graph`.

    Args:
        plan: the model so far.
        layers: how often it is applied.
        applied: to `identities` or to `propagated` items.
        k: neighbours per item, in each graph.
        modality_weights: share of each modality; None: images share 0.1, the others 0.9.
        measure: of shared users: `count`, `ochiai` or `pmi`.
        how: `union` of the edges, `convex` mean, or `max`.
        share: of the co-occurrence graph, for `convex` only.
        weights: of the content graph: `binary` or `cosine`.
        norm: of the content graph: `rowdeg_both`, `symmetric`, `row` or `none`.
        ties: order of equal cosines, `hash` or `index`.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        layers: Size = 1,
        applied: Applied = "propagated",
        k: Size = 10,
        modality_weights: Shares | None = None,
        measure: Measure = "ochiai",
        how: Literal["union", "convex", "max"] = "convex",
        share: Annotated[float, Field(ge=0, le=1)] = 0.5,
        weights: Weights = "binary",
        norm: KnnNorm = "rowdeg_both",
        ties: Ties = "hash",
    ) -> None:
        require_features(plan.train, "item graph 'mixed'")
        shares = modality_shares(plan.train, modality_weights)
        graph = plan.train.graph(
            mixed_item_graph,
            shares,
            k=k,
            weights=weights,
            norm=norm,
            ties=ties,
            measure=measure,
            how=how,
            share=share,
        )
        super().__init__(plan, graph, layers, applied)
        self.neighbourhood = neighbourhood(k, shares, ties)
