"""Sparse graphs and their builders.

- `graph`: `Graph`, the CSR matrix with its own backward
- `normalise`: symmetric, row and GCN normalisation
- `bipartite`: the user-item graph and its pruning by degree
- `cooccurrence`: items tied by shared users, alone or mixed with neighbours by content
- `history`: users as the mean of their items
- `hypergraph`: users who share items, items that share multimodal neighbours
- `knn`: exact cosine neighbours, item-item graphs of one or several modalities
- `statistics`: is a graph healthy?
"""

from graphrec.graphs.bipartite import (
    DegreePruner,
    bipartite_graph,
    user_item_adjacency,
    user_item_graph,
)
from graphrec.graphs.building import builder
from graphrec.graphs.cooccurrence import cooccurrence_graph, mix_graphs, mixed_item_graph
from graphrec.graphs.graph import Graph
from graphrec.graphs.history import history_graph
from graphrec.graphs.hypergraph import item_hypergraph, user_hypergraph
from graphrec.graphs.knn import (
    checked_modality_weights,
    cosine_neighbours,
    default_modality_weights,
    knn_graph,
    mixed_knn_graph,
)
from graphrec.graphs.normalise import normalise
from graphrec.graphs.statistics import GraphStatistics, graph_statistics, neighbour_statistics

__all__ = [
    "DegreePruner",
    "Graph",
    "GraphStatistics",
    "bipartite_graph",
    "builder",
    "checked_modality_weights",
    "cooccurrence_graph",
    "cosine_neighbours",
    "default_modality_weights",
    "graph_statistics",
    "history_graph",
    "item_hypergraph",
    "knn_graph",
    "mix_graphs",
    "mixed_item_graph",
    "mixed_knn_graph",
    "neighbour_statistics",
    "normalise",
    "user_hypergraph",
    "user_item_adjacency",
    "user_item_graph",
]
