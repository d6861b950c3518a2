"""Item-item graphs of shared users, alone or mixed with neighbours by content."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from graphrec.data.train_view import TrainView
from graphrec.graphs.building import builder
from graphrec.graphs.graph import Graph
from graphrec.graphs.knn import KnnNorm, Ties, Weights, check_k, mixed_knn_graph
from graphrec.graphs.normalise import inverse_power, normalise

Measure = Literal["count", "ochiai", "pmi"]
Mixing = Literal["union", "convex", "max"]
Counts = NDArray[np.float64]
Weigh = Callable[[Counts, Counts, Counts], Counts]

_ROWS = 1024


def cooccurring_items(train: TrainView, k: int, weigh: Weigh) -> sp.csr_array:
    """The k items that most share users with each item, training interactions only.

    Repeated interactions count once, and an item is not its own neighbour. Equal weights are
    ordered by the lower item index. Rows are made in blocks, so that memory is that of the pairs
    of `1024` items at a time.

    Args:
        train: the training interactions.
        k: neighbours per item.
        weigh: of a pair, from (shared users, users of the one, users of the other); pairs of
            weight 0 or less are left out.

    Returns:
        Weights, float64 [I, I].
    """
    users, items = (part.cpu().numpy() for part in train.edges)
    shape = (train.n_users, train.n_items)
    histories = sp.csr_array((np.ones(len(users)), (users, items)), shape=shape)
    counts: Counts = np.asarray(histories.sum(axis=0)).ravel()
    transposed = sp.csr_array(histories.T)
    blocks = [
        _best(sp.csr_array(transposed[start : start + _ROWS] @ histories), counts, start, k, weigh)
        for start in range(0, train.n_items, _ROWS)
    ]
    return sp.csr_array(sp.vstack(blocks, format="csr"))


def _best(shared: sp.csr_array, counts: Counts, first: int, k: int, weigh: Weigh) -> sp.csr_array:
    rows = np.repeat(np.arange(shared.shape[0]), np.diff(shared.indptr))
    columns = shared.indices
    weight = weigh(shared.data, counts[rows + first], counts[columns])
    keep = (columns != rows + first) & (weight > 0)
    rows, columns, weight = rows[keep], columns[keep], weight[keep]
    order = np.lexsort((columns, -weight, rows))
    rows, columns, weight = rows[order], columns[order], weight[order]
    starts = np.searchsorted(rows, np.arange(shared.shape[0]))
    best = np.arange(len(rows)) - starts[rows] < k
    return sp.csr_array((weight[best], (rows[best], columns[best])), shape=shared.shape)


@builder(reads=("interactions",))
def cooccurrence_graph(
    train: TrainView,
    k: int = 10,
    measure: Measure = "ochiai",
    norm: Literal["symmetric", "row", "none"] = "symmetric",
) -> Graph:
    r"""Items tied by the users they share: a directed edge to each of the k strongest.

    With c_ij users of both, c_i of i, and N users in all

    - `"count"`: c_ij
    - `"ochiai"`: c_ij / sqrt(c_i c_j), the cosine of the items' columns
    - `"pmi"`: log(N c_ij / (c_i c_j)), where positive; rare pairs weigh most

    Args:
        train: the training interactions.
        k: neighbours per item.
        measure: what is strong.
        norm: see `normalise`.

    Returns:
        A graph of shape [I, I]; an item that shares no user has an empty row.

    Sources: Item-based top-N recommendation algorithms, 2004, doi 10.1145/963770.963776
    (`"ochiai"`); Word Association Norms, Mutual Information, and Lexicography, 1990 (`"pmi"`).

    Raises:
        InputError: k is above the number of items.

    Example:
        >>> train = TrainView.from_arrays([0, 0, 1], [0, 1, 1], n_users=2, n_items=3)
        >>> cooccurrence_graph(train, k=1, norm="none").to_dense()[0]
        tensor([0.0000, 0.7071, 0.0000])
    """
    check_k(k, train.n_items)
    active = float(len(np.unique(train.users.cpu().numpy())))
    weigh: dict[str, Weigh] = {
        "count": lambda both, one, other: both,
        "ochiai": lambda both, one, other: both / np.sqrt(one * other),
        "pmi": lambda both, one, other: np.log(active * both / (one * other)),
    }
    return Graph.from_scipy(normalise(cooccurring_items(train, k, weigh[measure]), norm))


@builder(reads=("interactions", "features"))
def mixed_item_graph(
    train: TrainView,
    modality_weights: Mapping[str, float],
    k: int = 10,
    weights: Weights = "binary",
    norm: KnnNorm = "rowdeg_both",
    ties: Ties = "hash",
    measure: Measure = "ochiai",
    how: Mixing = "convex",
    share: float = 0.5,
) -> Graph:
    r"""Neighbours by content, S, mixed with neighbours by shared users, C.

    C has rows that sum to 1, as those of S do by default.

    - `"union"`: 1 for every edge of either, rows divided by their sums
    - `"convex"`: (1 - share) S + share C; a row that is empty in one of them is that of the other
    - `"max"`: the greater weight of each edge

    Args:
        train: interactions and features.
        modality_weights: of S; see `mixed_knn_graph`, like `k`, `weights`, `norm` and `ties`.
        k: neighbours per item, in each graph.
        weights: of S.
        norm: of S.
        ties: of S.
        measure: of C; see `cooccurrence_graph`.
        how: the mixture.
        share: of C in the convex one, in [0, 1].

    Returns:
        A graph of shape [I, I].
    """
    content = train.graph(mixed_knn_graph, modality_weights, k, weights, True, norm, ties)
    shared = train.graph(cooccurrence_graph, k, measure, "row")
    return mix_graphs(content, shared, how=how, share=share)


def mix_graphs(first: Graph, second: Graph, *, how: Mixing = "convex", share: float = 0.5) -> Graph:
    """Two graphs of the same shape mixed; see `mixed_item_graph`.

    Raises:
        ValueError: shapes that differ, or a share outside [0, 1].

    Example:
        >>> one = Graph.from_scipy(sp.csr_array([[1.0, 0.0], [0.0, 1.0]]))
        >>> two = Graph.from_scipy(sp.csr_array([[0.0, 1.0], [0.0, 1.0]]))
        >>> mix_graphs(one, two, share=0.25).to_dense()
        tensor([[0.7500, 0.2500],
                [0.0000, 1.0000]])
    """
    if first.shape != second.shape:
        raise ValueError(f"graphs of shapes {first.shape} and {second.shape} cannot be mixed")
    if not 0 <= share <= 1:
        raise ValueError(f"share is that of the second graph, in [0, 1]; got {share}")
    a, b = (graph.to_scipy().astype(np.float64) for graph in (first, second))
    if how == "max":
        return Graph.from_scipy(a.maximum(b))
    if how == "union":
        return Graph.from_scipy(normalise((a != 0) + (b != 0), "row"))
    first_share = np.where(np.diff(a.indptr) > 0, 1 - share, 0.0)
    second_share = np.where(np.diff(b.indptr) > 0, share, 0.0)
    total = inverse_power(first_share + second_share, 1.0)
    return Graph.from_scipy(_rows(first_share * total, a) + _rows(second_share * total, b))


def _rows(scale: Counts, matrix: sp.csr_array) -> sp.csr_array:
    return sp.csr_array(sp.dia_array((scale[None], [0]), (len(scale), len(scale))) @ matrix)
