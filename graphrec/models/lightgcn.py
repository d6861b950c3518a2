"""LightGCN: linear propagation of ID embeddings on the user-item graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from graphrec.data.sampling import Batch
from graphrec.data.train_view import TrainView
from graphrec.graphs.bipartite import user_item_graph
from graphrec.models.base import Recommender, embedding_table, node_rows
from graphrec.models.options import Depth, Init, Regulariser, Size, Variant, Weight, chosen
from graphrec.nn.losses import bpr_loss, embedding_norm
from graphrec.nn.propagation import propagate
from graphrec.nn.similarity import pair_scores


class LightGCN(Recommender):
    r"""LightGCN.

    .. math::
        E^{l+1} = \hat{A} E^l, \quad Z = \frac{1}{L+1} \sum_{l=0}^{L} E^l, \quad s(u,i) = z_u z_i

        L = \text{BPR}(s) + \lambda \, \Omega(E^0_{users}, E^0_{positives}, E^0_{negatives})

    where :math:`\hat{A}` is the symmetric-normalised bipartite graph without self-loops. The
    regulariser :math:`\Omega` acts on layer 0.

    Trap: the un-squared norms of `reg="norm"` and the squared ones of `reg="l2"` need weights
    that differ by orders of magnitude.

    Source: LightGCN: Simplifying and Powering Graph Convolution Network for Recommendation,
    2020, arXiv 2002.02126.

    Args:
        train: training interactions.
        dim: d, length of the embeddings.
        layers: L. The published settings are a grid; 3 was chosen without looking at data.
        reg_weight: lambda. The published settings are a grid; 1e-4 was chosen without looking at
            data.
        variant: `faithful` to the MMRec code (norm, xavier_uniform), or `corrected` to the
            paper (l2, normal).
        reg: `norm` or `l2`; None: as the variant says.
        init: `xavier_uniform` per table, or `normal` (std 0.1); None: as the variant says.

    Example:
        >>> train = TrainView.from_arrays([0, 1], [0, 1], n_users=2, n_items=3)
        >>> LightGCN(train, dim=4).embeddings().items.shape
        torch.Size([3, 4])
    """

    reference: ClassVar[Mapping[str, Any] | None] = {"variant": "faithful"}

    def __init__(
        self,
        train: TrainView,
        *,
        dim: Size = 64,
        layers: Depth = 3,
        reg_weight: Weight = 1e-4,
        variant: Variant = "faithful",
        reg: Regulariser | None = None,
        init: Init | None = None,
    ) -> None:
        super().__init__(train)
        self.layers, self.reg_weight = layers, reg_weight
        self.reg: Regulariser = chosen(reg, variant, faithful="norm", corrected="l2")
        start: Init = chosen(init, variant, faithful="xavier_uniform", corrected="normal")
        self.graph = train.graph(user_item_graph)
        users = embedding_table(self.n_users, dim, init=start)
        items = embedding_table(self.n_items, dim, init=start)
        self.nodes = nn.Parameter(torch.cat([users.data, items.data]))  # E^0 = [E_u; E_i]

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """BPR on propagated rows and the regulariser on their layer 0."""
        rows, users, positives, negatives = node_rows(batch, self.n_users)
        z = propagate(self.graph, self.nodes, self.layers, rows)  # [R, d]
        user = z[users].unsqueeze(1)
        positive = pair_scores(user, z[positives].unsqueeze(1))
        negative = pair_scores(user, z[negatives])
        ego = self.nodes[rows]
        penalty = embedding_norm(ego[users], ego[positives], ego[negatives], form=self.reg)
        return {"bpr": bpr_loss(positive, negative), "reg": self.reg_weight * penalty}

    def vectors(self) -> tuple[Tensor, Tensor]:
        """Z of the users and of the items."""
        z = propagate(self.graph, self.nodes, self.layers)
        return z[: self.n_users], z[self.n_users :]
