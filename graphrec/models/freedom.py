"""FREEDOM: a frozen item-item graph and a denoised user-item graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from graphrec.data.sampling import Batch
from graphrec.data.train_view import TrainView
from graphrec.graphs.bipartite import DegreePruner, user_item_graph
from graphrec.graphs.knn import (
    KnnNorm,
    Ties,
    Weights,
    mixed_knn_graph,
    modality_shares,
)
from graphrec.models.base import (
    Recommender,
    embedding_table,
    neighbourhood,
    node_rows,
    require_features,
)
from graphrec.models.options import Depth, Share, Size, Variant, Weight, chosen
from graphrec.nn.losses import bpr_loss
from graphrec.nn.projection import FeatureProjection
from graphrec.nn.propagation import propagate
from graphrec.nn.similarity import pair_scores


class FREEDOM(Recommender):
    r"""FREEDOM.

    .. math::
        H = S^{n_{ii}} E_i, \quad E^{l+1} = \hat{A}' E^l, \quad Z = \text{mean}_l E^l

        s(u,i) = z_u (z_i + h_i), \quad
        L = \text{BPR}(s) + \lambda \sum_m \text{BPR}(z_u t^m_i), \quad t^m = X_m W_m + b_m

    S is the frozen mixture of the modalities' kNN graphs. In training :math:`\hat{A}'` is the
    user-item graph pruned by degree once per epoch; inference uses the whole graph, by design.
    There is no L2 term. A pair of which an item lacks modality m is left out of its content loss.

    Trap: `drop_ratio` is the share of edges *dropped*; the published values are 0.8 and 0.9.

    Source: A Tale of Two Graphs: Freezing and Denoising Graph Structures for Multimodal
    Recommendation, 2023, arXiv 2211.06924.

    Args:
        train: training interactions and at least one modality.
        dim: d, length of the embeddings.
        layers: propagation layers on the user-item graph.
        item_layers: n_ii, on the item-item graph.
        k: neighbours per item, the item itself included.
        drop_ratio: rho. The published settings are a grid; 0.8 was chosen without looking at
            data.
        content_weight: lambda. The published settings are a grid; 1e-3 was chosen without looking
            at data.
        modality_weights: share of each modality in S, by name; None: images share 0.1, the
            others 0.9.
        variant: `faithful` fine-tunes the features X_m in the content loss (norm rowdeg_both),
            `corrected` freezes them and uses the symmetric norm.
        freeze_features: keep X_m as given; None: as the variant says.
        knn_norm: of each kNN graph, see `graphrec.graphs.knn_graph`; None: as the variant says.
        knn_weights: `binary` or `cosine`.
        ties: order of equal cosines, `hash` or `index`.

    Raises:
        InputError: the training data have no features.

    Example:
        >>> features = {"text": torch.eye(3)}
        >>> train = TrainView.from_arrays([0, 1], [0, 1], n_users=2, n_items=3, features=features)
        >>> FREEDOM(train, dim=4, k=2, drop_ratio=0.5).graph
        Graph(5 x 5, 4 edges, density 0.16, symmetric)
    """

    reference: ClassVar[Mapping[str, Any] | None] = {"variant": "faithful"}

    def __init__(
        self,
        train: TrainView,
        *,
        dim: Size = 64,
        layers: Depth = 2,
        item_layers: Depth = 1,
        k: Size = 10,
        drop_ratio: Share = 0.8,
        content_weight: Weight = 1e-3,
        modality_weights: Mapping[str, float] | None = None,
        variant: Variant = "faithful",
        freeze_features: bool | None = None,
        knn_norm: KnnNorm | None = None,
        knn_weights: Weights = "binary",
        ties: Ties = "hash",
    ) -> None:
        super().__init__(train)
        require_features(train, "FREEDOM")
        self.layers, self.item_layers, self.content_weight = layers, item_layers, content_weight
        norm: KnnNorm = chosen(knn_norm, variant, faithful="rowdeg_both", corrected="symmetric")
        freeze = chosen(freeze_features, variant, faithful=False, corrected=True)

        shares = modality_shares(train, modality_weights)
        self.neighbourhood = neighbourhood(k, shares, ties)
        self.graph = train.graph(user_item_graph)
        self.item_graph = train.graph(
            mixed_knn_graph, shares, k=k, weights=knn_weights, norm=norm, ties=ties
        )
        self.pruner = DegreePruner(train, drop_ratio)
        self.pruned = self.graph

        self.users = embedding_table(self.n_users, dim)
        self.items = embedding_table(self.n_items, dim)
        projected = train.features if content_weight else {}
        self.modalities = tuple(projected)
        self.projections = nn.ModuleList(
            FeatureProjection(features, dim, freeze=freeze) for features in projected.values()
        )

    def begin_epoch(self, epoch: int) -> None:
        """Draw this epoch's pruned graph."""
        if self.pruner.n_kept < len(self.pruner.users):
            self.pruned = self.pruner.sample(self.noise("pruning", epoch))

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """BPR on graph vectors and one BPR per modality on projected content."""
        rows, users, positives, negatives = node_rows(batch, self.n_users)
        z = propagate(self.pruned, torch.cat([self.users, self.items]), self.layers, rows)
        items = rows[rows >= self.n_users] - self.n_users
        first_item = len(rows) - len(items)
        h = propagate(self.item_graph, self.items, self.item_layers, items, readout="last")
        item = z[first_item:] + h  # [distinct items, d]
        user = z[users].unsqueeze(1)  # [B, 1, d]
        places = (positives.unsqueeze(1) - first_item, negatives - first_item)
        terms = {"bpr": _bpr(user, item, *places)}
        for name, project in zip(self.modalities, self.projections):
            present = project.present[items]  # type: ignore[index]
            content = _bpr(user, project(items), *places, present)
            terms[f"content_{name}"] = self.content_weight * content
        return terms

    def vectors(self) -> tuple[Tensor, Tensor]:
        """Users, and items with their item-graph part, on the whole graph."""
        z = propagate(self.graph, torch.cat([self.users, self.items]), self.layers)
        h = propagate(self.item_graph, self.items, self.item_layers, readout="last")
        return z[: self.n_users], z[self.n_users :] + h


def _bpr(
    user: Tensor,
    items: Tensor,
    positives: Tensor,
    negatives: Tensor,
    present: Tensor | None = None,
) -> Tensor:
    mask = None if present is None else present[positives] & present[negatives]
    better, worse = (pair_scores(user, items[places]) for places in (positives, negatives))
    return bpr_loss(better, worse, mask)
