"""Contrastive losses against the form a reference implementation writes: time and memory.

    python benchmarks/losses.py --out benchmarks/results/losses.json

Forward and backward, in alternation. Memory is the most a fresh process needed beyond what it
held before the loss, in MiB.

- calibrated uniformity, B = 2,048 and d = 192: `torch.pdist` with an index tensor of all pairs
- node contrast, 10,000 nodes: both matrices of similarities kept for the backward pass
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from training import peak_kib, processor

from graphrec.nn.contrast import calibrated_uniformity, node_contrast
from graphrec.nn.similarity import normalised
from modalities._base.files import write_json

CASES: dict[str, tuple[str, str]] = {
    "calibrated uniformity": ("gram", "pdist"),
    "node contrast": ("blocks", "dense"),
}


def pdist_uniformity(x: Tensor, content: Tensor) -> Tensor:
    """As written with pairs."""
    first, second = torch.triu_indices(len(x), len(x), 1)
    similar = (content @ content.T)[first, second].clamp(0, 1)
    return (-2 * (torch.pdist(x).square() - 2 + 2 * similar)).exp().mean().log()


def dense_contrast(
    first: Tensor, second: Tensor, temperature: float = 0.5, *, nodes: int | None = None
) -> Tensor:
    """As written with whole matrices; it knows no sampling of nodes."""
    assert nodes is None
    a, b = normalised(first), normalised(second)
    within, across = (a @ a.T / temperature).exp(), (a @ b.T / temperature).exp()
    below = within.sum(1) + across.sum(1) - within.diagonal()
    return -(across.diagonal() / below).log().mean()


def make(side: str, nodes: int) -> Callable[[], Tensor]:
    """The loss with its backward pass."""
    torch.manual_seed(0)
    sizes = {"gram": (2048, 192), "pdist": (2048, 192)}.get(side, (nodes, 64))
    x = torch.randn(*sizes).requires_grad_()
    other = torch.randn(sizes[0], 64).requires_grad_()
    losses: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "gram": calibrated_uniformity,
        "pdist": pdist_uniformity,
        "blocks": node_contrast,
        "dense": dense_contrast,
    }

    def run() -> Tensor:
        x.grad = other.grad = None
        given = (normalised(x), normalised(other)) if side in ("gram", "pdist") else (x, other)
        loss = losses[side](*given)
        loss.backward()
        return loss.detach()

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description="Contrastive losses")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--nodes", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--memory", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.memory:
        print(_memory(arguments.memory, arguments.nodes))
        return
    results: dict[str, Any] = {
        "setting": {
            "processor": processor(),
            "threads": arguments.threads,
            "torch": torch.__version__,
            "pairs": arguments.pairs,
            "nodes": arguments.nodes,
        }
    }
    for name, sides in CASES.items():
        results[name] = _case(sides, arguments)
        print(name, json.dumps(results[name], indent=2))
    if arguments.out:
        write_json(arguments.out, results)


def _case(sides: tuple[str, str], arguments: argparse.Namespace) -> dict[str, Any]:
    runs = {side: make(side, arguments.nodes) for side in sides}
    values = [float(run()) for run in runs.values()]
    assert abs(values[0] - values[1]) < 1e-3, values
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    for number in range(arguments.pairs):
        for side in sides if number % 2 == 0 else sides[::-1]:
            began = time.perf_counter()
            runs[side]()
            seconds[side].append(time.perf_counter() - began)
    ratios = [b / a for a, b in zip(*seconds.values())]
    memory = {side: _child(side, arguments) for side in sides}
    return {
        "seconds": {side: round(statistics.median(taken), 4) for side, taken in seconds.items()},
        "ratio": round(statistics.median(ratios), 2),
        "spread": [round(min(ratios), 2), round(max(ratios), 2)],
        "memory_mib": memory,
    }


def _child(side: str, arguments: argparse.Namespace) -> float:
    line = [sys.executable, __file__, "--memory", side, "--nodes", str(arguments.nodes)]
    line += ["--threads", str(arguments.threads)]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def _memory(side: str, nodes: int) -> float:
    run = make(side, nodes)
    small = torch.randn(64, 64, requires_grad=True)
    (small @ small).sum().backward()  # what autograd and the matrix library need themselves
    before = peak_kib()
    run()
    return round((peak_kib() - before) / 1024, 1)


if __name__ == "__main__":
    main()
