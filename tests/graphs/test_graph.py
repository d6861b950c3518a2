from __future__ import annotations

from pathlib import Path

import networkx as nx
import numpy as np
import pytest
import scipy.sparse as sp
import torch

from graphrec.graphs import Graph
from modalities._base.errors import InputError


@pytest.fixture
def matrix() -> sp.csr_array:
    random = np.random.default_rng(0)
    dense = random.normal(size=(7, 5)) * (random.random((7, 5)) < 0.4)
    dense[3] = 0
    return sp.csr_array(dense)


def test_product_and_gradient_match_dense(matrix: sp.csr_array) -> None:
    graph = Graph.from_scipy(matrix)
    dense = torch.from_numpy(matrix.toarray()).float()
    x = torch.randn(5, 3, requires_grad=True)
    y = torch.randn(5, 3)
    y.data.copy_(x.data)
    y.requires_grad_()
    weights = torch.randn(7, 3)
    ((graph @ x) * weights).sum().backward()
    ((dense @ y) * weights).sum().backward()
    torch.testing.assert_close(graph @ x, dense @ y)
    assert x.grad is not None
    assert y.grad is not None
    torch.testing.assert_close(x.grad, y.grad)


def test_double_precision_gradcheck(matrix: sp.csr_array) -> None:
    graph = Graph.from_scipy(matrix)
    double = Graph(graph.indptr, graph.indices, graph.values.double(), graph.shape)
    x = torch.randn(5, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t: double @ t, (x,))


def test_row_slice_keeps_rows_in_the_order_asked(matrix: sp.csr_array) -> None:
    rows = torch.tensor([6, 3, 0])
    sliced = Graph.from_scipy(matrix).row_slice(rows)
    np.testing.assert_allclose(sliced.to_dense(), matrix.toarray()[[6, 3, 0]], rtol=1e-6)


def test_transpose_of_symmetric_is_itself() -> None:
    graph = Graph.from_scipy(sp.csr_array([[0.0, 1], [1, 0]]), symmetric=True)
    assert graph.transpose is graph


def test_indices_are_int32_where_they_fit(matrix: sp.csr_array) -> None:
    assert Graph.from_scipy(matrix).indices.dtype == torch.int32


def test_exports_agree(matrix: sp.csr_array) -> None:
    square = sp.csr_array(matrix.toarray()[:5])
    graph = Graph.from_scipy(square)
    x = torch.randn(5, 2)
    edge_index, weights = graph.to_pyg()
    torch.testing.assert_close(edge_index.matmul(x, weights), graph @ x)
    network = graph.to_networkx()
    assert isinstance(network, nx.DiGraph)
    for i, j in zip(*square.nonzero(), strict=True):
        assert network[j][i]["weight"] == pytest.approx(square[i, j])
    np.testing.assert_allclose(graph.to_scipy().toarray(), square.toarray(), rtol=1e-6)


def test_networkx_needs_a_square_graph(matrix: sp.csr_array) -> None:
    with pytest.raises(ValueError, match="square"):
        Graph.from_scipy(matrix).to_networkx()


def test_wrong_width_is_refused(matrix: sp.csr_array) -> None:
    with pytest.raises(ValueError, match=r"expected x of shape \[5, d\]"):
        Graph.from_scipy(matrix) @ torch.randn(7, 2)


def test_save_and_load(tmp_path: Path, matrix: sp.csr_array) -> None:
    graph = Graph.from_scipy(matrix)
    graph.save(tmp_path / "g.safetensors")
    back = Graph.load(tmp_path / "g.safetensors")
    assert back.shape == graph.shape
    torch.testing.assert_close(back.to_dense(), graph.to_dense(), rtol=0, atol=0)


def test_damaged_file_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "g.safetensors").write_bytes(b"nonsense")
    with pytest.raises(InputError, match=r"cannot read the graph file .*g\.safetensors"):
        Graph.load(tmp_path / "g.safetensors")
