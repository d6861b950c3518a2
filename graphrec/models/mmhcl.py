"""MMHCL: hypergraphs of users and of items beside the user-item graph, tied by contrast."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from graphrec.data.sampling import Batch, Sampling
from graphrec.data.train_view import TrainView
from graphrec.graphs.bipartite import user_item_graph
from graphrec.graphs.hypergraph import HypergraphNorm, item_hypergraph, user_hypergraph
from graphrec.graphs.knn import Ties
from graphrec.models.base import Recommender, embedding_table, neighbourhood, require_features
from graphrec.models.options import Depth, Nodes, Size, Temperature, Weight
from graphrec.nn.contrast import node_contrast
from graphrec.nn.losses import bpr_loss, embedding_norm
from graphrec.nn.ngcf import NGCFPropagation
from graphrec.nn.propagation import propagate
from graphrec.nn.similarity import normalised, pair_scores

Backbone = Literal["lightgcn", "ngcf", "mf"]

_NGCF: Mapping[str, Any] = {"dropout": 0.1, "slope": 0.01, "start": "linear"}


class MMHCL(Recommender):
    r"""MMHCL.

    .. math::
        u' = \hat{M}^{L_u} P_u, \quad i' = \hat{S}^{L_i} P_i, \quad
        Z = \text{mean}_l \hat{A}^l [E_u; E_i], \quad
        \text{user} = Z_u + u'/\|u'\|, \quad \text{item} = Z_i + i'/\|i'\|

        L = \text{BPR} + \lambda \, \Omega + \gamma_u \, CL(\text{user}, u')
        + \gamma_i \, CL(\text{item}, i')

    Four free tables; features only shape the item hypergraph. CL is
    `graphrec.nn.node_contrast`, over all nodes. A side whose weight gamma is 0 has no
    hypergraph.

    Traps: CL contrasts a fused vector with a part of itself, so that some agreement is built in;
    the published figures keep a test result whenever either validation metric improves.

    Source: MMHCL: Multi-Modal Hypergraph Contrastive Learning for Recommendation, 2025,
    arXiv 2504.16576; defaults are those of its Sports log.

    Args:
        train: training interactions and at least one modality.
        dim: d.
        layers: of the backbone; `mf` has none.
        user_layers: L_u.
        item_layers: L_i.
        k: neighbours per item and modality, the item itself included.
        reg_weight: lambda.
        user_contrast: gamma_u.
        item_contrast: gamma_i.
        temperature: tau.
        backbone: `lightgcn`, `ngcf` (mean of its layers), or `mf`, no propagation.
        anchor: what is contrasted with a hypergraph's vectors: the `fused` ones, as in the code,
            or the `first_order` Z, as the abstract reads.
        hypergraph_norm: see `graphrec.graphs.item_hypergraph`.
        contrast_nodes: contrast this many nodes of each side, at least 2, drawn anew at every
            step; None: all, as published.
        ties: order of equal cosines, `hash` or `index`.

    Raises:
        InputError: the training data have no features and `item_contrast` is above 0.

    Example:
        >>> features = {"text": torch.eye(3)}
        >>> train = TrainView.from_arrays([0, 1], [0, 1], n_users=2, n_items=3, features=features)
        >>> MMHCL(train, dim=4, k=2).embeddings().items.shape
        torch.Size([3, 4])
    """

    reference: ClassVar[Mapping[str, Any] | None] = {
        "anchor": "fused",
        "hypergraph_norm": "clique",
        "contrast_nodes": None,
    }
    sampling: ClassVar[Sampling] = Sampling(epoch="users", pool="all")
    training_defaults: ClassVar[Mapping[str, Any]] = {
        "lr": 1e-4,
        "lr_decay": 0.96,
        "lr_decay_epochs": 50,
        "batch_size": 1024,
        "eval_every": 5,
        "patience": 5,
    }

    def __init__(
        self,
        train: TrainView,
        *,
        dim: Size = 64,
        layers: Depth = 2,
        user_layers: Depth = 2,
        item_layers: Depth = 2,
        k: Size = 5,
        reg_weight: Weight = 1e-5,
        user_contrast: Weight = 0.3,
        item_contrast: Weight = 0.7,
        temperature: Temperature = 0.5,
        backbone: Backbone = "lightgcn",
        anchor: Literal["fused", "first_order"] = "fused",
        hypergraph_norm: HypergraphNorm = "clique",
        contrast_nodes: Nodes | None = None,
        ties: Ties = "hash",
    ) -> None:
        super().__init__(train)
        if item_contrast:
            require_features(train, "MMHCL with model.item_contrast above 0")
        self.layers = layers if backbone != "mf" else 0
        self.user_layers, self.item_layers = user_layers, item_layers
        self.reg_weight, self.temperature = reg_weight, temperature
        self.user_contrast, self.item_contrast = user_contrast, item_contrast
        alike = dict.fromkeys(train.features, 1.0)
        self.neighbourhood = neighbourhood(k, alike, ties)
        self.anchor, self.contrast_nodes = anchor, contrast_nodes
        self.graph = train.graph(user_item_graph)
        self.user_graph = train.graph(user_hypergraph) if user_contrast else None
        self.item_graph = (
            train.graph(item_hypergraph, k, hypergraph_norm, ties) if item_contrast else None
        )

        self.users = embedding_table(self.n_users, dim)
        self.items = embedding_table(self.n_items, dim)
        self.user_nodes = embedding_table(self.n_users, dim) if user_contrast else None  # P_u
        self.item_nodes = embedding_table(self.n_items, dim) if item_contrast else None  # P_i
        self.ngcf = NGCFPropagation(dim, layers, **_NGCF) if backbone == "ngcf" else None

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """BPR, the regulariser on fused rows, and a contrast for each side."""
        if batch.negatives is None:
            raise ValueError("MMHCL needs negatives in the batch")
        z = self._first_order()
        sides = (z[: self.n_users], z[self.n_users :])
        second = self._second_order()
        users, items = (_fused(first, other) for first, other in zip(sides, second))
        user, good, bad = users[batch.users], items[batch.positives], items[batch.negatives]
        better = pair_scores(user, good)
        worse = pair_scores(user.unsqueeze(1), bad)
        penalty = embedding_norm(user, good, bad, form="l2")
        terms = {"bpr": bpr_loss(better, worse), "reg": self.reg_weight * penalty}
        anchors = (users, items) if self.anchor == "fused" else sides
        weights = {"user": self.user_contrast, "item": self.item_contrast}
        for (name, weight), first, other in zip(weights.items(), anchors, second):
            if other is not None:
                contrast = node_contrast(first, other, self.temperature, nodes=self.contrast_nodes)
                terms[f"contrast_{name}"] = weight * contrast
        return terms

    def vectors(self) -> tuple[Tensor, Tensor]:
        """Fused vectors of users and items."""
        z, (users, items) = self._first_order(), self._second_order()
        return _fused(z[: self.n_users], users), _fused(z[self.n_users :], items)

    def _first_order(self) -> Tensor:
        ego = torch.cat([self.users, self.items])
        if self.ngcf is None:
            return propagate(self.graph, ego, self.layers)
        return self.ngcf(self.graph, ego).view(len(ego), self.layers + 1, -1).mean(1)

    def _second_order(self) -> tuple[Tensor | None, Tensor | None]:
        """Vectors of the hypergraphs, the last layer only."""
        users = items = None
        if self.user_graph is not None and self.user_nodes is not None:
            users = propagate(self.user_graph, self.user_nodes, self.user_layers, readout="last")
        if self.item_graph is not None and self.item_nodes is not None:
            items = propagate(self.item_graph, self.item_nodes, self.item_layers, readout="last")
        return users, items


def _fused(first: Tensor, second: Tensor | None) -> Tensor:
    return first if second is None else first + normalised(second)
