"""BPR-MF: matrix factorisation trained to rank positives above negatives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from graphrec.data.sampling import Batch
from graphrec.data.train_view import TrainView
from graphrec.models.base import Recommender, embedding_table
from graphrec.models.options import Init, Regulariser, Size, Variant, Weight, chosen
from graphrec.nn.losses import bpr_loss, embedding_norm
from graphrec.nn.similarity import pair_scores


class BPR(Recommender):
    r"""Matrix factorisation with the BPR loss: the floor for every other model.

    .. math::
        s(u,i) = p_u q_i + b_i, \quad
        L = -\text{mean} \log \sigma(s(u,i) - s(u,j)) + \lambda \, \Omega(P, Q^+, Q^-)

    Source: BPR: Bayesian Personalized Ranking from Implicit Feedback, 2009, arXiv 1205.2618.

    Args:
        train: training interactions.
        dim: d, length of the embeddings.
        reg_weight: lambda. The published settings are a grid; 1e-2 was chosen without looking
            at data.
        variant: `faithful` to the MMRec code (norm), or `corrected` to the paper (l2).
        reg: `norm` (un-squared, a pull of constant size) or `l2`; None: as the variant says.
        init: of both tables.
        item_bias: learn b_i; otherwise popularity is absorbed by the norms.

    Example:
        >>> train = TrainView.from_arrays([0, 1], [0, 1], n_users=2, n_items=3)
        >>> BPR(train, dim=4).score(torch.tensor([0])).shape
        torch.Size([1, 3])
    """

    reference: ClassVar[Mapping[str, Any] | None] = {"variant": "faithful"}

    def __init__(
        self,
        train: TrainView,
        *,
        dim: Size = 64,
        reg_weight: Weight = 1e-2,
        variant: Variant = "faithful",
        reg: Regulariser | None = None,
        init: Init = "xavier_normal",
        item_bias: bool = False,
    ) -> None:
        super().__init__(train)
        self.reg_weight = reg_weight
        self.reg: Regulariser = chosen(reg, variant, faithful="norm", corrected="l2")
        self.users = embedding_table(self.n_users, dim, init=init)
        self.items = embedding_table(self.n_items, dim, init=init)
        self.bias = nn.Parameter(torch.zeros(self.n_items)) if item_bias else None

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """BPR and the regulariser on the rows of the batch."""
        if batch.negatives is None:
            raise ValueError("BPR needs negatives in the batch")
        user = nn.functional.embedding(batch.users, self.users)
        positive = nn.functional.embedding(batch.positives, self.items)
        negative = nn.functional.embedding(batch.negatives, self.items)
        better = pair_scores(user, positive).unsqueeze(1) + self._bias(batch.positives[:, None])
        worse = pair_scores(user.unsqueeze(1), negative) + self._bias(batch.negatives)
        penalty = embedding_norm(user, positive, negative, form=self.reg)
        return {"bpr": bpr_loss(better, worse), "reg": self.reg_weight * penalty}

    def vectors(self) -> tuple[Tensor, Tensor]:
        """P and Q; with a bias, one column of ones and one of biases more."""
        if self.bias is None:
            return self.users, self.items
        ones = self.users.new_ones(self.n_users, 1)
        return torch.cat([self.users, ones], 1), torch.cat([self.items, self.bias[:, None]], 1)

    def _bias(self, items: Tensor) -> Tensor | float:
        return 0.0 if self.bias is None else self.bias[items]
