from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
import scipy.sparse as sp

from graphrec.graphs import Graph, graph_statistics


def test_against_networkx() -> None:
    network = nx.gnp_random_graph(30, 0.05, seed=1, directed=True)
    graph = Graph.from_scipy(nx.to_scipy_sparse_array(network).T)
    stats = graph_statistics(graph)
    assert stats.edges == network.number_of_edges()
    assert stats.components == nx.number_weakly_connected_components(network)
    assert stats.reciprocal == pytest.approx(nx.overall_reciprocity(network))
    assert stats.isolated == sum(1 for _, degree in network.in_degree() if degree == 0)
    assert stats.max_in_degree == max(degree for _, degree in network.out_degree())


def test_rectangular_graph_has_no_square_statistics() -> None:
    stats = graph_statistics(Graph.from_scipy(sp.csr_array(np.ones((2, 3)))))
    assert stats.components is None
    assert stats.reciprocal is None
    assert stats.mean_degree == 3
