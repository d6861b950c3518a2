"""Propagation on the user-item graph."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from graphrec.graphs.bipartite import (
    Adjacency,
    DegreePruner,
    user_item_adjacency,
    user_item_graph,
)
from graphrec.models.options import Depth, Share
from graphrec.models.parts.base import Noise, Part, Plan
from graphrec.models.parts.registry import register_part
from graphrec.nn.ngcf import NGCFPropagation
from graphrec.nn.propagation import LayerWeights, propagate


class Propagation(Part):
    """Base: [U + I, width] to [U + I, depth * width], layer by layer where depth is above 1.

    Args:
        plan: the model so far.
    """

    depth = 1

    def forward(self, x: Tensor, learning: bool) -> Tensor:
        """Propagated vectors; `learning` tells a training step from an evaluation."""
        raise NotImplementedError


@register_part("propagation", "none")
class NoPropagation(Propagation):
    """Vectors as they are.

    Args:
        plan: the model so far.
    """

    def __init__(self, plan: Plan) -> None:
        super().__init__()

    def forward(self, x: Tensor, learning: bool) -> Tensor:
        """The input."""
        return x


@register_part("propagation", "lightgcn")
class LightGCNPropagation(Propagation):
    """Linear propagation, the layers combined.

    Args:
        plan: the model so far.
        layers: how many.
        readout: `mean`, `sum` or `last` of the layers, or `learned` weights.
        drop_ratio: share of edges dropped anew in each epoch, by degree, while learning.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        layers: Depth = 2,
        readout: Literal["mean", "sum", "last", "learned"] = "mean",
        drop_ratio: Share = 0.0,
    ) -> None:
        super().__init__()
        self.layers, self.readout = layers, readout
        self.graph = plan.train.graph(user_item_graph)
        self.pruner = DegreePruner(plan.train, drop_ratio)
        self.pruned = self.graph
        self.weights = LayerWeights(layers) if readout == "learned" else None

    def begin_epoch(self, epoch: int, noise: Noise) -> None:
        """Draw this epoch's pruned graph."""
        if self.pruner.n_kept < len(self.pruner.users):
            self.pruned = self.pruner.sample(noise("pruning", epoch))

    def forward(self, x: Tensor, learning: bool) -> Tensor:
        """Z, on the pruned graph while learning."""
        graph = self.pruned if learning else self.graph
        if self.weights is not None:
            z: Tensor = self.weights(graph, x)
            return z
        return propagate(graph, x, self.layers, readout=self.readout)  # type: ignore[arg-type]


@register_part("propagation", "ngcf")
class NGCFStage(Propagation):
    """Propagation with weights, affinities and activations; see `graphrec.nn.NGCFPropagation`.

    Args:
        plan: the model so far.
        layers: how many.
        readout: layers side by side (`concat`), as published, or their `mean`.
        adjacency: see `graphrec.graphs.user_item_adjacency`.
        activations: 1 or 2.
        bias: learn biases.
        dropout: share of a layer's elements set to zero while learning.
        node_dropout: share of the graph's entries left out while learning.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        layers: Depth = 2,
        readout: Literal["concat", "mean"] = "concat",
        adjacency: Adjacency = "norm",
        activations: Literal[1, 2] = 2,
        bias: bool = True,
        dropout: Share = 0.0,
        node_dropout: Share = 0.0,
    ) -> None:
        super().__init__()
        self.layers, self.readout = layers, readout
        self.depth = layers + 1 if readout == "concat" else 1
        self.graph = plan.train.graph(user_item_adjacency, adjacency)
        self.ngcf = NGCFPropagation(
            plan.dim * len(plan.blocks),
            layers,
            activations=activations,
            bias=bias,
            self_loop=adjacency == "symmetric",
            dropout=dropout,
            node_dropout=node_dropout,
        )

    def forward(self, x: Tensor, learning: bool) -> Tensor:
        """All layers, or their mean."""
        z: Tensor = self.ngcf(self.graph, x)
        if self.readout == "concat":
            return z
        return z.view(len(x), self.layers + 1, -1).mean(1)
