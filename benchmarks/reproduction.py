"""Train models on a dataset with several seeds and keep the figures as JSON.

    python benchmarks/reproduction.py DIR --runs RUNS --out benchmarks/results/NAME.json \
        --model lightgcn freedom --seeds 0 1 2 training.eval_every=5 training.patience=6

Run folders go to RUNS/<model>-<seed>; a run that was cut off is continued, a finished one is read.
Call it again with the same --out for other models or options: each call replaces its own models'
rows. Epochs are selected on validation; test is opened once per run, at its best epoch. Every
model's gain over --base, user by user, is added where both have been trained.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from difference import gain

import graphrec
from graphrec.data.dataset import Dataset
from graphrec.data.loading import load_dataset
from graphrec.serving.run import load_run
from graphrec.training.config import Experiment, apply_overrides
from graphrec.training.train import resume_run, train_run
from modalities._base.files import write_json

SHOWN = ("recall@10", "recall@20", "ndcg@10", "ndcg@20")


def main() -> None:
    arguments = _arguments()
    dataset = load_dataset(arguments.dataset)
    results = _read(arguments.out)
    results["dataset"] = dataset.name
    results["data_id"], results["split_id"] = dataset.data_id, dataset.split_id
    for model in arguments.model:
        label = arguments.label or model
        rows = train_seeds(
            dataset,
            arguments.dataset,
            model,
            label,
            arguments.seeds,
            arguments.runs,
            arguments.overrides,
        )
        used = load_run(arguments.runs / f"{label}-{arguments.seeds[0]}").folder.manifest()
        found = {**summarise(rows, arguments.overrides), "features": used["ids"]["features"]}
        results.setdefault("models", {})[label] = found
        _add_gains(results, arguments.runs, arguments.base)
        write_json(arguments.out, results)
        print(label, json.dumps(found["mean"], indent=2), flush=True)


def _add_gains(results: dict[str, Any], runs: Path, base: str) -> None:
    """Differences of users' metrics to the base, averaged over seeds, with intervals."""
    for label in results["models"]:
        if label != base and all(any(runs.glob(f"{name}-[0-9]*")) for name in (label, base)):
            results.setdefault("differences", {})[f"{label} - {base}"] = gain(runs, label, base)


def train_seeds(
    dataset: Dataset,
    path: Path,
    model: str,
    label: str,
    seeds: Sequence[int],
    runs: Path,
    overrides: Sequence[str],
) -> list[dict[str, Any]]:
    """Train, continue or read the runs `RUNS/<label>-<seed>`, and their figures."""
    return [
        _row(
            dataset,
            runs / f"{label}-{seed}",
            Experiment.parse(
                apply_overrides(
                    {"data": {"path": str(path.resolve())}},
                    [f"model.name={model}", f"training.seed={seed}", *overrides],
                )
            ),
        )
        for seed in seeds
    ]


def summarise(rows: Sequence[dict[str, Any]], overrides: Sequence[str]) -> dict[str, Any]:
    """The runs of one model and their means."""
    means = {
        f"{part}_{name}": statistics.fmean(row[part][name] for row in rows)
        for part in ("valid", "test")
        for name in SHOWN
    }
    return {"overrides": list(overrides), "runs": list(rows), "mean": means}


def _row(dataset: Dataset, folder: Path, experiment: Experiment) -> dict[str, Any]:
    if (folder / "manifest.json").is_file():
        if load_run(folder).folder.manifest()["status"] != "finished":
            resume_run(folder, dataset)
    else:
        train_run(dataset, experiment, folder)
    run = load_run(folder)
    metrics = run.metrics
    return {
        "seed": experiment.training.seed,
        "best_epoch": metrics["best"]["epoch"],
        "epochs": int(run.history["epoch"].max()),  # type: ignore[arg-type]
        "train_seconds": round(float(run.history["seconds"].sum()), 1),
        "valid": {name: metrics["valid"][name] for name in SHOWN},
        "test": {name: metrics["test"][name] for name in SHOWN},
        "versions": run.folder.manifest()["versions"],
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
    }


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text()) if path.is_file() else {"graphrec": graphrec.__version__}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train with several seeds")
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--model", nargs="+", required=True)
    parser.add_argument("--label", help="name of the rows; default: the model")
    parser.add_argument("--base", default="lightgcn", help="the model gains are measured against")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    return parser.parse_intermixed_args()


if __name__ == "__main__":
    main()
