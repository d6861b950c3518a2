"""CM3: content-only items, spread evenly except where their content is alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from graphrec.data.sampling import Batch
from graphrec.data.train_view import Features, TrainView
from graphrec.graphs.bipartite import user_item_graph
from graphrec.graphs.knn import KnnNorm, Ties, mixed_knn_graph, modality_shares
from graphrec.models.base import Recommender, embedding_table, require_features
from graphrec.models.options import Concentration, Cosine, Depth, Size, Weight, checked_limits
from graphrec.nn.contrast import alignment, calibrated_uniformity, uniformity
from graphrec.nn.fusion import EvalMix, SphericalMixture, UserWeights
from graphrec.nn.projection import ContentNetwork
from graphrec.nn.propagation import propagate
from graphrec.nn.similarity import normalised


class CM3(Recommender):
    r"""CM3.

    .. math::
        \text{mix}_i = \text{slerp}(\text{norm}(W_m x^m_i), p_i), \; p_i \sim \text{Beta}(\alpha,
        \alpha), \quad F = \sum_l \hat{A}^l [\, \text{norm}([U_m; c_m]) \,]_m, \quad
        \text{item} = F_i + S^n F_i, \quad \text{user} = [\text{softmax}(\theta_u)_m F_{u,m}]_m

        L = \text{align}(\hat u, \hat i^+) + \gamma / 2 \, (\text{uniformity}(\hat u)
        + \text{calibrated}(\hat i^-, \text{mix}^-))

    over the streams m: each modality's network c_m, and the mixture. Hats are unit rows; scores
    take the rows as they are, so that an item's length counts. Items have no table.

    Traps: p is drawn anew for every item at every step, and evaluation takes p = 1/2 unless
    `eval_mix` says otherwise; the uniformity of items is over the batch's negatives; gamma is
    halved.

    Source: CM3: Calibrating Multimodal Recommendation, 2025, arXiv 2508.01226.

    Args:
        train: training interactions and at least one modality.
        dim: d of each stream.
        layers: n_ui. The published settings are a grid; 3 was chosen without looking at data.
        item_layers: n, on the item-item graph.
        k: neighbours per item, the item itself included.
        hidden: width of the networks.
        gamma: weight of the uniformities. The published settings are a grid; 0.5 was chosen without
            looking at data.
        alpha: of the Beta distribution. The published settings are a grid; 0.5 was chosen without
            looking at data.
        s_min: least similarity that calibrates.
        s_max: greatest. The published settings are a grid; 1 was chosen without looking at data.
        uniform_items: spread the batch's `negatives`, as the code does, or its `positives`.
        eval_mix: `mean`, p = 1/2; `last`, the draw of the last training step, as the code has it;
            or `sample`, one draw fixed by the seed.
        modality_weights: share of each modality in S; None: images share 0.1, the others 0.9.
        knn_norm: of each kNN graph, see `graphrec.graphs.knn_graph`.
        ties: order of equal cosines, `hash` or `index`.

    Raises:
        InputError: the training data have no features.

    Example:
        >>> features = {"text": torch.eye(3)}
        >>> train = TrainView.from_arrays([0, 1], [0, 1], n_users=2, n_items=3, features=features)
        >>> CM3(train, dim=4, k=2).embeddings().items.shape
        torch.Size([3, 8])
    """

    reference: ClassVar[Mapping[str, Any] | None] = {"eval_mix": "last"}
    training_defaults: ClassVar[Mapping[str, Any]] = {"patience": 10}

    def __init__(
        self,
        train: TrainView,
        *,
        dim: Size = 64,
        layers: Depth = 3,
        item_layers: Depth = 1,
        k: Size = 10,
        hidden: Size = 256,
        gamma: Weight = 0.5,
        alpha: Concentration = 0.5,
        s_min: Cosine = 0.0,
        s_max: Cosine = 1.0,
        uniform_items: Literal["negatives", "positives"] = "negatives",
        eval_mix: EvalMix = "mean",
        modality_weights: Mapping[str, float] | None = None,
        knn_norm: KnnNorm = "rowdeg_both",
        ties: Ties = "hash",
    ) -> None:
        super().__init__(train)
        require_features(train, "CM3")
        self.layers, self.item_layers = layers, item_layers
        self.gamma = gamma
        self.similarity = checked_limits(s_min, s_max, "model.s_min and model.s_max")
        self.uniform_items, self.eval_mix = uniform_items, eval_mix
        shares = modality_shares(train, modality_weights)
        self.graph = train.graph(user_item_graph)
        self.item_graph = train.graph(mixed_knn_graph, shares, k=k, norm=knn_norm, ties=ties)

        given = list(train.features.values())
        self.streams = nn.ModuleList(
            ContentNetwork(features.values, features.present, dim, hidden=hidden)
            for features in given
        )
        self.mixture = SphericalMixture(given, dim, alpha)
        blocks = len(given) + 1
        self.users = nn.ParameterList(
            embedding_table(self.n_users, dim, init="xavier_normal") for _ in range(blocks)
        )
        self.preferences = UserWeights(self.n_users, blocks)  # theta

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Alignment, and the uniformity of users and, calibrated, of items."""
        if batch.negatives is None:
            raise ValueError("CM3 needs negatives in the batch")
        mix = self.mixture(self.mixture.draw())
        users, items = self._combined(mix)
        user = normalised(users[batch.users])
        positive = normalised(items[batch.positives])
        spread = batch.negatives.flatten()
        if self.uniform_items == "positives":
            spread = batch.positives
        low, high = self.similarity
        apart = calibrated_uniformity(normalised(items[spread]), mix[spread], low=low, high=high)
        half = self.gamma / 2
        return {
            "align": alignment(user, positive),
            "uniform_users": half * uniformity(user),
            "uniform_items": half * apart,
        }

    def vectors(self) -> tuple[Tensor, Tensor]:
        """Users and items as scored: not normalised."""
        return self._combined(self.mixture(self.mixture.place(self.eval_mix, self.seed)))

    def represent_items(
        self, features: Mapping[str, Features], *, transductive: bool = False
    ) -> Tensor:
        """From content and its neighbours, as all items."""
        return self.through_content(features, transductive)

    def _combined(self, mix: Tensor) -> tuple[Tensor, Tensor]:
        contents = [*(stream() for stream in self.streams), mix]
        blocks = [
            normalised(torch.cat([table, content])) for table, content in zip(self.users, contents)
        ]
        f = propagate(self.graph, torch.cat(blocks, 1), self.layers, readout="sum")
        users = self.preferences(f[: self.n_users].chunk(len(blocks), 1))
        items = f[self.n_users :]
        near = propagate(self.item_graph, items, self.item_layers, readout="last")
        return users, items + near
