"""Hypergraphs: users who share items, items that share multimodal neighbours."""

from __future__ import annotations

from typing import Literal

import numpy as np
import scipy.sparse as sp

from graphrec.data.train_view import TrainView
from graphrec.graphs.building import builder
from graphrec.graphs.graph import Graph
from graphrec.graphs.knn import Ties, check_k, cosine_neighbours
from graphrec.graphs.normalise import inverse_power, normalise

HypergraphNorm = Literal["clique", "laplacian"]


@builder(reads=("interactions",))
def user_hypergraph(train: TrainView) -> Graph:
    r"""Users tied by the items they share.

    M = R R^T with a zero diagonal, rows divided by their sums: M_uv counts the training items
    that u and v share. A user who shares none has an empty row.

    Returns:
        A graph of shape [U, U], rows summing to 1.

    Source: MMHCL, 2025, arXiv 2504.16576.

    Example:
        >>> train = TrainView.from_arrays([0, 1, 2], [0, 0, 1], n_users=3, n_items=2)
        >>> user_hypergraph(train).to_dense()
        tensor([[0., 1., 0.],
                [1., 0., 0.],
                [0., 0., 0.]])
    """
    users, items = (part.cpu().numpy() for part in train.edges)
    shape = (train.n_users, train.n_items)
    r = sp.csr_array((np.ones(len(users), dtype=np.float32), (users, items)), shape=shape)
    shared = sp.csr_array(r @ r.T)
    shared = sp.csr_array(shared - sp.dia_array((shared.diagonal()[None], [0]), shared.shape))
    return Graph.from_scipy(normalise(shared, "row"))


@builder(reads=("features",))
def item_hypergraph(
    train: TrainView, k: int = 5, norm: HypergraphNorm = "clique", ties: Ties = "hash"
) -> Graph:
    r"""Items tied by the neighbours they share, over all modalities.

    H = [T_1 | T_2 | ...] with T_m the kNN matrix of modality m (self included, 1 for each
    neighbour of positive cosine, else the cosine): a hyperedge holds the items that have one
    item among their nearest.

    - `"clique"`: D^-1/2 H H^T D^-1/2 with D the row sums of H H^T, as the authors compute it;
      hyperedges of many items weigh most
    - `"laplacian"`: D_v^-1/2 H D_e^-1 H^T D_v^-1/2 with the degrees of items and hyperedges

    Returns:
        A symmetric graph of shape [I, I]; an item without any modality has an empty row.

    Sources: MMHCL, 2025, arXiv 2504.16576; Learning with Hypergraphs, 2006 (`"laplacian"`).

    Raises:
        InputError: k is above the number of items.
    """
    check_k(k, train.n_items)
    h = sp.hstack([_incidence(train, name, k, ties) for name in train.features], format="csr")
    if norm == "clique":
        return Graph.from_scipy(normalise(h @ h.T, "symmetric"), symmetric=True)
    items = inverse_power(np.abs(h).sum(axis=1), 0.5)
    edges = inverse_power(np.abs(h).sum(axis=0), 0.5)
    scaled = sp.dia_array((items[None], [0]), (len(items), len(items))) @ h
    half = scaled @ sp.dia_array((edges[None], [0]), (len(edges), len(edges)))
    return Graph.from_scipy(half @ half.T, symmetric=True)


def _incidence(train: TrainView, modality: str, k: int, ties: Ties) -> sp.csr_array:
    features = train.features[modality]
    neighbours, cosines = cosine_neighbours(features.values, features.present, k, ties=ties)
    found = neighbours >= 0
    rows, _ = found.nonzero(as_tuple=True)
    values = cosines[found]
    values[values > 0] = 1.0
    places = (rows.numpy(), neighbours[found].numpy())
    return sp.csr_array((values.numpy(), places), shape=(train.n_items, train.n_items))
