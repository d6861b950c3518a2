from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from graphrec.graphs import Graph
from graphrec.nn import propagate
from graphrec.nn.propagation import LayerWeights, Readout


@pytest.fixture
def dense() -> torch.Tensor:
    random = np.random.default_rng(0)
    return torch.from_numpy(random.normal(size=(9, 9)) * (random.random((9, 9)) < 0.4))


def reference(a: torch.Tensor, x: torch.Tensor, layers: int, readout: str) -> torch.Tensor:
    stack = [x]
    for _ in range(layers):
        stack.append(a @ stack[-1])
    every = torch.stack(stack)
    return {"mean": every.mean(0), "sum": every.sum(0), "last": every[-1]}[readout]


def as_double(a: torch.Tensor) -> Graph:
    graph = Graph.from_scipy(sp.csr_array(a.numpy()))
    order = torch.from_numpy(graph.to_scipy().tocsr().indices)
    assert torch.equal(order, graph.indices)
    rows = torch.arange(len(a)).repeat_interleave(graph.degrees)
    return Graph(graph.indptr, graph.indices, a[rows, graph.indices.long()], graph.shape)


@pytest.mark.parametrize("readout", ["mean", "sum", "last"])
@pytest.mark.parametrize("layers", [0, 1, 2, 3])
@pytest.mark.parametrize("rows", [None, [7, 2, 0]])
def test_values_and_gradients_match_dense(
    dense: torch.Tensor, readout: Readout, layers: int, rows: list[int] | None
) -> None:
    index = None if rows is None else torch.tensor(rows)
    x = torch.randn(9, 4, dtype=torch.float64, requires_grad=True)
    y = x.detach().clone().requires_grad_()
    out = propagate(as_double(dense), x, layers, index, readout=readout)
    expected = reference(dense, y, layers, readout)
    expected = expected if rows is None else expected[rows]
    torch.testing.assert_close(out, expected)
    weights = torch.randn_like(out)
    (out * weights).sum().backward()
    (expected * weights).sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, y.grad)


def test_gradcheck(dense: torch.Tensor) -> None:
    graph = as_double(dense)
    x = torch.randn(9, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t: propagate(graph, t, 2, torch.tensor([1, 4])), (x,))


def test_input_is_not_changed(dense: torch.Tensor) -> None:
    x = torch.randn(9, 2, dtype=torch.float64)
    before = x.clone()
    propagate(as_double(dense), x, 3)
    assert torch.equal(x, before)


def test_bad_arguments(dense: torch.Tensor) -> None:
    graph = as_double(dense)
    with pytest.raises(ValueError, match="0 or more"):
        propagate(graph, torch.zeros(9, 1), -1)
    with pytest.raises(ValueError, match="do not fit"):
        propagate(graph, torch.zeros(8, 1), 1)


def test_learnt_layer_weights() -> None:
    matrix = np.array([[0.0, 0.5, 0.0], [0.2, 0.0, 0.3], [0.0, 1.0, 0.0]])
    graph = Graph.from_scipy(sp.csr_array(matrix), dtype=np.float64)
    module = LayerWeights(2).double()
    x = torch.randn(3, 2, dtype=torch.double, requires_grad=True)
    torch.testing.assert_close(module(graph, x), propagate(graph, x, 2))
    module.weight.data = torch.tensor([0.0, 1.0, -1.0]).double()
    shares = np.exp([0, 1, -1]) / np.exp([0, 1, -1]).sum()
    e = x.detach().numpy()
    expected = shares[0] * e + shares[1] * matrix @ e + shares[2] * matrix @ matrix @ e
    np.testing.assert_allclose(module(graph, x).detach(), expected, rtol=1e-7)
    assert torch.autograd.gradcheck(lambda x, w: module(graph, x), (x, module.weight), atol=1e-6)
