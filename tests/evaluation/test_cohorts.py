from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest

import graphrec
from graphrec.data.dataset import Dataset
from graphrec.data.train_view import TrainView
from graphrec.evaluation.cohorts import (
    COHORTS,
    activity_groups,
    cohort_metrics,
    coldness_groups,
    modality_groups,
    popularity_groups,
)
from graphrec.evaluation.test_split import openings_of
from modalities._base.errors import InputError, UnknownNameError


def test_items_by_popularity_hold_equal_shares() -> None:
    random = np.random.default_rng(0)
    items = (random.pareto(1.0, 4000) * 3).astype(int) % 60
    users = random.integers(0, 50, 4000)
    train = TrainView.from_arrays(users.tolist(), items.tolist(), n_users=50, n_items=70)
    groups = popularity_groups(train)
    counts = train.item_counts.numpy()
    shares = {name: counts[groups == name].sum() / 4000 for name in ("head", "mid", "tail")}
    assert sum(shares.values()) == pytest.approx(1)
    assert counts[groups == "head"].min() >= counts[groups == "mid"].max()
    assert counts[groups == "mid"].min() >= counts[groups == "tail"].max()
    assert set(groups[60:]) == {"cold"}


def test_users_by_activity(tiny_train: TrainView) -> None:
    groups = activity_groups(tiny_train)
    counts = np.bincount(tiny_train.users.numpy(), minlength=5)
    assert counts.tolist() == [4, 2, 3, 1, 2]
    assert groups.tolist() == ["many", "few", "some", "few", "few"]


def test_items_by_what_they_have(tiny_train: TrainView) -> None:
    assert coldness_groups(tiny_train).tolist() == ["warm"] * 5 + ["cold"]
    assert modality_groups(tiny_train)[3:].tolist() == ["image+text", "image", "image+text"]
    assert set(modality_groups(tiny_train.using([]))) == {"none"}


def test_metrics_of_groups_by_hand(tiny_train: TrainView) -> None:
    """User 0 wants items 3 and 5 (cold), user 3 wants item 4; both were shown 3, 5."""
    users = np.array([0, 3])
    lists = np.array([[3, 5], [3, 5]])
    table = cohort_metrics(
        tiny_train, users, lists, np.array([0, 2, 3]), np.array([3, 5, 4]), metrics=["recall"], k=2
    )
    found = {
        (r["cohort"], r["group"]): (r["users"], r["items"], r["recall@2"])
        for r in table.rows(named=True)
    }
    assert found[("coldness", "cold")] == (1, 1, 1.0)
    assert found[("coldness", "warm")] == (2, 5, 0.5)
    assert found[("activity", "few")] == (1, None, 0.0)
    assert found[("activity", "many")] == (1, None, 1.0)
    assert found[("modalities", "image")] == (1, 1, 0.0)
    assert found[("modalities", "image+text")] == (1, 5, 1.0)
    assert {cohort for cohort, _ in found} == set(COHORTS)


def test_unknown_names(tiny_train: TrainView) -> None:
    nobody = np.zeros(0, np.int64)
    with pytest.raises(
        UnknownNameError, match="unknown cohort 'popular'; did you mean 'popularity'"
    ):
        cohort_metrics(tiny_train, nobody, nobody, nobody, nobody, cohorts=["popular"])
    with pytest.raises(UnknownNameError, match="unknown metric"):
        cohort_metrics(tiny_train, nobody, nobody, nobody, nobody, metrics=["recal"])


def test_runs_record_their_cohorts(small_dataset: Dataset, tmp_path: Path) -> None:
    run = graphrec.train(small_dataset, "popularity", tmp_path / "run", progress=False)
    splits: tuple[Literal["valid", "test"], ...] = ("valid", "test")
    for split in splits:
        table = run.cohorts(split)
        assert set(table["cohort"]) == set(COHORTS)
        active = table.filter(table["cohort"] == "activity")
        weights = active["users"] / active["users"].sum()
        whole = float((active["recall@20"] * weights).sum())
        assert whole == pytest.approx(run.metrics[split]["recall@20"])
        for users, recall, gap in active.select("users", "recall@20", "gap recall@20").rows():
            total = int(active["users"].sum())
            if users < total:
                others = (whole * total - recall * users) / (total - users)
                assert gap == pytest.approx(recall - others)
    assert len(openings_of(run.path / "test_access.json")) == 1
    shut = graphrec.train(
        small_dataset, "popularity", tmp_path / "shut", test=False, progress=False
    )
    with pytest.raises(InputError, match="has no cohorts of test; measure it with"):
        shut.cohorts()
