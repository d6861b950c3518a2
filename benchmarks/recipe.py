"""Find `modular`'s recommended composition on validation data, one choice after another.

    python benchmarks/recipe.py DIR DIR --work WORK --out benchmarks/results/recipe.json

Every stage asks one question; its candidates are laid over the best composition so far, trained on
every dataset with seed 0 and without ever opening test, and compared by validation Recall@20,
each dataset's relative to the start's. The first candidate of a stage is "as it is". A stage is
won by the best mean over the datasets, and by more than `MARGIN`; otherwise nothing changes.
Run it again to continue.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

from graphrec.data.dataset import Dataset
from graphrec.data.loading import load_dataset
from graphrec.serving.run import load_run
from graphrec.training.config import Experiment, apply_overrides
from graphrec.training.train import resume_run, train_run
from modalities._base.files import locked, write_json
from modalities._base.identity import digest

BUDGET = ("training.epochs=200", "training.eval_every=5", "training.patience=3")
METRIC = "recall@20"
MARGIN = 0.003
NO_BPR = ("model.losses.bpr=0",)
PLAIN = (*NO_BPR, "model.losses.content=0", "model.losses.reg=1e-4")
AU = (*NO_BPR, "model.losses.alignment=1", "model.losses.uniform_users=0.25")
STAGES: dict[str, dict[str, tuple[str, ...]]] = {
    "learning rate": {
        "0.001": (),
        "0.003": ("training.lr=3e-3",),
        "0.01": ("training.lr=1e-2",),
    },
    "loss": {
        "as it is": (),
        "bpr, reg": ("model.losses.content=0", "model.losses.reg=1e-4"),
        "softmax over the batch": (*NO_BPR, "model.losses.softmax.pool=batch"),
        "softmax of 64 negatives": (
            *PLAIN,
            "model.negatives=64",
            "model.losses.softmax.cosine=false",
            "model.losses.softmax.temperature=1",
        ),
        "softmax of 64 negatives, cosine scores": (
            *PLAIN,
            "model.negatives=64",
            "model.losses.softmax=1",
            "model.score=cosine",
        ),
        "alignment, uniformity": (*AU, "model.losses.uniform_items=0.25"),
        "alignment, calibrated uniformity": (
            *AU,
            "model.losses.calibrated_items.spread=positives",
        ),
    },
    "edge pruning": {
        "as it is": (),
        "none": ("model.propagation.drop_ratio=0",),
    },
    "item graph": {
        "as it is": (),
        "none": ("model.item_graph=none",),
        "propagated": ("model.item_graph.applied=propagated",),
        "symmetric": ("model.item_graph.norm=symmetric",),
        "co-occurrence": ("model.item_graph=cooccurrence", "model.item_graph.applied=identities"),
        "content and co-occurrence": (
            "model.item_graph=mixed",
            "model.item_graph.applied=identities",
        ),
    },
    "streams": {
        "as it is": (),
        "and modalities": ("model.streams.modalities=true",),
        "and modalities of histories": ("model.streams.modalities.users=history",),
        "and the mixture": ("model.streams.mixture=true",),
        "without identities": ("model.streams.identity=false", "model.streams.modalities=true"),
    },
    "temperature": {
        "as it is": (),
        "0.5": ("model.losses.softmax.temperature=0.5",),
        "2": ("model.losses.softmax.temperature=2",),
    },
    "layers": {
        "as it is": (),
        "1": ("model.propagation.layers=1",),
        "3": ("model.propagation.layers=3",),
    },
    "branches": {
        "as it is": (),
        "items": ("model.branches.item_hypergraph=true",),
        "items, contrasted": (
            "model.branches.item_hypergraph=true",
            "model.losses.contrast_item={weight: 0.1, nodes: 512}",
        ),
    },
}


def main() -> None:
    arguments = _arguments()
    datasets = {path: load_dataset(path) for path in arguments.datasets}
    results: dict[str, Any] = {
        "budget": list(BUDGET),
        "metric": METRIC,
        "margin": MARGIN,
        "start": "freedom",
        "datasets": [_described(dataset) for dataset in datasets.values()],
        "stages": {},
    }
    best: tuple[str, ...] = ("model.preset=freedom",)
    scale: dict[str, float] = {}
    for stage, candidates in STAGES.items():
        if stage == "temperature" and not any("softmax" in option for option in best):
            continue
        rows: dict[str, dict[str, Any]] = {}
        for label, options in candidates.items():
            found = {
                dataset.name: _trained(arguments.work, path, dataset, (*best, *options))
                for path, dataset in datasets.items()
            }
            scale = scale or found
            gain = statistics.fmean(found[name] / scale[name] for name in found)
            rows[label] = {"options": list(options), "valid": found, "relative": gain}
            results["stages"][stage] = {"candidates": rows}
            write_json(arguments.out, results)
            print(f"{stage:14s} {label:40s} {gain:.4f} {found}", flush=True)
        start, *_ = rows
        winner = max(rows, key=lambda label: float(rows[label]["relative"]))
        if rows[winner]["relative"] < rows[start]["relative"] + MARGIN:
            winner = start
        best = (*best, *candidates[winner])
        results["stages"][stage]["chosen"] = winner
        results["chosen"] = list(best)
        write_json(arguments.out, results)
    print(json.dumps(results["chosen"], indent=2))


def _trained(work: Path, path: Path, dataset: Dataset, options: tuple[str, ...]) -> float:
    """Validation metric of a composition; test stays closed."""
    values = {"data": {"path": str(path.resolve())}, "model": {"name": "modular"}}
    experiment = Experiment.parse(apply_overrides(values, [*BUDGET, *options]))
    made = experiment.to_dict()
    folder = work / f"{dataset.name}-{digest(made['model'], made['training'])[:12]}"
    with locked(work / f"{folder.name}.lock"):  # several of these may share the work
        if not (folder / "manifest.json").is_file():
            train_run(dataset, experiment, folder, test=False)
        elif load_run(folder).folder.manifest()["status"] != "finished":
            resume_run(folder, dataset)
    return float(load_run(folder).metrics["valid"][METRIC])


def _described(dataset: Dataset) -> dict[str, Any]:
    return {
        "name": dataset.name,
        "data_id": dataset.data_id,
        "split_id": dataset.split_id,
        "features": dataset.feature_ids,
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Search modular's recommended composition")
    parser.add_argument("datasets", type=Path, nargs="+")
    parser.add_argument("--work", type=Path, required=True, help="folder for the runs")
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    main()
