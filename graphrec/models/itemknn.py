"""ItemKNN: items bought together."""

from __future__ import annotations

from copy import copy
from typing import ClassVar

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from graphrec.data.train_view import TrainView
from graphrec.graphs.cooccurrence import cooccurring_items
from graphrec.models.base import Recommender
from graphrec.models.options import Size, Weight
from graphrec.nn.ranking import SeenItems


class ItemKNN(Recommender):
    r"""Item-based neighbourhood model.

    .. math::
        c(i,j) = \frac{|U_i \cap U_j|}{\sqrt{|U_i| |U_j|} + h}, \quad
        s(u,i) = \sum_{j \in N_u} c(j,i) \, [i \in \text{top}_k(j)]

    U_i are the users of item i in training, N_u the training items of user u.

    Source: Item-based top-N recommendation algorithms, 2004, doi 10.1145/963770.963776.

    Args:
        train: training interactions.
        shrinkage: h, which damps similarities resting on few users.
        k: neighbours kept per item; ties go to the lower item index.

    Example:
        >>> train = TrainView.from_arrays([0, 0, 1], [0, 1, 0], n_users=2, n_items=3)
        >>> ItemKNN(train, shrinkage=0).score(torch.tensor([1])).numpy().round(4)
        array([[0.    , 0.7071, 0.    ]], dtype=float32)
    """

    factorised: ClassVar[bool] = False
    trainable: ClassVar[bool] = False

    def __init__(self, train: TrainView, *, shrinkage: Weight = 10.0, k: Size = 100) -> None:
        super().__init__(train)
        users, items = (ids.cpu().numpy() for ids in train.edges)
        shape = (train.n_users, train.n_items)
        self.histories = sp.csr_array((np.ones(len(users)), (users, items)), shape=shape)
        self.similarities = cooccurring_items(
            train, k, lambda both, one, other: both / (np.sqrt(one * other) + shrinkage)
        )

    def score(self, users: Tensor, items: Tensor | None = None) -> Tensor:
        """Sums of similarities, float32 [B, I] or [B, n]."""
        scores = self.histories[users.cpu().numpy()] @ self.similarities
        dense = torch.from_numpy(scores.toarray().astype(np.float32)).to(self.device)
        return dense if items is None else dense[:, items]

    def rank_users(self, histories: SeenItems) -> ItemKNN:
        """The same similarities under other histories."""
        indptr, indices = histories.indptr.numpy(), histories.indices.numpy()
        shape = (len(indptr) - 1, self.n_items)
        other = copy(self)
        other.histories = sp.csr_array((np.ones(len(indices)), indices, indptr), shape=shape)
        return other
