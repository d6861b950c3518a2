"""The user-item graph, whole or pruned by degree."""

from __future__ import annotations

from typing import Literal

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from graphrec.data.train_view import TrainView
from graphrec.graphs.building import builder
from graphrec.graphs.graph import Graph
from graphrec.graphs.normalise import normalise
from modalities._base.errors import InputError

Adjacency = Literal["norm", "ngcf", "gcmc", "plain", "symmetric"]


@builder(reads=("interactions",))
def user_item_graph(train: TrainView) -> Graph:
    r"""The symmetric-normalised bipartite graph of the training interactions.

    A = [[0, R], [R^T, 0]] with binary R (repeated interactions count once) and
    Â = D^-1/2 A D^-1/2, without self-loops. Nodes are the users, then the items; a node without
    edges has an empty row.

    Returns:
        A symmetric graph of shape [U + I, U + I].

    Source: LightGCN, 2020, arXiv 2002.02126.

    Example:
        >>> train = TrainView.from_arrays([0, 0, 1], [0, 1, 1], n_users=2, n_items=2)
        >>> user_item_graph(train).to_dense()[0]
        tensor([0.0000, 0.0000, 0.7071, 0.5000])
    """
    users, items = train.edges
    return bipartite_graph(users, items, train.n_users, train.n_items)


def bipartite_graph(users: Tensor, items: Tensor, n_users: int, n_items: int) -> Graph:
    """Â of distinct edges (users[e], items[e]); int64 tensors [E], ordered by user, then item."""
    user_degree = torch.bincount(users, minlength=n_users)
    item_degree = torch.bincount(items, minlength=n_items)
    weight = user_degree[users].double().rsqrt() * item_degree[items].double().rsqrt()
    by_item = torch.argsort(items, stable=True)
    indptr = torch.zeros(n_users + n_items + 1, dtype=torch.long, device=users.device)
    torch.cumsum(torch.cat([user_degree, item_degree]), 0, out=indptr[1:])
    index = torch.int32 if 2 * len(users) < 2**31 else torch.int64
    return Graph(
        indptr=indptr.to(index),
        indices=torch.cat([items + n_users, users[by_item]]).to(index),
        values=torch.cat([weight, weight[by_item]]).float(),
        shape=(n_users + n_items, n_users + n_items),
        symmetric=True,
    )


@builder(reads=("interactions",))
def user_item_adjacency(train: TrainView, adjacency: Adjacency = "norm") -> Graph:
    r"""The bipartite graph under the normalisations that NGCF's code offers.

    With binary A = [[0, R], [R^T, 0]] and its degrees D

    - `"norm"`: (D + I)^-1 (A + I), the mean over a node and its neighbours
    - `"ngcf"`: D^-1 A + I
    - `"gcmc"`: D^-1 A
    - `"plain"`: A
    - `"symmetric"`: D^-1/2 A D^-1/2, as the paper has it; see `user_item_graph`

    Source: Neural Graph Collaborative Filtering, 2019, arXiv 1905.08108.

    Example:
        >>> train = TrainView.from_arrays([0, 0], [0, 1], n_users=1, n_items=2)
        >>> user_item_adjacency(train, "norm").to_dense()[0]
        tensor([0.3333, 0.3333, 0.3333])
    """
    if adjacency == "symmetric":
        return user_item_graph(train)
    users, items = (part.cpu().numpy() for part in train.edges)
    n = train.n_users + train.n_items
    rows = np.concatenate([users, items + train.n_users])
    columns = np.concatenate([items + train.n_users, users])
    matrix = sp.csr_array((np.ones(len(rows)), (rows, columns)), shape=(n, n))
    itself = sp.eye_array(n, format="csr")
    made = {
        "norm": lambda: normalise(matrix + itself, "row"),
        "ngcf": lambda: normalise(matrix, "row") + itself,
        "gcmc": lambda: normalise(matrix, "row"),
        "plain": lambda: matrix,
    }
    return Graph.from_scipy(made[adjacency](), symmetric=adjacency == "plain")


def _largest_ratio(edges: int) -> float:
    """The largest share to drop that keeps an edge, rounded down.

    Example:
        >>> _largest_ratio(420), _largest_ratio(10), _largest_ratio(1)
        (0.9976, 0.899, 0.0)
    """
    digits = len(str(edges)) + 1
    steps = 10**digits * (edges - 1) // edges
    while int(edges * (1 - steps / 10**digits)) < 1:
        steps -= 1
    return steps / 10**digits


class DegreePruner:
    r"""Keeps a share of the edges, preferring those between nodes of low degree.

    Edge e = (u, i) is drawn without replacement with weight p_e = 1 / sqrt(d_u d_i), the degrees
    of the whole graph. The floor(E (1 - ratio)) edges kept are normalised by their own degrees.

    Args:
        train: the training interactions.
        ratio: share of edges dropped, in [0, 1); 0 keeps the whole graph.

    Raises:
        InputError: no edge would be left.

    Source: FREEDOM, "A Tale of Two Graphs", 2023, arXiv 2211.06924.

    Example:
        >>> train = TrainView.from_arrays([0, 0, 1], [0, 1, 1], n_users=2, n_items=2)
        >>> DegreePruner(train, 0.5).sample(torch.Generator().manual_seed(0)).n_edges
        2
    """

    def __init__(self, train: TrainView, ratio: float) -> None:
        if not 0 <= ratio < 1:
            raise ValueError(f"ratio is the share of edges dropped, in [0, 1); got {ratio}")
        self.users, self.items = train.edges
        self.shape = (train.n_users, train.n_items)
        self.n_kept = int(len(self.users) * (1 - ratio))
        if ratio and len(self.users) and not self.n_kept:
            raise InputError(
                f"drop_ratio={ratio} leaves none of the {len(self.users)} edges of the user-item "
                f"graph; the largest that keeps one is {_largest_ratio(len(self.users))}"
            )
        user_degree = torch.bincount(self.users, minlength=train.n_users).double()
        item_degree = torch.bincount(self.items, minlength=train.n_items).double()
        self.log_weight = -0.5 * (user_degree[self.users].log() + item_degree[self.items].log())

    def sample(self, random: torch.Generator) -> Graph:
        """A pruned, normalised graph drawn with `random`.

        Adding Gumbel noise to the log weights and taking the largest is weighted sampling
        without replacement, for any number of edges.
        """
        device = random.device
        log_weight = self.log_weight.to(device)
        uniform = torch.rand(len(log_weight), generator=random, dtype=torch.float64, device=device)
        gumbel = -(-uniform.clamp_min(1e-300).log()).log()
        kept = (log_weight + gumbel).topk(self.n_kept).indices.sort().values
        return bipartite_graph(
            self.users.to(device)[kept], self.items.to(device)[kept], *self.shape
        )
