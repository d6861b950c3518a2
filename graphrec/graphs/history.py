"""Users as the mean of their items: the row-normalised history matrix."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch

from graphrec.data.train_view import TrainView
from graphrec.graphs.building import builder
from graphrec.graphs.graph import Graph
from graphrec.graphs.normalise import normalise


@builder(reads=("interactions", "features"))
def history_graph(train: TrainView) -> Graph:
    """D^-1 R over items that have at least one modality, shape [U, I].

    `history_graph(train) @ x` is each user's mean over the training items that have content; a
    user without such an item gets zeros.

    Example:
        >>> features = {"text": torch.eye(3)}
        >>> train = TrainView.from_arrays([0, 0], [0, 2], n_users=1, n_items=3, features=features)
        >>> history_graph(train) @ torch.tensor([[1.0], [2.0], [3.0]])
        tensor([[2.]])
    """
    users, items = train.edges
    masks = [features.present for features in train.features.values()]
    if masks:
        known = torch.stack(masks).any(0).to(items.device)[items]
        users, items = users[known], items[known]
    pairs = (users.cpu().numpy(), items.cpu().numpy())
    shape = (train.n_users, train.n_items)
    matrix = sp.csr_array((np.ones(len(users)), pairs), shape=shape)
    return Graph.from_scipy(normalise(matrix, "row"))
