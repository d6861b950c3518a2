from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

import graphrec
from graphrec.data.dataset import Dataset
from graphrec.data.train_view import Features
from graphrec.evaluation.beyond import (
    BEYOND,
    Catalogue,
    coverage,
    diversity,
    gap,
    gini,
    novelty,
    popularity,
)
from modalities._base.errors import InputError

LISTS = np.array([[0, 1, 2], [0, 3, -1], [0, -1, -1], [-1, -1, -1]])
COUNTS = np.array([8, 4, 2, 1, 0])


def test_by_hand() -> None:
    assert coverage(LISTS, 5, 3) == 4 / 5
    assert coverage(LISTS, 5, 1) == 1 / 5
    # exposures 3, 1, 1, 1, 0: sorted 0 1 1 1 3
    assert gini(LISTS, 5, 3) == pytest.approx((-4 * 0 - 2 + 0 + 2 + 4 * 3) / (5 * 6))
    np.testing.assert_allclose(popularity(LISTS, COUNTS, 3), [14 / 3, 4.5, 8, np.nan])
    np.testing.assert_allclose(novelty(LISTS, COUNTS, 8, 3), [1, 1.5, 0, np.nan])
    assert novelty(np.array([[4]]), COUNTS, 8, 1).tolist() == [3.0]


def test_gini_is_the_mean_difference() -> None:
    random = np.random.default_rng(0)
    lists = random.integers(0, 12, (40, 5))
    shown = np.bincount(lists.ravel(), minlength=12)
    differences = [abs(a - b) for a, b in itertools.product(shown, shown)]
    assert gini(lists, 12, 5) == pytest.approx(np.mean(differences) / (2 * shown.mean()))


def test_diversity_is_the_mean_over_pairs() -> None:
    random = np.random.default_rng(1)
    x = random.normal(size=(9, 4))
    present = np.ones(9, bool)
    present[[2, 5]] = False
    lists = np.stack([random.permutation(9)[:4] for _ in range(20)])
    lists[3] = [2, 5, 0, -1]
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    expected = []
    for row in lists:
        known = [i for i in row if i >= 0 and present[i]]
        pairs = [1 - unit[i] @ unit[j] for i, j in itertools.combinations(known, 2)]
        expected.append(np.mean(pairs) if pairs else np.nan)
    got = diversity(lists, torch.from_numpy(x), torch.from_numpy(present), 4)
    np.testing.assert_allclose(got, expected, atol=1e-12)
    assert np.isnan(got[3])


def test_a_gap_between_users() -> None:
    assert gap(np.array([1.0, 0.5, np.nan, 0.0]), np.array([1, 1, 0, 0], bool)) == 0.75


def test_runs_measure_them(small_dataset: Dataset, tmp_path: Path) -> None:
    run = graphrec.train(
        small_dataset,
        "popularity",
        tmp_path / "run",
        evaluation={"metrics": ["recall", *BEYOND], "ks": [5, 20]},
    )
    metrics = run.metrics["test"]
    assert set(metrics) == {f"{name}@{k}" for name in ("recall", *BEYOND) for k in (5, 20)}
    users = pl.read_parquet(run.path / "per_user.parquet")
    assert {"novelty@5", "diversity@20", "popularity@5"} <= set(users.columns)
    assert "gini@5" not in users.columns
    top = pl.read_parquet(run.path / "topk.parquet").filter(
        (pl.col("split") == "test") & (pl.col("rank") <= 5)
    )
    assert metrics["coverage@5"] == pytest.approx(top["item"].n_unique() / small_dataset.n_items)


def test_diversity_needs_features() -> None:
    catalogue = Catalogue(3, COUNTS, {})
    with pytest.raises(InputError, match="diversity is measured on item features"):
        catalogue.measure("diversity", LISTS, 3)
    known = Catalogue(3, COUNTS, {"text": Features.from_tensor(torch.eye(5))})
    np.testing.assert_allclose(known.measure("diversity", LISTS, 3), [1, 1, np.nan, np.nan])
