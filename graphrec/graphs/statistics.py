"""Numbers that tell whether a graph is healthy: degrees, isolation, hubs, components."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_array, diags_array
from scipy.sparse.csgraph import connected_components

from graphrec.data.train_view import TrainView
from graphrec.graphs.graph import Graph
from graphrec.graphs.knn import knn_graph


@dataclass(frozen=True)
class GraphStatistics:
    """Summary of a graph; the fields are counts unless said otherwise.

    Args:
        rows, columns, edges: sizes.
        isolated: rows without an entry.
        mean_degree: entries per row.
        max_in_degree: entries of the fullest column, the largest hub.
        in_degree_skew: skewness of the entries per column; above 2 a few hubs dominate.
        reciprocal: share of entries (i, j) for which (j, i) exists too, without the diagonal;
            None unless square.
        components: weakly connected components; None unless square.
    """

    rows: int
    columns: int
    edges: int
    isolated: int
    mean_degree: float
    max_in_degree: int
    in_degree_skew: float
    reciprocal: float | None
    components: int | None

    def to_dict(self) -> dict[str, float | int | None]:
        """Plain values."""
        return asdict(self)


def graph_statistics(graph: Graph) -> GraphStatistics:
    """Compute `GraphStatistics`.

    Example:
        >>> import scipy.sparse as sp
        >>> path = Graph.from_scipy(sp.csr_array([[0, 1.0, 0], [1, 0, 0], [0, 1, 0]]))
        >>> stats = graph_statistics(path)
        >>> stats.max_in_degree, stats.components, round(stats.reciprocal, 3)
        (2, 1, 0.667)
    """
    matrix = graph.to_scipy()
    degrees = np.diff(matrix.indptr)
    incoming = np.bincount(matrix.indices, minlength=matrix.shape[1]).astype(float)
    spread = incoming.std()
    skew = float(((incoming - incoming.mean()) ** 3).mean() / spread**3) if spread > 0 else 0.0
    square = matrix.shape[0] == matrix.shape[1]
    return GraphStatistics(
        rows=graph.shape[0],
        columns=graph.shape[1],
        edges=graph.n_edges,
        isolated=int((degrees == 0).sum()),
        mean_degree=float(degrees.mean()) if len(degrees) else 0.0,
        max_in_degree=int(incoming.max()) if len(incoming) else 0,
        in_degree_skew=skew,
        reciprocal=_reciprocal(matrix) if square else None,
        components=int(connected_components(matrix, directed=False)[0]) if square else None,
    )


def neighbour_statistics(train: TrainView, modality: str, k: int = 10) -> dict[str, Any]:
    """Statistics of a modality's kNN graph, named for a reader; k is at most the catalogue.

    An item is not counted as a neighbour of its own.
    """
    k = max(1, min(k, train.n_items))
    stats = graph_statistics(train.graph(knn_graph, modality, k=k, include_self=False))
    return {
        "neighbours per item": f"{stats.mean_degree:.2f}",
        "items without neighbours": stats.isolated,
        "most often a neighbour": stats.max_in_degree,
        "skew of that": f"{stats.in_degree_skew:.2f}",
        "mutual edges": f"{stats.reciprocal or 0:.1%}",
        "components": stats.components,
    }


def _reciprocal(matrix: csr_array) -> float:
    pattern = matrix.copy()
    pattern.data = np.ones_like(pattern.data)
    pattern = csr_array(pattern - diags_array(pattern.diagonal()))
    pattern.eliminate_zeros()
    if pattern.nnz == 0:
        return 0.0
    return float(pattern.multiply(pattern.T).sum() / pattern.nnz)
