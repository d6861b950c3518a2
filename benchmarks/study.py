"""Keep the figures of a finished study as JSON.

    python benchmarks/study.py STUDY --out benchmarks/results/NAME.json

STUDY is the folder that `graphrec ablate` wrote; its comparison on test is computed again from the
runs' recorded values. Where the study is of cold items, every variant is also compared with the
exact expectation of a random order of each user's candidates.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from difference import interval

from graphrec.data.loading import load_dataset
from graphrec.evaluation.cold_start import is_cold
from graphrec.evaluation.expectation import random_expectation
from graphrec.evaluation.test_split import open_test
from graphrec.experiments.compare import Comparison, Variant, compare_runs
from graphrec.experiments.study import shared_work
from modalities._base.files import read_json, write_json


def main() -> None:
    parser = argparse.ArgumentParser(description="Keep the figures of a study")
    parser.add_argument("study", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    study = read_json(arguments.study / "study.json")
    folders = {str(arguments.study / "runs" / run["folder"]): run for run in study["runs"]}
    (compared,) = compare_runs(
        list(folders),
        metrics=study["metrics"],
        labels={folder: run["variant"] for folder, run in folders.items()},
        base=study["runs"][0]["variant"],
    )
    results = {
        "study": {**study["declared"], "data": "DIR"},
        "dataset": compared.dataset,
        "data_id": compared.data_id,
        "split_id": compared.split_id,
        "features": _features(compared),
        "base": compared.base,
        "variants": {one.label: _row(one) for one in compared.variants},
        "notes": list(compared.notes),
        "shared": dict(shared_work(arguments.study)),
    }
    if any(is_cold(metric) for metric in compared.metrics):
        results["over_random_order"] = _over_random(compared, study["declared"]["data"])
    write_json(arguments.out, results)
    print(json.dumps(results["variants"], indent=1)[:2000])


def _features(compared: Comparison) -> dict[str, str]:
    """Identities of the features, as the best variants used them."""
    runs = [Path(run) for variant in compared.variants for run in variant.runs]
    ids = [read_json(run / "manifest.json")["ids"]["features"] for run in runs]
    return {name: identity for one in reversed(ids) for name, identity in one.items()}


def _row(variant: Variant) -> dict[str, Any]:
    return {
        "seeds": list(variant.seeds),
        "metrics": {
            metric: {"mean": score.mean, "deviation": score.deviation}
            for metric, score in variant.scores.items()
        },
        "gains": {
            metric: {"mean": gain.mean, "low": gain.low, "high": gain.high, "p": variant.p[metric]}
            for metric, gain in variant.gains.items()
        },
        "openings_of_test": list(variant.openings),
    }


def _over_random(compared: Comparison, data: str) -> dict[str, Any]:
    """Recall on cold items less what a random order reaches, user by user."""
    dataset = load_dataset(data)
    assert dataset.cold is not None
    cold = ~dataset.cold.items
    held = open_test(dataset, None, reason="how many cold items each user has")
    places = np.where(cold, np.cumsum(cold) - 1, -1)
    asked = held.within(np.arange(dataset.n_users), places)
    metric = "cold_recall@20"
    expected = random_expectation(int(cold.sum()), np.diff(asked.indptr), ["recall"], [20])
    frame = pl.DataFrame(
        {
            "user": [dataset.user_ids[user] for user in asked.users.tolist()],
            "expected": expected["recall@20"],
        }
    )
    return {
        "metric": metric,
        "expected": float(frame["expected"].mean()),  # type: ignore[arg-type]
        "candidates": int(cold.sum()),
        "variants": {
            one.label: interval(_differences(one.runs, metric, frame)) for one in compared.variants
        },
    }


def _differences(runs: Sequence[str], metric: str, expected: pl.DataFrame) -> Any:
    tables = [
        pl.read_parquet(Path(run) / "per_user.parquet")
        .filter((pl.col("split") == "test") & pl.col(metric).is_not_null())
        .select("user", metric)
        for run in runs
    ]
    means = pl.concat(tables).group_by("user").agg(pl.col(metric).mean())
    joined = means.join(expected, on="user")
    return (joined[metric] - joined["expected"]).to_numpy()


if __name__ == "__main__":
    main()
