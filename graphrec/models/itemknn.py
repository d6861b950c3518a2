"""ItemKNN: items bought together."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor

from graphrec.data.train_view import TrainView
from graphrec.models.base import Recommender
from graphrec.models.options import Size, Weight


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
        self.similarities = _neighbours(self.histories, shrinkage, k)

    def score(self, users: Tensor, items: Tensor | None = None) -> Tensor:
        """Sums of similarities, float32 [B, I] or [B, n]."""
        scores = self.histories[users.cpu().numpy()] @ self.similarities
        dense = torch.from_numpy(scores.toarray().astype(np.float32)).to(self.device)
        return dense if items is None else dense[:, items]


def _neighbours(histories: sp.csr_array, shrinkage: Weight, k: int) -> sp.csr_array:
    counts = np.asarray(histories.sum(axis=0)).ravel()
    transposed = sp.csr_array(histories.T)
    blocks = []
    for start in range(0, len(counts), 1024):
        together = sp.csr_array(transposed[start : start + 1024] @ histories)
        blocks.append(
            _top_rows(together, counts[start : start + 1024], counts, shrinkage, k, start)
        )
    return sp.csr_array(sp.vstack(blocks, format="csr"))


def _top_rows(
    together: sp.csr_array,
    own: NDArray[np.float64],
    other: NDArray[np.float64],
    shrinkage: Weight,
    k: int,
    first: int,
) -> sp.csr_array:
    rows = np.repeat(np.arange(together.shape[0]), np.diff(together.indptr))
    columns = together.indices
    similarity = together.data / (np.sqrt(own[rows] * other[columns]) + shrinkage)
    keep = columns != rows + first
    rows, columns, similarity = rows[keep], columns[keep], similarity[keep]
    order = np.lexsort((columns, -similarity, rows))
    rows, columns, similarity = rows[order], columns[order], similarity[order]
    starts = np.searchsorted(rows, np.arange(together.shape[0]))
    best = np.arange(len(rows)) - starts[rows] < k
    data = (similarity[best], (rows[best], columns[best]))
    return sp.csr_array(data, shape=together.shape)
