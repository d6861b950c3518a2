"""The sparse graph every model propagates on: an immutable CSR matrix with its own backward."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from modalities._base.errors import InputError
from modalities._base.files import atomic_file

if TYPE_CHECKING:
    import networkx as nx
    from torch_geometric import EdgeIndex


@dataclass(frozen=True, eq=False, repr=False)
class Graph:
    """A weighted sparse matrix A in CSR form, used as `graph @ x`.

    Rows are targets and columns are sources: `(graph @ x)[i] = sum_j A[i, j] x[j]`. The product
    has its own backward (`A^T g`), in which A is a constant: gradients reach `x` only.

    Args:
        indptr: row pointers, int32 or int64, shape [rows + 1].
        indices: column of each entry, ascending within a row, shape [nnz].
        values: weight of each entry, float, shape [nnz].
        shape: (rows, columns).
        symmetric: A equals its transpose, so that backward reuses A itself.

    Example:
        >>> import scipy.sparse as sp
        >>> graph = Graph.from_scipy(sp.csr_array([[0.0, 2.0], [1.0, 0.0]]))
        >>> graph @ torch.tensor([[1.0], [10.0]])
        tensor([[20.],
                [ 1.]])
        >>> graph
        Graph(2 x 2, 2 edges, density 0.5)
    """

    indptr: Tensor
    indices: Tensor
    values: Tensor
    shape: tuple[int, int]
    symmetric: bool = False

    @classmethod
    def from_scipy(cls, matrix: Any, *, symmetric: bool = False, dtype: Any = np.float32) -> Graph:
        """Make a graph from any SciPy sparse matrix; duplicates are summed, zeros dropped."""
        csr = sp.csr_array(matrix)
        csr.sum_duplicates()
        csr.eliminate_zeros()
        csr.sort_indices()
        small = max(csr.nnz, *csr.shape) < 2**31
        index = np.int32 if small else np.int64
        return cls(
            indptr=torch.from_numpy(csr.indptr.astype(index)),
            indices=torch.from_numpy(csr.indices.astype(index)),
            values=torch.from_numpy(csr.data.astype(dtype)),
            shape=(int(csr.shape[0]), int(csr.shape[1])),
            symmetric=symmetric,
        )

    @property
    def n_edges(self) -> int:
        """Stored entries (a symmetric edge counts twice)."""
        return int(self.indices.numel())

    @property
    def device(self) -> torch.device:
        """Where the tensors lie."""
        return self.values.device

    def apply(self, function: Callable[[Tensor], Tensor]) -> Graph:
        """The same graph with `function` (a device or dtype move) applied to each tensor."""
        moved = replace(
            self,
            indptr=function(self.indptr),
            indices=function(self.indices),
            values=function(self.values),
        )
        if "transpose" in self.__dict__ and not self.symmetric:
            moved.__dict__["transpose"] = self.transpose.apply(function)
        return moved

    def to(self, device: torch.device | str) -> Graph:
        """The graph on `device` (itself when it is there already)."""
        target = torch.device(device)
        return self if target == self.device else self.apply(lambda tensor: tensor.to(target))

    @cached_property
    def transpose(self) -> Graph:
        """A^T as a graph (A itself when symmetric)."""
        if self.symmetric:
            return self
        matrix = self.to_scipy()
        return Graph.from_scipy(matrix.T, dtype=matrix.dtype).to(self.device)

    @cached_property
    def degrees(self) -> Tensor:
        """Entries per row, int64, shape [rows]."""
        return self.indptr.diff().long()

    def row_slice(self, rows: Tensor) -> Graph:
        """The sub-matrix A[rows], shape (len(rows), columns)."""
        counts = self.degrees[rows]
        indptr = torch.zeros(len(rows) + 1, dtype=torch.long, device=self.device)
        torch.cumsum(counts, 0, out=indptr[1:])
        total = int(indptr[-1])
        shift = (self.indptr[rows].long() - indptr[:-1]).repeat_interleave(
            counts, output_size=total
        )
        position = torch.arange(total, device=self.device) + shift
        return Graph(
            indptr=indptr.to(self.indptr.dtype),
            indices=self.indices[position],
            values=self.values[position],
            shape=(len(rows), self.shape[1]),
        )

    def dropout(self, share: float) -> Graph:
        """The graph with a share of its entries set to 0 at random, the others scaled up.

        Entries are drawn one by one, so a symmetric graph does not stay so. Randomness is that of
        torch's global generator.
        """
        values = torch.nn.functional.dropout(self.values, share)
        return replace(self, values=values, symmetric=False)

    def multiply(self, x: Tensor) -> Tensor:
        """A x without gradients; x has shape [columns, d]. See `benchmarks/spmm.py`."""
        if x.device.type == "cpu" and x.dtype == torch.float32:
            return torch.nn.functional.embedding_bag(
                self.indices,
                x,
                self.indptr,
                mode="sum",
                per_sample_weights=self.values,
                include_last_offset=True,
            )
        return self.torch_csr.to(x.dtype) @ x

    def __matmul__(self, x: Tensor) -> Tensor:
        """A x, differentiable in x; x has shape [columns, d]."""
        if x.dim() != 2 or x.shape[0] != self.shape[1]:
            raise ValueError(f"expected x of shape [{self.shape[1]}, d], got {tuple(x.shape)}")
        product: Tensor = _Multiply.apply(x, self)
        return product

    @cached_property
    def torch_csr(self) -> Tensor:
        """A `torch.sparse_csr` tensor sharing the memory."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
            return torch.sparse_csr_tensor(
                self.indptr, self.indices, self.values, self.shape, check_invariants=False
            )

    def to_dense(self) -> Tensor:
        """A dense copy, shape [rows, columns]: for small graphs and tests."""
        return torch.from_numpy(self.to_scipy().toarray())

    def to_scipy(self) -> sp.csr_array:
        """A SciPy CSR array on the CPU."""
        parts = (self.values.cpu().numpy(), self.indices.cpu().numpy(), self.indptr.cpu().numpy())
        return sp.csr_array(parts, shape=self.shape)

    def to_networkx(self) -> nx.DiGraph:
        """A NetworkX directed graph: an edge j -> i of weight A[i, j] for a square matrix."""
        import networkx

        self._require_square("NetworkX")
        return networkx.from_scipy_sparse_array(self.to_scipy().T, create_using=networkx.DiGraph)

    def to_pyg(self) -> tuple[EdgeIndex, Tensor]:
        """A PyTorch Geometric `EdgeIndex` (row = target, column = source) and its weights.

        `edge_index.matmul(x, weights)` equals `graph @ x`.
        """
        from torch_geometric import EdgeIndex

        targets = torch.arange(self.shape[0], device=self.device).repeat_interleave(self.degrees)
        edge_index = EdgeIndex(
            torch.stack([targets, self.indices.long()]),
            sparse_size=self.shape,
            sort_order="row",
            is_undirected=self.symmetric,
        )
        return edge_index, self.values

    def save(self, path: Path) -> None:
        """Write the graph to one safetensors file, atomically."""
        tensors = {"indptr": self.indptr, "indices": self.indices, "values": self.values}
        header = {
            "format": "graphrec.graph",
            "version": "1",
            "rows": str(self.shape[0]),
            "columns": str(self.shape[1]),
            "symmetric": str(int(self.symmetric)),
        }
        with atomic_file(path) as temporary:
            save_file({k: v.cpu().contiguous() for k, v in tensors.items()}, temporary, header)

    @classmethod
    def load(cls, path: Path) -> Graph:
        """Read what `save` wrote.

        Raises:
            InputError: the file is not a graph of a version this release reads.
        """
        try:
            with safe_open(path, framework="pt") as file:
                header = file.metadata() or {}
                if (header.get("format"), header.get("version")) != ("graphrec.graph", "1"):
                    raise InputError(f"'{path}' is not a graph file of version 1")
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (OSError, ValueError, SafetensorError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"cannot read the graph file '{path}': {error}") from None
        shape = (int(header["rows"]), int(header["columns"]))
        return cls(**tensors, shape=shape, symmetric=header["symmetric"] == "1")

    def __repr__(self) -> str:
        rows, columns = self.shape
        density = self.n_edges / max(rows * columns, 1)
        kind = ", symmetric" if self.symmetric else ""
        return f"Graph({rows} x {columns}, {self.n_edges:,} edges, density {density:.2g}{kind})"

    def _require_square(self, purpose: str) -> None:
        if self.shape[0] != self.shape[1]:
            raise ValueError(f"{purpose} needs a square graph, got shape {self.shape}")


class _Multiply(torch.autograd.Function):
    """A x forward, A^T g backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, graph: Graph) -> Tensor:
        ctx.graph = graph
        return graph.multiply(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.graph.transpose.multiply(gradient.contiguous()), None
