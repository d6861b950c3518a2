"""VBPR: matrix factorisation whose items have a free part and a part read from their content."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from graphrec.data.sampling import Batch
from graphrec.data.train_view import Features, TrainView
from graphrec.models.base import Recommender, embedding_table, require_features
from graphrec.models.options import Regulariser, Size, Variant, Weight, chosen
from graphrec.nn.losses import bpr_loss, embedding_norm
from graphrec.nn.projection import JoinedFeatures
from graphrec.nn.ranking import SeenItems
from graphrec.nn.similarity import pair_scores


class VBPR(Recommender):
    r"""VBPR on any number of modalities.

    .. math::
        x_i = [x^1_i ; x^2_i ; \dots], \quad f_i = W x_i + b, \quad v_i = [q_i ; f_i], \quad
        s(u,i) = p_u v_i

        L = \text{BPR}(s) + \lambda \, \Omega(p_u, v_{i}, v_{j})

    Features stay as they are given; only W, b and the tables p (2d wide) and q are learnt. An
    item without any modality has f_i = 0. b shifts all scores of a user alike and so reaches the
    regulariser only.

    Trap: the published figures are of features that are not normalised, where a modality of long
    vectors decides f_i; `normalise_features` levels them.

    Source: VBPR: Visual Bayesian Personalized Ranking from Implicit Feedback, 2016,
    arXiv 1510.01784, in the form the MMRec toolbox gave it.

    Args:
        train: training interactions and at least one modality.
        dim: d, length of q_i and of f_i.
        reg_weight: lambda. The published settings are a grid; 1e-2 was chosen without looking
            at data.
        variant: `faithful` to the MMRec code (norm, features as given), or `corrected` (l2, on W
            too, features of each modality normalised).
        reg: `norm` or `l2`; None: as the variant says.
        normalise_features: scale the rows of each modality to length 1; None: as the variant
            says.
        item_bias: learn beta_i, as the paper has it.
        content_bias: learn beta' and add beta' x_i to the scores, as the paper has it.

    Raises:
        InputError: the training data have no features.

    Example:
        >>> features = {"text": torch.eye(3)}
        >>> train = TrainView.from_arrays([0, 1], [0, 1], n_users=2, n_items=3, features=features)
        >>> VBPR(train, dim=4).embeddings().items.shape
        torch.Size([3, 8])
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
        normalise_features: bool | None = None,
        item_bias: bool = False,
        content_bias: bool = False,
    ) -> None:
        super().__init__(train)
        require_features(train, "VBPR")
        self.reg_weight = reg_weight
        self.reg: Regulariser = chosen(reg, variant, faithful="norm", corrected="l2")
        self.reg_projection = variant == "corrected"
        unit = chosen(normalise_features, variant, faithful=False, corrected=True)

        self.users = embedding_table(self.n_users, 2 * dim)
        self.items = embedding_table(self.n_items, dim)
        self.features = JoinedFeatures(train.features.values(), transform="l2" if unit else "none")
        self.projection = nn.Linear(self.features.dim, dim)
        nn.init.xavier_normal_(self.projection.weight)
        nn.init.zeros_(self.projection.bias)
        self.bias = nn.Parameter(torch.zeros(self.n_items)) if item_bias else None
        self.content_bias = nn.Parameter(torch.zeros(self.features.dim)) if content_bias else None

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """BPR and the regulariser; only the items of the batch are projected."""
        if batch.negatives is None:
            raise ValueError("VBPR needs negatives in the batch")
        members = torch.cat([batch.positives, batch.negatives.flatten()])
        distinct, places = torch.unique(members, return_inverse=True)
        positives, negatives = places.split([len(batch), len(members) - len(batch)])
        v, bias = self._items(distinct)  # [distinct, 2d], [distinct]
        user = nn.functional.embedding(batch.users, self.users)
        good = v[positives]
        bad = v[negatives].view(*batch.negatives.shape, -1)
        better = pair_scores(user, good) + bias[positives]
        worse = pair_scores(user.unsqueeze(1), bad) + bias[negatives].view_as(batch.negatives)
        penalty = embedding_norm(user, good, bad, form=self.reg)
        if self.reg_projection:
            penalty = penalty + embedding_norm(self.projection.weight, form=self.reg) * (
                len(self.projection.weight) / len(batch)
            )
        return {"bpr": bpr_loss(better, worse), "reg": self.reg_weight * penalty}

    def vectors(self) -> tuple[Tensor, Tensor]:
        """P and [Q ; F]; with biases, a column of ones and one of biases more."""
        v, bias = self._items(torch.arange(self.n_items, device=self.device))
        if self.bias is None and self.content_bias is None:
            return self.users, v
        ones = self.users.new_ones(self.n_users, 1)
        return torch.cat([self.users, ones], 1), torch.cat([v, bias[:, None]], 1)

    def represent_items(
        self, features: Mapping[str, Features], *, transductive: bool = False
    ) -> Tensor:
        """[0 ; f_i]: what its content says, without a free part."""
        return self.through_content(features, transductive)

    def represent_users(self, histories: SeenItems) -> Tensor:
        """The mean of the items a user had; biases do not depend on the user."""
        users = super().represent_users(histories)
        if self.bias is not None or self.content_bias is not None:
            users[:, -1] = 1.0
        return users

    def _items(self, items: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors v_i and biases of items."""
        x, present = self.features(items)
        content = torch.where(present[:, None], self.projection(x), 0.0)
        v = torch.cat([nn.functional.embedding(items, self.items), content], 1)
        bias = x.new_zeros(len(items))
        if self.bias is not None:
            bias = bias + self.bias[items]
        if self.content_bias is not None:
            bias = bias + x @ self.content_bias
        return v, bias
