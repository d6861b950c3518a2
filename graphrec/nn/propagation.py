"""Linear propagation on a graph, all layers in one autograd step."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from graphrec.graphs.graph import Graph

Readout = Literal["mean", "sum", "last"]


def propagate(
    graph: Graph,
    x: Tensor,
    layers: int,
    rows: Tensor | None = None,
    *,
    readout: Readout = "mean",
) -> Tensor:
    r"""Propagate embeddings and combine the layers.

    E^0 = x, E^(l+1) = A E^l, and with L = `layers`

    - `"mean"`: Z = 1/(L+1) sum_{l=0..L} E^l
    - `"sum"`: Z = sum_{l=0..L} E^l
    - `"last"`: Z = E^L

    The map is linear, so backward needs no stored layers: sum_l w_l (A^T)^l g by Horner's rule.
    With `rows`, the last layer is computed for those rows only, and backward starts from them
    only; values and gradients are those of the full computation indexed by `rows`.

    Args:
        graph: A, shape [N, N].
        x: E^0, shape [N, d].
        layers: L >= 0.
        rows: distinct indices of the outputs needed, int64 [R]; default all.
        readout: how layers are combined.

    Returns:
        Z, shape [N, d], or [R, d] with `rows`.

    Source: LightGCN, 2020, arXiv 2002.02126, equations 3-8.

    Example:
        >>> import scipy.sparse as sp
        >>> swap = Graph.from_scipy(sp.csr_array([[0.0, 1.0], [1.0, 0.0]]), symmetric=True)
        >>> propagate(swap, torch.tensor([[1.0], [3.0]]), layers=1)
        tensor([[2.],
                [2.]])
    """
    if layers < 0:
        raise ValueError(f"layers must be 0 or more, got {layers}")
    if graph.shape[0] != graph.shape[1] or x.shape[0] != graph.shape[1]:
        raise ValueError(f"graph {graph.shape} and x {tuple(x.shape)} do not fit")
    result: Tensor = _Propagate.apply(x, graph, rows, _layer_weights(layers, readout))
    return result


def _layer_weights(layers: int, readout: Readout) -> list[float]:
    if readout == "last":
        return [0.0] * layers + [1.0]
    return [1.0 / (layers + 1) if readout == "mean" else 1.0] * (layers + 1)


class _Propagate(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, graph: Graph, rows: Tensor | None, weights: list[float]
    ) -> Tensor:
        ctx.graph, ctx.rows, ctx.weights = graph, rows, weights
        layer, total = x, picked(x, rows) * weights[0]
        for weight in weights[1:-1]:
            layer = graph.multiply(layer)
            total.add_(picked(layer, rows), alpha=weight)
        if len(weights) > 1:
            last = graph if rows is None else graph.row_slice(rows)
            total.add_(last.multiply(layer), alpha=weights[-1])
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        rows = ctx.rows
        flow = _spread(gradient * ctx.weights[-1], rows, ctx.graph.shape[0])
        for weight in reversed(ctx.weights[:-1]):
            flow = ctx.graph.transpose.multiply(flow)
            if rows is None:
                flow.add_(gradient, alpha=weight)
            else:
                flow.index_add_(0, rows, gradient, alpha=weight)
        return flow, None, None, None


def picked(layer: Tensor, rows: Tensor | None) -> Tensor:
    """Some rows of `layer` [N, d], or all of it."""
    return layer if rows is None else layer[rows]


def _spread(gradient: Tensor, rows: Tensor | None, size: int) -> Tensor:
    if rows is None:
        return gradient
    full = gradient.new_zeros(size, gradient.shape[1])
    full[rows] = gradient
    return full


class LayerWeights(nn.Module):
    r"""Propagation whose layers are weighted by what is learnt: Z = sum_l softmax(w)_l A^l x.

    It starts as the mean of the layers.

    Args:
        layers: L.

    Shapes:
        input: a graph [N, N] and x [N, d]; output [N, d].

    Source: the learnt alternative to the uniform weights of LightGCN, 2020, arXiv 2002.02126,
    section 3.1.2.

    Example:
        >>> import scipy.sparse as sp
        >>> swap = Graph.from_scipy(sp.csr_array([[0.0, 1.0], [1.0, 0.0]]), symmetric=True)
        >>> LayerWeights(1)(swap, torch.tensor([[1.0], [3.0]])).tolist()
        [[2.0], [2.0]]
    """

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(layers + 1))

    def forward(self, graph: Graph, x: Tensor) -> Tensor:
        """Z."""
        total, *rest = self.weight.softmax(0)
        z = total * x
        for share in rest:
            x = propagate(graph, x, 1, readout="last")
            z = z + share * x
        return z
