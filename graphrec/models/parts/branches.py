"""Branches: second vectors of users or items, from a hypergraph, added to the first ones."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from graphrec.graphs.graph import Graph
from graphrec.graphs.hypergraph import HypergraphNorm, item_hypergraph, user_hypergraph
from graphrec.graphs.knn import Ties
from graphrec.models.base import embedding_table, neighbourhood, require_features
from graphrec.models.options import Depth, Size
from graphrec.models.parts.base import Part, Plan
from graphrec.models.parts.registry import register_part
from graphrec.nn.propagation import propagate

Side = Literal["user", "item"]


class Branch(Part):
    """Base: a free table of one side, convolved on a graph of that side, the last layer kept.

    Args:
        plan: the model so far.
        graph: [U, U] or [I, I].
        layers: how often it is applied.
    """

    side: Side

    def __init__(self, plan: Plan, graph: Graph, layers: int) -> None:
        super().__init__()
        self.graph, self.layers = graph, layers
        self.nodes = embedding_table(graph.shape[0], plan.width)

    def forward(self) -> Tensor:
        """Vectors of the side."""
        return propagate(self.graph, self.nodes, self.layers, readout="last")


@register_part("branch", "user_hypergraph")
class UserHypergraph(Branch):
    """Users tied by the items they share; see `graphrec.graphs.user_hypergraph`.

    Args:
        plan: the model so far.
        layers: how often it is applied.
    """

    side = "user"

    def __init__(self, plan: Plan, *, layers: Depth = 2) -> None:
        super().__init__(plan, plan.train.graph(user_hypergraph), layers)


@register_part("branch", "item_hypergraph")
class ItemHypergraph(Branch):
    """Items tied by the neighbours they share; see `graphrec.graphs.item_hypergraph`.

    Args:
        plan: the model so far.
        layers: how often it is applied.
        k: neighbours per item and modality, the item itself included.
        norm: `clique` or `laplacian`.
        ties: order of equal cosines, `hash` or `index`.
    """

    side = "item"
    owns_items: ClassVar[bool] = True

    def __init__(
        self,
        plan: Plan,
        *,
        layers: Depth = 2,
        k: Size = 5,
        norm: HypergraphNorm = "clique",
        ties: Ties = "hash",
    ) -> None:
        require_features(plan.train, "branch 'item_hypergraph'")
        super().__init__(plan, plan.train.graph(item_hypergraph, k, norm, ties), layers)
        alike = dict.fromkeys(plan.train.features, 1.0)
        self.neighbourhood = neighbourhood(k, alike, ties)
