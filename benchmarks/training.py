"""Training and ranking against a textbook implementation, in one run on one machine.

    python benchmarks/training.py DIR --out benchmarks/results/training.json

DIR is a dataset with text features. Both sides see the same data, batch size and dimensions and
run in alternation; medians and spreads are printed, with absolute seconds beside the ratios.
Before anything is timed, losses, gradients and ranks of the two sides are compared.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from textbook import (
    LoopSampler,
    TextbookFREEDOM,
    TextbookLightGCN,
    loop_metrics,
    rank_blocks,
)
from torch import Tensor

from graphrec.data.dataset import Dataset
from graphrec.data.loading import load_dataset
from graphrec.data.sampling import Batch, BatchSampler, Sampling
from graphrec.evaluation.evaluate import EvaluationOptions, evaluate
from graphrec.evaluation.held_out import held_out_valid
from graphrec.models.base import Recommender
from graphrec.models.freedom import FREEDOM
from graphrec.models.lightgcn import LightGCN
from graphrec.nn import FeatureProjection
from graphrec.nn.ranking import VectorRanker
from modalities._base.files import write_json

CASES = ("lightgcn", "freedom", "freedom-frozen")
BATCH, DIM, K = 2048, 64, 50
TextbookModel = TextbookLightGCN | TextbookFREEDOM


def main() -> None:
    arguments = _arguments()
    if arguments.memory:
        _memory_child(arguments)
        return
    dataset = load_dataset(arguments.dataset).using(["text"])
    results: dict[str, Any] = {"setting": _setting(dataset, arguments)}
    for case in CASES:
        results[case] = _training_case(dataset, case, arguments)
        results[case]["peak_memory_mib"] = _peak_memory(arguments, case)
    results["ranking"] = _ranking_case(dataset, arguments.pairs)
    _print(results)
    if arguments.out:
        write_json(arguments.out, results)


def _make(case: str, dataset: Dataset, side: str) -> Any:
    torch.manual_seed(0)
    train, freeze = dataset.train, case == "freedom-frozen"
    if case == "lightgcn":
        if side == "ours":
            return LightGCN(train, dim=DIM, layers=2, reg_weight=1e-4)
        return TextbookLightGCN(train, DIM, 2, 1e-4)
    model = FREEDOM(train, dim=DIM, layers=2, freeze_features=freeze)
    if side == "ours":
        return model
    return TextbookFREEDOM(train, model.item_graph.to_scipy(), DIM, 2, 0.8, 1e-3, freeze)


def _training_case(dataset: Dataset, case: str, arguments: argparse.Namespace) -> dict[str, Any]:
    ours, book = _make(case, dataset, "ours"), _make(case, dataset, "textbook")
    _check_same_loss(ours, book, dataset)
    sampler = BatchSampler(dataset.train, Sampling(), BATCH, seed=0)
    loop = LoopSampler(dataset.train, BATCH)
    fast = torch.optim.Adam(ours.parameters(), lr=1e-3, fused=True)
    trained = [parameter for parameter in book.parameters() if parameter.requires_grad]
    plain = torch.optim.Adam(trained, lr=1e-3)

    def our_epoch(steps: int) -> None:
        ours.begin_epoch(0)
        for _, batch in zip(range(steps), sampler.epoch(0)):
            fast.zero_grad(set_to_none=True)
            torch.stack(list(ours.loss(batch).values())).sum().backward()
            fast.step()

    def book_epoch(steps: int, vectorised: bool) -> None:
        book.begin_epoch()
        batches = _as_triples(sampler.epoch(0)) if vectorised else loop.epoch()
        for _, batch in zip(range(steps), batches):
            plain.zero_grad()
            book.loss(*batch).backward()
            plain.step()

    steps = min(len(sampler), arguments.steps)
    sides = {
        "ours": lambda: our_epoch(steps),
        "textbook": lambda: book_epoch(steps, vectorised=False),
        "textbook, vectorised sampling": lambda: book_epoch(steps, vectorised=True),
    }
    seconds = _interleaved(sides, arguments.pairs)
    scale = len(sampler) / steps
    return _compared({side: [s * scale for s in times] for side, times in seconds.items()})


def _as_triples(batches: Any) -> Any:
    for batch in batches:
        yield batch.users, batch.positives, batch.negatives.squeeze(1)


def _check_same_loss(ours: Recommender, book: TextbookModel, dataset: Dataset) -> None:
    """Same weights, same batch: same loss and gradient (on the whole graph)."""
    if isinstance(ours, LightGCN):
        weights = torch.cat([book.users.weight, book.items.weight]).detach()
        ours.nodes.data.copy_(weights)
    else:
        assert isinstance(ours, FREEDOM)
        assert isinstance(book, TextbookFREEDOM)
        ours.users.data.copy_(book.users.weight.detach())
        ours.items.data.copy_(book.items.weight.detach())
        for name, projection in zip(ours.modalities, ours.projections):
            assert isinstance(projection, FeatureProjection)
            projection.linear.load_state_dict(book.projections[name].state_dict())
    batch = next(BatchSampler(dataset.train, Sampling(), BATCH, seed=1).epoch(0))
    assert batch.negatives is not None
    mine = torch.stack(list(ours.loss(batch).values())).sum()
    theirs = book.loss(batch.users, batch.positives, batch.negatives.squeeze(1))
    torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6)
    mine.backward()
    theirs.backward()
    gradient = ours.nodes.grad if isinstance(ours, LightGCN) else ours.users.grad
    assert gradient is not None
    gradient = gradient[: dataset.n_users]
    torch.testing.assert_close(gradient, book.users.weight.grad, rtol=1e-3, atol=1e-7)
    for model in (ours, book):
        model.zero_grad(set_to_none=True)


def _ranking_case(dataset: Dataset, pairs: int) -> dict[str, Any]:
    torch.manual_seed(0)
    users, items = torch.randn(dataset.n_users, DIM), torch.randn(dataset.n_items, DIM)
    held_out = held_out_valid(dataset)
    asked = held_out.users.tolist()
    seen: dict[int, list[int]] = {}
    for user, item in zip(dataset.train.users.tolist(), dataset.train.items.tolist()):
        seen.setdefault(user, []).append(item)
    bounds = zip(asked, held_out.indptr[:-1], held_out.indptr[1:])
    relevant = {user: set(held_out.items[a:b].tolist()) for user, a, b in bounds}
    ks = (5, 10, 20, 50)
    options = EvaluationOptions(metrics=("recall", "ndcg"), ks=ks)

    def ours() -> Any:
        return evaluate(VectorRanker(users, items), dataset, held_out, options)

    def textbook() -> Tensor:
        return rank_blocks(users, items, seen, asked, K)

    mine, theirs = ours(), textbook()
    with_loops = loop_metrics(theirs, relevant, asked, ks)
    worst = max(abs(with_loops[name] - value) for name, value in mine.metrics.items())
    same = _same_ranks(mine.topk.items, theirs, users[asked], items)
    sides: dict[str, Callable[[], Any]] = {
        "ours": ours,
        "textbook": lambda: loop_metrics(textbook(), relevant, asked, ks),
        "textbook, ranking only": textbook,
    }
    compared = _compared(_interleaved(sides, pairs))
    return {**compared, "largest_metric_difference": worst, **same}


def _same_ranks(mine: Tensor, theirs: Tensor, users: Tensor, items: Tensor) -> dict[str, Any]:
    """How many places differ, and by how much their scores do (exact ties aside: rounding)."""
    rows, places = (mine != theirs).nonzero(as_tuple=True)
    gap = 0.0
    if len(rows):
        a = (users[rows].double() * items[mine[rows, places]].double()).sum(1)
        b = (users[rows].double() * items[theirs[rows, places]].double()).sum(1)
        gap = float(((a - b).abs() / a.abs().clamp_min(1e-12)).max())
    return {
        "places": mine.numel(),
        "places_that_differ": len(rows),
        "largest_relative_score_gap_there": gap,
    }


def _interleaved(sides: dict[str, Callable[[], Any]], pairs: int) -> dict[str, list[float]]:
    for side in sides.values():
        side()
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(pairs):
        for name, side in sides.items():
            began = time.perf_counter()
            side()
            seconds[name].append(time.perf_counter() - began)
    return seconds


def _compared(seconds: dict[str, list[float]]) -> dict[str, Any]:
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    ratios = {
        name: [t / mine for t, mine in zip(times, seconds["ours"])]
        for name, times in seconds.items()
        if name != "ours"
    }
    return {
        "seconds": {name: round(value, 4) for name, value in medians.items()},
        "spread": {n: [round(min(t), 4), round(max(t), 4)] for n, t in seconds.items()},
        "ratio": {name: round(statistics.median(r), 2) for name, r in ratios.items()},
        "ratio_spread": {n: [round(min(r), 2), round(max(r), 2)] for n, r in ratios.items()},
    }


def _peak_memory(arguments: argparse.Namespace, case: str) -> dict[str, int]:
    """Peak resident memory of a process that loads the data and trains a few steps."""
    found = {}
    for side in ("ours", "textbook"):
        command = [sys.executable, __file__, str(arguments.dataset), "--memory", case, side]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found[side] = int(done.stdout.split()[-1])
    return found


def _memory_child(arguments: argparse.Namespace) -> None:
    case, side = arguments.memory
    dataset = load_dataset(arguments.dataset).using(["text"])
    model = _make(case, dataset, side)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.Adam(trained, lr=1e-3, fused=side == "ours")
    batches = BatchSampler(dataset.train, Sampling(), BATCH, seed=0).epoch(0)
    for _, batch in zip(range(5), batches):
        optimiser.zero_grad()
        _loss(model, batch).backward()
        optimiser.step()
    print(peak_kib() // 1024)


def peak_kib() -> int:
    """The most memory this process ever held; ru_maxrss would count its parent's, too."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))


def _loss(model: Any, batch: Batch) -> Tensor:
    if isinstance(model, Recommender):
        return torch.stack(list(model.loss(batch).values())).sum()
    assert batch.negatives is not None
    loss: Tensor = model.loss(batch.users, batch.positives, batch.negatives.squeeze(1))
    return loss


def _setting(dataset: Dataset, arguments: argparse.Namespace) -> dict[str, Any]:
    return {
        "dataset": dataset.name,
        "data_id": dataset.data_id,
        "users": dataset.n_users,
        "items": dataset.n_items,
        "train_interactions": len(dataset.train.users),
        "batch_size": BATCH,
        "dim": DIM,
        "pairs": arguments.pairs,
        "steps_timed": arguments.steps,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "processor": processor(),
    }


def processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _print(results: dict[str, Any]) -> None:
    console = Console(width=120)
    console.print(results["setting"])
    table = Table("", "side", "seconds (median)", "spread", "ratio to ours", "spread", "peak MiB")
    for case in (*CASES, "ranking"):
        found = results[case]
        for side, seconds in found["seconds"].items():
            low, high = found["spread"][side]
            ratio, spread = found["ratio"].get(side), found["ratio_spread"].get(side)
            table.add_row(
                case,
                side,
                f"{seconds:.3f}",
                f"{low:.3f}-{high:.3f}",
                f"{ratio:.2f}" if ratio else "",
                f"{spread[0]:.2f}-{spread[1]:.2f}" if spread else "",
                str(found.get("peak_memory_mib", {}).get(side, "")),
            )
    console.print(table)
    console.print("Seconds are per epoch for training, per evaluation of all users for ranking.")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Training and ranking against a textbook")
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--pairs", type=int, default=5, help="repetitions of each side")
    parser.add_argument("--steps", type=int, default=10**6, help="steps timed; default: an epoch")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--memory", nargs=2, metavar=("CASE", "SIDE"), help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
