from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import graphrec
from graphrec.data.dataset import Dataset
from graphrec.evaluation.significance import resampled_t
from graphrec.experiments import compare_runs, render
from graphrec.experiments.across import across_splits, gain_rows
from graphrec.experiments.compare import Comparison
from graphrec.training.folder import RunFolder
from modalities._base.errors import InputError


@pytest.fixture
def comparisons(small_dataset: Dataset, tmp_path: Path) -> list[Comparison]:
    """Three models on three folds; the third is missing on the last."""
    runs = []
    for fold in range(3):
        dataset = small_dataset.split_by("k-fold", folds=3, fold=fold)
        for model in ("popularity", "itemknn", "bpr")[: 3 if fold < 2 else 2]:
            training = {"epochs": 2}
            out = tmp_path / f"{model}-{fold}"
            runs.append(graphrec.train(dataset, model, out, training=training, progress=False).path)
    return compare_runs(runs, metrics=["recall@5", "ndcg@5"], base="popularity", anyway=True)


def test_gains_are_put_together_split_by_split(comparisons: list[Comparison]) -> None:
    assert len(comparisons) == 3
    (found,) = across_splits(comparisons)
    assert found.splits == tuple(one.split_id for one in comparisons)
    assert list(found.variants) == ["itemknn", "popularity"]  # bpr lacks a split
    knn = found.variants["itemknn"]["recall@5"]
    gains = [
        next(v for v in one.variants if v.label == "itemknn").gains["recall@5"].mean
        for one in comparisons
    ]
    assert knn.gains == tuple(gains)
    assert not found.variants["popularity"]["recall@5"].gains
    # by hand: every interaction is test once, and one third of them trains
    spread = np.std(gains, ddof=1) * np.sqrt(1 / 3 + 1)
    reach = stats.t.ppf(0.975, 2) * spread
    assert knn.low == pytest.approx(np.mean(gains) - reach, rel=0.05)
    assert knn.high == pytest.approx(np.mean(gains) + reach, rel=0.05)
    assert knn.p is not None
    assert "corrected resampled t-test over the 3 splits" in found.notes[1]
    header, rows = gain_rows(found, "recall@5")
    assert len(header) == len(rows[0]) == 7
    assert rows[0][2] == f"{gains[0]:+.4f}"
    assert rows[1][2:] == [""] * 5
    text = render(comparisons, "markdown")
    assert "split by split" in text
    assert " | ".join(rows[0]) in text


def test_splits_together_know_which_way_is_better(small_dataset: Dataset, tmp_path: Path) -> None:
    runs = [
        graphrec.train(
            small_dataset.split_by("k-fold", folds=3, fold=fold),
            model,
            tmp_path / f"{model}-{fold}",
            training={"metric": "recall@5"},
            evaluation={"metrics": ["recall", "gini"], "ks": [5]},
            progress=False,
        )
        for fold in range(2)
        for model in ("popularity", "random")
    ]
    (found,) = across_splits(compare_runs(runs, metrics=["gini@5"], anyway=True))
    popular, fair = (found.variants[name]["gini@5"].scores for name in ("popularity", "random"))
    assert sum(fair) < sum(popular)
    assert list(found.variants) == ["random", "popularity"]
    assert not found.variants["random"]["gini@5"].gains


def test_one_split_is_not_put_together(comparisons: list[Comparison]) -> None:
    assert not across_splits(comparisons[:1])
    assert not across_splits([comparisons[0], comparisons[0]])


def test_without_counts_there_is_no_interval(comparisons: list[Comparison]) -> None:
    for one in comparisons:
        for variant in one.variants:
            RunFolder(Path(variant.runs[0])).update_manifest(split={})
    (found,) = across_splits(comparisons)
    assert found.variants["itemknn"]["recall@5"].p is None
    assert "No interval" in found.notes[1]
    assert "[" not in gain_rows(found, "recall@5")[1][0][-1]


def test_the_corrected_test_is_wider_than_the_plain_one() -> None:
    gains = [0.02, 0.03, 0.05, 0.01]
    plain = resampled_t(gains, 0)
    assert plain[2] == pytest.approx(stats.ttest_1samp(gains, 0).pvalue)
    interval = stats.ttest_1samp(gains, 0).confidence_interval()
    assert plain[:2] == pytest.approx((interval.low, interval.high))
    corrected = resampled_t(gains, 0.25)
    half = (plain[1] - plain[0]) / 2
    assert corrected[1] - corrected[0] == pytest.approx(2 * half * np.sqrt(2))
    assert corrected[2] > plain[2]
    assert resampled_t([0.1, 0.1], 0.2) == (0.1, 0.1, 0.0)
    assert resampled_t([0.0, 0.0], 0.2)[2] == 1.0
    with pytest.raises(InputError, match="at least 2"):
        resampled_t([0.1], 0.2)
