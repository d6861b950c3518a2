"""Sparse products on the user-item graph: which kernel should a graph use?

    python benchmarks/spmm.py DIR --out benchmarks/results/spmm.json

Times A x (A: normalised user-item graph, x: 64 columns) in alternation and checks that all agree.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch_geometric.nn import LGConv
from training import processor

from graphrec.data.loading import load_dataset
from graphrec.graphs import user_item_graph
from modalities._base.files import write_json


def main() -> None:
    parser = argparse.ArgumentParser(description="Sparse products")
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")

    graph = load_dataset(arguments.dataset).train.graph(user_item_graph)
    edge_index, weights = graph.to_pyg()
    plain = edge_index.as_tensor().flip(0)
    convolution = LGConv(normalize=False)
    coo = graph.torch_csr.to_sparse_coo().coalesce()
    x = torch.randn(graph.shape[1], 64)
    kernels: dict[str, Callable[[], Tensor]] = {
        "graphrec Graph (embedding_bag)": lambda: graph.multiply(x),
        "torch CSR": lambda: graph.torch_csr @ x,
        "PyG EdgeIndex.matmul": lambda: edge_index.matmul(x, weights),
        "torch COO": lambda: torch.sparse.mm(coo, x),
        "PyG LGConv on a plain edge_index": lambda: convolution(x, plain, weights),
    }
    expected = graph.torch_csr @ x
    for kernel in kernels.values():
        torch.testing.assert_close(kernel(), expected, rtol=1e-4, atol=1e-5)
    times: dict[str, list[float]] = {name: [] for name in kernels}
    for _ in range(arguments.rounds):
        for name, kernel in kernels.items():
            began = time.perf_counter()
            kernel()
            times[name].append(1e3 * (time.perf_counter() - began))

    base = statistics.median(times["graphrec Graph (embedding_bag)"])
    table = Table("kernel", "ms (median)", "spread", "ratio")
    results = {}
    for name, found in times.items():
        median = statistics.median(found)
        results[name] = {
            "ms": round(median, 3),
            "spread": [round(min(found), 3), round(max(found), 3)],
            "ratio": round(median / base, 2),
        }
        table.add_row(
            name, f"{median:.2f}", f"{min(found):.2f}-{max(found):.2f}", f"{median / base:.2f}"
        )
    console = Console(width=110)
    console.print(f"{graph}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    console.print(table)
    if arguments.out:
        setting = {
            "graph": repr(graph),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "processor": processor(),
        }
        write_json(arguments.out, {"setting": setting, "kernels": results})


if __name__ == "__main__":
    main()
