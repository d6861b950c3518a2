"""Is one model better than another, user by user? A paired bootstrap over users.

    python benchmarks/difference.py RESULTS.json --runs RUNS --better freedom --base lightgcn

Averages each user's test metric over the seeds of each model, takes differences, resamples users
10,000 times, and adds mean and 95 % interval to RESULTS.json.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from graphrec.evaluation.significance import mean_interval
from modalities._base.files import write_json

METRICS = ("recall@20", "ndcg@20")


def main() -> None:
    parser = argparse.ArgumentParser(description="Paired bootstrap over users")
    parser.add_argument("results", type=Path)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--better", required=True)
    parser.add_argument("--base", required=True)
    arguments = parser.parse_args()
    found = gain(arguments.runs, arguments.better, arguments.base)
    results = json.loads(arguments.results.read_text(encoding="utf-8"))
    results.setdefault("differences", {})[f"{arguments.better} - {arguments.base}"] = found
    write_json(arguments.results, results)
    print(json.dumps(found, indent=2))


def gain(runs: Path, better: str, base: str) -> dict[str, dict[str, float]]:
    """Differences of users' metrics, averaged over the seeds of each, with their intervals."""
    found = {}
    for metric in METRICS:
        tables = [per_user(runs, label, metric) for label in (better, base)]
        joined = tables[0].join(tables[1], on="user", suffix="_base")
        found[metric] = interval((joined["value"] - joined["value_base"]).to_numpy())
    return found


def interval(differences: NDArray[np.float64]) -> dict[str, float]:
    """Mean and 95 % percentile interval of the mean, users resampled."""
    mean, low, high = mean_interval(differences, resamples=10_000)
    return {"mean": mean, "low": low, "high": high, "users": len(differences)}


def per_user(runs: Path, model: str, metric: str) -> pl.DataFrame:
    """Each user's metric, averaged over the seeds of a model."""
    tables = [
        pl.read_parquet(path).filter(pl.col("split") == "test").select("user", metric)
        for path in sorted(runs.glob(f"{model}-[0-9]*/per_user.parquet"))
    ]
    return pl.concat(tables).group_by("user").agg(pl.col(metric).mean().alias("value"))


if __name__ == "__main__":
    main()
