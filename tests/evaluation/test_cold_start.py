"""Cold items and users: what training sees, and rankings worked out by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from graphrec.data.dataset import Dataset, build_dataset
from graphrec.data.source import Source
from graphrec.data.splits import Split
from graphrec.evaluation.cold_start import evaluate_cold
from graphrec.evaluation.evaluate import EvaluationOptions
from graphrec.evaluation.expectation import random_expectation
from graphrec.evaluation.held_out import HeldOut
from graphrec.experiments.compare import compare_runs
from graphrec.experiments.report import write_report
from graphrec.models import model_class
from graphrec.serving.run import load_run
from graphrec.training.config import Experiment
from graphrec.training.features import fit_features
from graphrec.training.train import resume_run, train_run
from modalities import FeatureStore
from modalities._base.errors import InputError

OPTIONS = EvaluationOptions(metrics=("recall", "mrr"), ks=(1, 2))


def tiny(method: str, labels: list[int]) -> Dataset:
    """Users a, b; items p, q, r, s with content on a line of angles."""
    pairs = [("a", "p"), ("a", "r"), ("a", "s"), ("b", "q"), ("b", "s")]
    angles = np.radians([0, 90, 10, 80])
    text = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
    ids = ["p", "q", "r", "s"]
    source = Source(
        "tiny",
        pl.DataFrame(pairs, schema=["user", "item"], orient="row"),
        features={"text": FeatureStore.from_arrays(text, ids, modality="text")},
        item_ids=ids,
    )
    made = build_dataset(source, split="user-random")
    return made.with_split(Split.from_labels(labels, {"method": method}))


def held(dataset: Dataset, part: Any = "test") -> HeldOut:
    label = {"valid": 1, "test": 2}[part]
    return HeldOut.where(part, dataset, dataset.split.labels == label)


def test_training_sees_warm_items_only() -> None:
    dataset = tiny("cold-item", [0, 2, 1, 0, 2])
    assert dataset.cold is not None
    assert dataset.warm.item_ids == ["p", "q"]
    assert dataset.train.n_items == 2
    assert dataset.train.items.tolist() == [0, 1]
    assert len(dataset.train.features["text"].values) == 2
    assert [places.tolist() for places in dataset.cold.places] == [[0, 1], [0, 1, -1, -1]]
    options: Any = {"dim": 4}
    model = model_class("lightgcn")(dataset.train, **options)
    assert sum(p.numel() for p in model.parameters()) == (2 + 2) * 4
    assert dataset.n_items == 4  # ids stay


def test_other_splits_have_no_cold_side() -> None:
    dataset = tiny("user-random", [0, 2, 1, 0, 2])
    assert dataset.cold is None
    assert dataset.warm is dataset
    assert dataset.train.n_items == 4
    model = model_class("contentknn")(dataset.train)
    assert evaluate_cold(model, dataset, held(dataset)) is None


def test_cold_items_by_hand() -> None:
    dataset = tiny("cold-item", [0, 2, 1, 0, 2])
    found = evaluate_cold(model_class("contentknn")(dataset.train), dataset, held(dataset), OPTIONS)
    assert found is not None
    # a had p (0 degrees): r (10) comes before s (80). b had q (90): s comes before r.
    assert found.users.tolist() == [0, 1]
    np.testing.assert_array_equal(found.per_user["cold_recall@1"], [1.0, 1.0])
    # Among all, p has left a's ranking and q has left b's: r, s, q and s, r, p.
    np.testing.assert_array_equal(found.per_user["all_recall@1"], [1.0, 1.0])
    valid = evaluate_cold(
        model_class("contentknn")(dataset.train), dataset, held(dataset, "valid"), OPTIONS
    )
    assert valid is not None
    # For a, s is second among the cold (r, s); q (90) is further than s (80).
    assert valid.metrics["cold_recall@1"] == 0.0
    assert valid.metrics["cold_mrr@2"] == 0.5
    assert valid.metrics["all_mrr@2"] == 0.5


def test_cold_users_by_hand() -> None:
    dataset = tiny("cold-user", [3, 2, 3, 0, 0])
    assert dataset.cold is not None
    assert dataset.warm.user_ids == ["b"]
    assert dataset.train.n_users == 1
    assert dataset.train.n_items == 4
    found = evaluate_cold(model_class("contentknn")(dataset.train), dataset, held(dataset), OPTIONS)
    assert found is not None
    assert found.users.tolist() == [0]
    # a has p (0) and s (80), mean 40 degrees: r (10) is nearer than q (90).
    assert found.metrics == {
        "cold_recall@1": 1.0,
        "cold_recall@2": 1.0,
        "cold_mrr@1": 1.0,
        "cold_mrr@2": 1.0,
    }


def test_a_model_that_cannot_is_not_applicable() -> None:
    dataset = tiny("cold-item", [0, 2, 1, 0, 2])
    found = evaluate_cold(model_class("popularity")(dataset.train), dataset, held(dataset))
    assert found is not None
    assert found.metrics == {}
    assert "Popularity has no learnt vectors" in found.refused


def test_popularity_is_applicable_to_users() -> None:
    dataset = tiny("cold-user", [3, 2, 3, 0, 0])
    found = evaluate_cold(model_class("popularity")(dataset.train), dataset, held(dataset), OPTIONS)
    assert found is not None
    # Counts of training: q 1, s 1, and a has had s: q, then r.
    assert found.metrics["cold_mrr@2"] == 0.5


def test_transforms_learn_from_warm_items_only() -> None:
    dataset = tiny("cold-item", [0, 2, 1, 0, 2])
    experiment = Experiment.parse(
        {
            "model": {"name": "bpr"},
            "features": {"use": ["text"], "text": {"transforms": ["center"]}},
        }
    )
    made, _ = fit_features(dataset, experiment.features)
    mean = (np.array([1.0, 0.0]) + np.array([0.0, 1.0])) / 2
    cold = np.array([math.cos(math.radians(10)), math.sin(math.radians(10))])
    np.testing.assert_allclose(made.features["text"].values()[2], cold - mean, atol=1e-6)


@pytest.fixture
def cold_items(small_dataset: Dataset) -> Dataset:
    return small_dataset.split_by("cold-item", share=0.3, seed=2)


@pytest.fixture
def cold_users(small_dataset: Dataset) -> Dataset:
    return small_dataset.split_by("cold-user", share=0.3, seed=2)


def experiment(model: str, **training: Any) -> Experiment:
    settings = {"epochs": 2, "batch_size": 64, **training}
    return Experiment.parse({"model": {"name": model}, "training": settings})


@pytest.mark.parametrize("model", ["freedom", "cm3", "contentknn"])
def test_a_run_under_cold_items(model: str, cold_items: Dataset, tmp_path: Path) -> None:
    cold_items.save(tmp_path / "data")
    dataset = Dataset.load(tmp_path / "data")
    assert dataset.split_id == cold_items.split_id
    train_run(dataset, experiment(model), tmp_path / "run")
    run = load_run(tmp_path / "run")
    test = run.metrics["test"]
    assert {"recall@20", "cold_recall@20", "all_ndcg@10"} <= set(test)
    table = pl.read_parquet(tmp_path / "run" / "per_user.parquet").filter(pl.col("split") == "test")
    for metric in ("recall@20", "cold_recall@20", "all_ndcg@10"):
        assert table[metric].mean() == pytest.approx(test[metric])
    assert 0 < table["cold_recall@20"].null_count() < len(table)
    assert len(run.item_ids) == dataset.warm.n_items
    assert run.evaluate("test", dataset) == test
    openings = run.folder.path / "test_access.json"
    assert openings.read_text().count('"counter"') == 2


def test_validation_can_select_by_cold_items(cold_items: Dataset, tmp_path: Path) -> None:
    chosen = experiment("cm3", epochs=4, metric="cold_recall@5")
    folder = train_run(cold_items, chosen, tmp_path / "run", test=False)
    run = load_run(folder.path)
    assert run.history["cold_recall@5"].max() == run.metrics["valid"]["cold_recall@5"]
    interrupted = train_run(cold_items, chosen, tmp_path / "other", test=False)
    resume_run(interrupted.path, cold_items)
    with pytest.raises(InputError, match="cannot be measured: Popularity has no learnt"):
        train_run(cold_items, experiment("popularity", metric="cold_recall@5"), tmp_path / "p")
    assert not (tmp_path / "p").exists()


def test_cold_metrics_need_a_cold_split(small_dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="these data are split by 'user-random'"):
        train_run(small_dataset, experiment("bpr", metric="cold_recall@5"), tmp_path / "run")


def test_what_does_not_apply_is_listed(cold_items: Dataset, tmp_path: Path) -> None:
    for model in ("contentknn", "random", "itemknn"):
        train_run(cold_items, experiment(model), tmp_path / model)
    runs = [tmp_path / name for name in ("random", "contentknn", "itemknn")]
    (table,) = compare_runs(runs, metrics=["cold_recall@5"])
    assert [variant.label for variant in table.variants] == ["contentknn", "random"]
    assert "cold_recall@5: over the users who have such items held out." in table.notes
    assert not any(note.startswith("Transductive") for note in table.notes)
    assert table.notes[-1].startswith("itemknn: not applicable, ItemKNN has no learnt vectors")
    with pytest.raises(InputError, match="applies to none of the runs"):
        compare_runs(runs[2:], metrics=["cold_recall@5"])
    (other,) = compare_runs([runs[2], runs[0]], metrics=["cold_recall@5"])  # itemknn is the base
    assert other.base == "random"
    assert "Gains are not over itemknn, to which the metrics do not apply." in other.notes
    assert "itemknn" in write_report(tmp_path, tmp_path / "page.html").read_text()
    (plain,) = compare_runs(runs, metrics=["recall@5"])
    assert len(plain.variants) == 3


def test_random_order_agrees_with_its_expectation(cold_items: Dataset) -> None:
    options = EvaluationOptions(metrics=("recall", "ndcg", "hit_rate"), ks=(2,))
    test = held(cold_items)
    assert cold_items.cold is not None
    n = int((~cold_items.cold.items).sum())
    asked = test.within(np.arange(60), np.where(cold_items.cold.items, -1, 0))
    totals: dict[str, list[float]] = {}
    for seed in range(200):
        model = model_class("random")(cold_items.train)
        model.seed = seed
        found = evaluate_cold(model, cold_items, test, options)
        assert found is not None
        for name, value in found.metrics.items():
            totals.setdefault(name, []).append(value)
    pairs, _ = test.within(np.arange(60), np.where(cold_items.cold.items, -1, np.arange(30))).pairs
    counts = np.unique(pairs, return_counts=True)[1]
    assert len(counts) == len(asked.users)
    expected = random_expectation(n, counts, ["recall", "ndcg", "hit_rate"], [2])
    for name, values in expected.items():
        drawn = np.array(totals[f"cold_{name}"])
        assert abs(drawn.mean() - values.mean()) < 4 * drawn.std() / math.sqrt(len(drawn))


@pytest.mark.parametrize("model", ["alpharec", "lightgcn", "itemknn"])
def test_a_run_under_cold_users(model: str, cold_users: Dataset, tmp_path: Path) -> None:
    cold_users.save(tmp_path / "data")
    dataset = Dataset.load(tmp_path / "data")
    train_run(dataset, experiment(model), tmp_path / "run")
    run = load_run(tmp_path / "run")
    assert 0 <= run.metrics["test"]["cold_recall@20"] <= 1
    assert "all_recall@20" not in run.metrics["test"]
    assert len(run.user_ids) == dataset.warm.n_users < dataset.n_users


def test_transductive_runs_are_marked_and_kept_apart(cold_items: Dataset, tmp_path: Path) -> None:
    for name, flag in (("strict", False), ("loose", True)):
        values = {"name": "freedom", "k": 5}
        chosen = Experiment.parse(
            {
                "model": values,
                "training": {"epochs": 2, "batch_size": 64},
                "evaluation": {"transductive": flag},
            }
        )
        train_run(cold_items, chosen, tmp_path / name)
    strict, loose = (load_run(tmp_path / name).metrics["test"] for name in ("strict", "loose"))
    assert strict["recall@20"] == loose["recall@20"]
    assert strict["cold_mrr@50"] != loose["cold_mrr@50"]
    (table,) = compare_runs([tmp_path / "loose"], metrics=["cold_mrr@50"])
    assert "Transductive: cold items were neighbours of one another." in table.notes
    with pytest.raises(InputError, match="differ in evaluation"):
        compare_runs([tmp_path / "strict", tmp_path / "loose"], metrics=["cold_mrr@50"])


def test_spoiled_features_misplace_cold_items(cold_items: Dataset, tmp_path: Path) -> None:
    train_run(cold_items, experiment("lightgcn"), tmp_path / "run")
    run = load_run(tmp_path / "run")
    curve = run.robustness("missing", [1.0], seeds=1, dataset=cold_items)
    clean, spoiled = (level.metrics for level in curve.levels)
    assert clean == run.metrics["valid"]
    assert spoiled["recall@20"] == clean["recall@20"]
    assert spoiled["cold_recall@5"] != clean["cold_recall@5"]
