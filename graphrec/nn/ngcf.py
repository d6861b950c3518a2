"""NGCF's propagation: what flows along an edge depends on both its ends."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, leaky_relu

from graphrec.graphs.graph import Graph
from graphrec.nn.propagation import picked, propagate
from graphrec.nn.similarity import normalised

Start = Literal["xavier", "linear"]


class NGCFPropagation(nn.Module):
    r"""Layers of NGCF, their outputs side by side.

    With S = A E^l and f = LeakyReLU

    - two activations: E^(l+1) = f(S' W_1 + b_1) + f((E^l * S) W_2 + b_2)
    - one activation: E^(l+1) = f(S' W_1 + b_1 + (E^l * S) W_2 + b_2)

    where S' = S, or S + E^l with `self_loop`. Rows are normalised in the output only:
    Z = [E^0 ; E^1 / \|E^1\| ; ...]. In training, message dropout follows each layer.

    Source: Neural Graph Collaborative Filtering, 2019, arXiv 1905.08108; two activations and
    biases as in the authors' code.

    Args:
        dim: d of every layer.
        layers: L.
        activations: 1 or 2.
        bias: learn b_1 and b_2.
        self_loop: add E^l to the linear term only, as the paper does with its symmetric graph.
        dropout: share of the elements of a layer's output that training sets to zero.
        node_dropout: share of the graph's entries that training leaves out, drawn anew at every
            step and the same for all layers; the others are scaled up.
        slope: of f below 0.
        start: of weights and biases: `xavier`, uniform, as in NGCF's code, or `linear`, as
            `torch.nn.Linear` does.

    Shapes:
        input: x [N, d] and a graph [N, N]; output [N, (L + 1) d], or [R, (L + 1) d] for `rows`.

    Example:
        >>> import scipy.sparse as sp
        >>> swap = Graph.from_scipy(sp.csr_array([[0.0, 1.0], [1.0, 0.0]]), symmetric=True)
        >>> NGCFPropagation(4, layers=2)(swap, torch.ones(2, 4)).shape
        torch.Size([2, 12])
    """

    def __init__(
        self,
        dim: int,
        layers: int,
        *,
        activations: Literal[1, 2] = 2,
        bias: bool = True,
        self_loop: bool = False,
        dropout: float = 0.0,
        node_dropout: float = 0.0,
        slope: float = 0.2,
        start: Start = "xavier",
    ) -> None:
        super().__init__()
        self.activations, self.self_loop = activations, self_loop
        self.dropout, self.node_dropout, self.slope = dropout, node_dropout, slope
        self.linear = _tables(layers, dim, dim, start)  # W_1
        self.affinity = _tables(layers, dim, dim, start)  # W_2
        self.linear_bias = _tables(layers if bias else 0, 1, dim, start)
        self.affinity_bias = _tables(layers if bias else 0, 1, dim, start)

    def forward(self, graph: Graph, x: Tensor, rows: Tensor | None = None) -> Tensor:
        """All layers of the nodes, or of `rows` only; the last layer is computed for those."""
        if self.training and self.node_dropout:
            graph = graph.dropout(self.node_dropout)
        outputs = [picked(x, rows)]
        layers = len(self.linear)
        for layer in range(layers):
            last = layer == layers - 1
            x = self._layer(graph, x, layer, rows if last else None)
            outputs.append(normalised(x if last else picked(x, rows)))
        return torch.cat(outputs, 1)

    def _layer(self, graph: Graph, x: Tensor, layer: int, rows: Tensor | None) -> Tensor:
        side = propagate(graph, x, 1, rows, readout="last")
        own = picked(x, rows)
        linear = (side + own if self.self_loop else side) @ self.linear[layer]
        affinity = (own * side) @ self.affinity[layer]
        if len(self.linear_bias):
            linear = linear + self.linear_bias[layer]
            affinity = affinity + self.affinity_bias[layer]
        if self.activations == 2:
            made = leaky_relu(linear, self.slope) + leaky_relu(affinity, self.slope)
        else:
            made = leaky_relu(linear + affinity, self.slope)
        return dropout(made, self.dropout, self.training)


def _tables(count: int, rows: int, columns: int, start: Start) -> nn.ParameterList:
    tables = [torch.empty(rows, columns) for _ in range(count)]
    for table in tables:
        if start == "xavier":
            nn.init.xavier_uniform_(table)
        else:
            table.uniform_(-(columns**-0.5), columns**-0.5)
    return nn.ParameterList(nn.Parameter(table) for table in tables)
