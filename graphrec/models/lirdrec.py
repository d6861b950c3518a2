"""LIRDRec: items are functions of their features, users have a table per stream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from graphrec.data.sampling import Batch
from graphrec.data.train_view import Features, TrainView
from graphrec.graphs.bipartite import user_item_graph
from graphrec.graphs.knn import KnnNorm, Ties, mixed_knn_graph, modality_shares
from graphrec.models.base import Recommender, embedding_table, require_features
from graphrec.models.options import Depth, Share, Size, Variant, Weight, chosen
from graphrec.nn.fusion import Copied, ProgressiveWeightCopying
from graphrec.nn.losses import bpr_loss
from graphrec.nn.projection import ContentNetwork, JoinedFeatures, RowTransform
from graphrec.nn.propagation import propagate
from graphrec.nn.similarity import normalised, pair_scores


class LIRDRec(Recommender):
    r"""LIRDRec.

    .. math::
        F^0 = [\, \text{norm}([U_m; \text{MLP}_m X_m]) \,]_m, \quad
        F = \sum_l \hat{A}^l F^0, \quad
        \text{item} = F_i + S^{n} F_i, \quad \text{user} = [A_m F_{u,m}]_m

        L = \text{BPR} + \lambda \, (\text{mean}(\text{user}^2) + \text{mean}(\text{item}^2))

    over the streams m: each modality, and their concatenation after a transform. A are the
    weights of `graphrec.nn.ProgressiveWeightCopying`. Items have no table.

    Traps: an orthonormal transform of rows is absorbed by the layer that follows, so `dct_rows`
    changes the start only; copying probabilities as if they were logits makes all weights equal
    within some fifteen epochs; lambda is of a mean over all entries.

    Source: Learning Item Representations Directly from Multimodal Features for Effective
    Recommendation, 2025, arXiv 2505.04960.

    Args:
        train: training interactions and at least one modality.
        dim: d of each stream.
        layers: n_ui. The published settings are a grid; 2 was chosen without looking at data.
        item_layers: n, on the item-item graph.
        k: neighbours per item, the item itself included.
        hidden: width of the networks.
        reg_weight: lambda. The published settings are a grid; 1e-4 was chosen without looking at
            data.
        decay_weight: w_1 before the first epoch. The published settings are a grid; 0.9 was chosen
            without looking at data.
        modality_weights: share of each modality in S; None: images share 0.1, the others 0.9.
        variant: `faithful` to the authors' code (dct_rows, attention copied), or `corrected`
            (no transform, logits copied).
        transform: of the concatenation: `dct_rows`, an orthonormal DCT-II along each modality's
            row; `none`; or `l2`, rows scaled to length 1; None: as the variant says.
        copied: `attention`, `logits` or `none`; None: as the variant says.
        knn_norm: of each kNN graph, see `graphrec.graphs.knn_graph`.
        ties: order of equal cosines, `hash` or `index`.

    Raises:
        InputError: the training data have no features.

    Example:
        >>> features = {"text": torch.eye(3)}
        >>> train = TrainView.from_arrays([0, 1], [0, 1], n_users=2, n_items=3, features=features)
        >>> LIRDRec(train, dim=4, k=2).embeddings().items.shape
        torch.Size([3, 8])
    """

    reference: ClassVar[Mapping[str, Any] | None] = {"variant": "faithful"}
    training_defaults: ClassVar[Mapping[str, Any]] = {"lr": 1e-4}

    def __init__(
        self,
        train: TrainView,
        *,
        dim: Size = 64,
        layers: Depth = 2,
        item_layers: Depth = 1,
        k: Size = 10,
        hidden: Size = 256,
        reg_weight: Weight = 1e-4,
        decay_weight: Share = 0.9,
        modality_weights: Mapping[str, float] | None = None,
        variant: Variant = "faithful",
        transform: RowTransform | None = None,
        copied: Copied | None = None,
        knn_norm: KnnNorm = "rowdeg_both",
        ties: Ties = "hash",
    ) -> None:
        super().__init__(train)
        require_features(train, "LIRDRec")
        self.layers, self.item_layers, self.reg_weight = layers, item_layers, reg_weight
        form: RowTransform = chosen(transform, variant, faithful="dct_rows", corrected="none")
        copy: Copied = chosen(copied, variant, faithful="attention", corrected="logits")
        shares = modality_shares(train, modality_weights)
        self.graph = train.graph(user_item_graph)
        self.item_graph = train.graph(mixed_knn_graph, shares, k=k, norm=knn_norm, ties=ties)

        given = list(train.features.values())
        joined = JoinedFeatures(given, transform=form)
        tables = [(features.values, features.present) for features in given]
        tables.append((joined.table, joined.present))
        self.streams = nn.ModuleList(
            ContentNetwork(x, present, dim, hidden=hidden) for x, present in tables
        )
        self.users = nn.ParameterList(
            embedding_table(self.n_users, dim, init="xavier_normal") for _ in tables
        )
        self.fusion = ProgressiveWeightCopying(
            self.n_users, len(tables), dim, start=decay_weight, copied=copy
        )

    def begin_epoch(self, epoch: int) -> None:
        """Advance the weights of the streams."""
        self.fusion.begin_epoch(epoch)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """BPR, and the mean square of all users' and items' vectors."""
        if batch.negatives is None:
            raise ValueError("LIRDRec needs negatives in the batch")
        users, items = self.vectors()
        user = users[batch.users]
        better = pair_scores(user, items[batch.positives])
        worse = pair_scores(user.unsqueeze(1), items[batch.negatives])
        penalty = users.square().mean() + items.square().mean()
        return {"bpr": bpr_loss(better, worse), "reg": self.reg_weight * penalty}

    def vectors(self) -> tuple[Tensor, Tensor]:
        """Fused users and items with their neighbours, both [., streams * d]."""
        blocks = [
            normalised(torch.cat([table, stream()]))
            for table, stream in zip(self.users, self.streams)
        ]
        f = propagate(self.graph, torch.cat(blocks, 1), self.layers, readout="sum")
        users = self.fusion(f[: self.n_users].chunk(len(blocks), 1))
        items = f[self.n_users :]
        near = propagate(self.item_graph, items, self.item_layers, readout="last")
        return users, items + near

    def represent_items(
        self, features: Mapping[str, Features], *, transductive: bool = False
    ) -> Tensor:
        """From content and its neighbours, as all items."""
        return self.through_content(features, transductive)
