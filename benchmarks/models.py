"""A training step of every model against its textbook form: time and memory.

    python benchmarks/models.py DIR --out benchmarks/results/models.json

DIR is a dataset with text features. The textbook form is the same model, with the same parameters
and batch, in which the shared parts are replaced by what tutorials and reference code write:
COO products layer by layer over all rows, every item projected at every step, users' features
through a dense layer of their own, negatives gathered row by row, pairs by `pdist` and an index
tensor, similarities of all nodes kept. Losses are compared before anything is timed. Memory is
the most a fresh process needed for two steps beyond what it held before them, in MiB.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from losses import dense_contrast
from textbook import coo
from torch import Tensor
from training import peak_kib, processor

from graphrec.data.loading import load_dataset
from graphrec.data.sampling import Batch, BatchSampler
from graphrec.data.train_view import TrainView
from graphrec.graphs.graph import Graph
from graphrec.models import Recommender, model_class
from graphrec.models.alpharec import AlphaRec
from graphrec.models.vbpr import VBPR
from graphrec.nn.projection import FeatureProjection
from modalities._base.files import read_json, write_json

NAMES = (
    "bpr",
    "vbpr",
    "lightgcn",
    "ngcf",
    "freedom",
    "alpharec",
    "mmhcl",
    "lirdrec",
    "cm3",
    "modular",
)
PROPAGATING = ("lightgcn", "freedom", "alpharec", "mmhcl", "lirdrec", "cm3")
_coo: dict[int, Tensor] = {}


def coo_propagate(
    graph: Graph, x: Tensor, layers: int, rows: Tensor | None = None, *, readout: str = "mean"
) -> Tensor:
    """Layers stacked, then combined, then the rows asked for."""
    matrix = _coo.setdefault(id(graph), coo(graph.to_scipy()))
    every = [x]
    for _ in range(layers):
        every.append(torch.sparse.mm(matrix, every[-1]))
    stacked = torch.stack(every)
    z = {"mean": stacked.mean(0), "sum": stacked.sum(0), "last": every[-1]}[readout]
    return z if rows is None else z[rows]


def pdist_uniformity(x: Tensor, t: float = 2.0) -> Tensor:
    """Every pair of rows."""
    return (-t * torch.pdist(x).square()).exp().mean().log()


def pdist_calibrated(x: Tensor, content: Tensor, *, low: float, high: float) -> Tensor:
    """Every pair of rows, found by an index tensor."""
    first, second = torch.triu_indices(len(x), len(x), 1)
    similar = (content @ content.T)[first, second].clamp(low, high)
    return (-2 * (torch.pdist(x).square() - 2 + 2 * similar)).exp().mean().log()


def gathered_scores(left: Tensor, table: Tensor, places: Tensor) -> Tensor:
    """A row of its own for every score."""
    return (left.unsqueeze(1) * table[places]).sum(-1)


def every_row_projected(self: FeatureProjection, items: Tensor) -> Tensor:
    """All items, then the rows asked for."""
    projected: Tensor = self.linear(self.table)
    return torch.where(self.present[:, None], projected, 0.0)[items]


def every_item(self: VBPR, items: Tensor) -> tuple[Tensor, Tensor]:
    """All items, then the rows asked for."""
    content = self.projection(self.features.table)
    return torch.cat([self.items, content], 1)[items], content.new_zeros(len(items))


def dense_users(self: AlphaRec) -> tuple[Tensor, Tensor]:
    """Users' mean features through the first layer, like items'."""
    if not hasattr(self, "user_features"):
        self.user_features = self.history @ self.features.table
    x = torch.cat([self.user_features, self.features.table])  # type: ignore[list-item]
    known = torch.cat([self.history.degrees > 0, self.features.present])
    return x @ self.first.weight.T, known


def textbook(name: str) -> AbstractContextManager[Any]:
    """The shared parts of a model replaced by their textbook form."""
    stack = ExitStack()
    module = f"graphrec.models.{name}"
    if name in PROPAGATING:
        stack.enter_context(patch(f"{module}.propagate", coo_propagate))
    replaced: dict[str, list[tuple[str, Any]]] = {
        "ngcf": [("graphrec.nn.ngcf.propagate", coo_propagate)],
        "vbpr": [(f"{module}.VBPR._items", every_item)],
        "freedom": [("graphrec.nn.projection.FeatureProjection.forward", every_row_projected)],
        "alpharec": [
            (f"{module}.chosen_scores", gathered_scores),
            (f"{module}.AlphaRec._first", dense_users),
        ],
        "mmhcl": [(f"{module}.node_contrast", dense_contrast)],
        "cm3": [
            (f"{module}.uniformity", pdist_uniformity),
            (f"{module}.calibrated_uniformity", pdist_calibrated),
        ],
        "modular": [
            ("graphrec.models.parts.propagation.propagate", coo_propagate),
            ("graphrec.models.parts.item_graphs.propagate", coo_propagate),
            ("graphrec.nn.projection.FeatureProjection.forward", every_row_projected),
        ],
    }
    for target, replacement in replaced.get(name, []):
        stack.enter_context(patch(target, replacement))
    return stack


def make(name: str, train: TrainView) -> Recommender:
    torch.manual_seed(0)
    model = model_class(name)(train)
    model.train()
    model.begin_epoch(0)
    return model


def batches(model: Recommender, train: TrainView) -> list[Batch]:
    size = int(model.training_settings({}).get("batch_size", 2048))
    made = BatchSampler(train, model.sampling, size, seed=0).epoch(0)
    return [batch for _, batch in zip(range(4), made)]


def step(model: Recommender, batch: Batch, optimiser: torch.optim.Optimizer) -> float:
    torch.manual_seed(1)
    optimiser.zero_grad(set_to_none=True)
    loss = torch.stack(list(model.loss(batch).values())).sum()
    loss.backward()
    optimiser.step()
    return float(loss.detach())


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    dataset = load_dataset(arguments.dataset).using(["text"])
    if arguments.memory:
        name, side = arguments.memory
        print(_memory(name, side, dataset.train))
        return
    results: dict[str, Any] = {
        "setting": {
            "dataset": dataset.name,
            "data_id": dataset.data_id,
            "split_id": dataset.split_id,
            "features": dataset.feature_ids,
            "processor": processor(),
            "threads": arguments.threads,
            "torch": torch.__version__,
            "pairs": arguments.pairs,
        },
        "models": {},
    }
    if arguments.out and arguments.out.is_file():  # models measured before
        results["models"] = read_json(arguments.out)["models"]
    for name in arguments.models:
        results["models"][name] = found = _case(name, dataset.train, arguments)
        print(name, json.dumps(found), flush=True)
        if arguments.out:
            write_json(arguments.out, results)


def _case(name: str, train: TrainView, arguments: argparse.Namespace) -> dict[str, Any]:
    sides = ["ours"] if name in arguments.ours_only else ["ours", "textbook"]
    runs, first = {}, {}
    model = make(name, train)
    some = batches(model, train)
    for side in sides:
        runs[side], first[side] = _side(name, side, train, some)
    if len(sides) == 2:
        assert abs(first["ours"] - first["textbook"]) < 1e-3 * abs(first["ours"]), first
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    for number in range(arguments.pairs):
        for side in sides if number % 2 == 0 else sides[::-1]:
            seconds[side].append(runs[side](number))
    size = int(model.training_settings({}).get("batch_size", 2048))
    steps = len(BatchSampler(train, model.sampling, size, seed=0))
    ours = statistics.median(seconds["ours"])
    found: dict[str, Any] = {
        "seconds_per_step": {side: round(statistics.median(s), 4) for side, s in seconds.items()},
        "batch_size": size,
        "steps_per_epoch": steps,
        "seconds_per_epoch": round(ours * steps, 1),
        "memory_mib": {side: _child(name, side, arguments) for side in sides},
    }
    if len(sides) == 2:
        ratios = [b / a for a, b in zip(seconds["ours"], seconds["textbook"])]
        found["ratio"] = round(statistics.median(ratios), 2)
        found["spread"] = [round(min(ratios), 2), round(max(ratios), 2)]
    return found


def _side(
    name: str, side: str, train: TrainView, some: list[Batch]
) -> tuple[Callable[[int], float], float]:
    """Seconds of a step by number, and the loss of the first."""
    form = textbook if side == "textbook" else lambda name: nullcontext()
    model = make(name, train)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3, fused=side == "ours")
    with form(name):
        loss = step(model, some[0], optimiser)

    def run(number: int) -> float:
        with form(name):
            began = time.perf_counter()
            step(model, some[number % len(some)], optimiser)
            return time.perf_counter() - began

    return run, loss


def _child(name: str, side: str, arguments: argparse.Namespace) -> float:
    line = [sys.executable, __file__, str(arguments.dataset), "--memory", name, side]
    line += ["--threads", str(arguments.threads)]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def _memory(name: str, side: str, train: TrainView) -> float:
    model = make(name, train)
    some = batches(model, train)
    small = torch.nn.Linear(64, 64)
    some_optimiser = torch.optim.Adam(small.parameters(), fused=side == "ours")
    small(torch.randn(64, 64)).sum().backward()
    some_optimiser.step()  # what autograd, matrix library and optimiser need themselves
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from what is held now
    before = peak_kib()
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3, fused=side == "ours")
    with textbook(name) if side == "textbook" else nullcontext():
        for batch in some[:2]:
            step(model, batch, optimiser)
    return round((peak_kib() - before) / 1024, 1)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Steps of every model")
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--models", nargs="+", default=list(NAMES), choices=NAMES)
    parser.add_argument(
        "--ours-only", nargs="*", default=["mmhcl"], help="models whose textbook form does not fit"
    )
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--memory", nargs=2, metavar=("MODEL", "SIDE"), help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
