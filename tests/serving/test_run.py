from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

import graphrec
from graphrec.data.dataset import Dataset
from graphrec.data.sampling import Batch
from graphrec.data.train_view import TrainView
from graphrec.models import registry
from graphrec.models.base import Recommender
from modalities._base.errors import InputError, UnknownNameError

QUICK = {"epochs": 3, "batch_size": 64}


@pytest.fixture
def run(small_dataset: Dataset, tmp_path: Path) -> graphrec.Run:
    small_dataset.save(tmp_path / "data")
    dataset = graphrec.load_dataset(tmp_path / "data")
    out = tmp_path / "run"
    return graphrec.train(dataset, "lightgcn", out, dim=8, training=QUICK, progress=False)


def test_recommendations_are_the_best_unseen_items(
    run: graphrec.Run, small_dataset: Dataset
) -> None:
    vectors = run.embeddings()
    table = run.recommend(["u3", "u7"], k=4)
    assert table["rank"].to_list() == [1, 2, 3, 4] * 2
    labels, events = small_dataset.split.labels, small_dataset.interactions
    for user in ("u3", "u7"):
        index = list(small_dataset.user_ids).index(user)
        scores = (vectors.users[index] @ vectors.items.T).numpy()
        known = (events.users == index) & ((labels == 0) | (labels == 1))
        scores[events.items[known]] = -np.inf
        best = np.argsort(-scores, kind="stable")[:4]
        rows = table.filter(pl.col("user") == user)
        assert rows["item"].to_list() == [small_dataset.item_ids[i] for i in best]
        np.testing.assert_allclose(rows["score"], scores[best], rtol=1e-5)
        assert rows["title"].to_list() == [f"thing {small_dataset.item_ids[i]}" for i in best]


def test_seen_items_on_request(run: graphrec.Run) -> None:
    assert len(run.recommend(["u0"], k=100, include_seen=True)) == 30
    assert len(run.recommend(["u0"], k=100)) < 30


def test_the_run_folder_alone_is_enough(run: graphrec.Run, tmp_path: Path) -> None:
    expected = run.recommend(["u1"], k=3)
    shutil.rmtree(tmp_path / "data")
    shutil.move(run.path, tmp_path / "elsewhere")
    moved = graphrec.load_run(tmp_path / "elsewhere")
    assert moved.recommend(["u1"], k=3).equals(expected)
    with pytest.raises(InputError, match="say where it is with --data DIR"):
        moved.evaluate("valid")


def test_models_without_vectors_serve_too(small_dataset: Dataset, tmp_path: Path) -> None:
    run = graphrec.train(small_dataset, "itemknn", tmp_path / "run", progress=False)
    again = graphrec.load_run(run.path)
    assert len(again.recommend(["u1"], k=3)) == 3
    with pytest.raises(InputError, match="'itemknn' has no user and item vectors"):
        again.embeddings()


def test_evaluating_again_gives_the_same_and_is_recorded(run: graphrec.Run) -> None:
    before = dict(run.metrics["test"])
    assert run.evaluate("test") == before
    assert run.evaluate("valid") == run.metrics["valid"]
    openings = json.loads((run.path / "test_access.json").read_text())["openings"]
    assert [opening["counter"] for opening in openings] == [1, 2]
    with pytest.raises(UnknownNameError, match="did you mean 'test'"):
        run.evaluate("tests")  # type: ignore[arg-type]


def test_tables_hold_the_same_figures_as_the_metrics(run: graphrec.Run) -> None:
    per_user = pl.read_parquet(run.path / "per_user.parquet")
    topk = pl.read_parquet(run.path / "topk.parquet")
    assert topk.columns == ["split", "user", "rank", "item", "score", "hit"]
    for split in ("valid", "test"):
        rows = per_user.filter(pl.col("split") == split)
        for name, value in run.metrics[split].items():
            assert rows[name].mean() == pytest.approx(value)
        hits = topk.filter((pl.col("split") == split) & (pl.col("rank") <= 5))["hit"].sum()
        assert hits / len(rows) / 5 == pytest.approx(run.metrics[split]["precision@5"])
        assert set(topk.filter(pl.col("split") == split)["user"]) == set(rows["user"])
    before = (run.path / "per_user.parquet").read_bytes()
    run.evaluate("valid")
    after = pl.read_parquet(run.path / "per_user.parquet")
    assert after.sort("split", "user").equals(per_user.sort("split", "user"))
    assert before


def test_an_unfinished_run_is_not_measured(small_dataset: Dataset, tmp_path: Path) -> None:
    """Its figures would stand for those of another epoch once it is finished."""
    fast = {"epochs": 3, "batch_size": 64, "max_minutes": 1e-9}
    run = graphrec.train(
        small_dataset, "bpr", tmp_path / "run", dim=4, training=fast, progress=False
    )
    for use in (lambda: run.evaluate("valid"), lambda: run.evaluate("test"), run.embeddings):
        with pytest.raises(InputError, match="is not finished"):
            use()
    assert not (tmp_path / "run" / "test_access.json").exists()


class OwnScore(Recommender):
    """Trained, and without vectors: two tables and a bias that the score adds."""

    factorised = False

    def __init__(self, train: TrainView, *, dim: int = 4) -> None:
        super().__init__(train)
        self.users, self.items = (
            torch.nn.Parameter(torch.randn(n, dim)) for n in (self.n_users, self.n_items)
        )
        self.steps = 0

    def loss(self, batch: Batch) -> dict[str, torch.Tensor]:
        self.steps += 1
        assert batch.negatives is not None
        user = self.users[batch.users]
        good = (user * self.items[batch.positives]).sum(1)
        bad = (user * self.items[batch.negatives[:, 0]]).sum(1)
        return {"bpr": -torch.nn.functional.logsigmoid(good - bad).mean()}

    def score(self, users: torch.Tensor, items: torch.Tensor | None = None) -> torch.Tensor:
        chosen = self.items if items is None else self.items[items]
        return self.users[users] @ chosen.T + self.steps * 0.0

    def get_extra_state(self) -> dict[str, int]:
        return {"steps": self.steps}

    def set_extra_state(self, state: dict[str, int]) -> None:
        self.steps = state["steps"]


def test_a_trained_model_without_vectors_is_served_as_trained(
    small_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_registered", {"own": OwnScore})
    fast = {"epochs": 3, "batch_size": 64}
    run = graphrec.train(small_dataset, "own", tmp_path / "run", training=fast, progress=False)
    shown = pl.read_parquet(run.path / "topk.parquet").filter(pl.col("split") == "test")
    user = shown["user"][0]
    expected = shown.filter(pl.col("user") == user)["item"].to_list()[:5]
    everything = set(small_dataset.item_ids)
    served = graphrec.load_run(run.path)
    # The test ranking leaves training items out; what is served leaves validation items out too.
    got = served.recommend(user, k=len(everything))["item"].to_list()
    assert got[:3] == [item for item in expected if item in got][:3]
    assert served._ranker.steps > 0  # type: ignore[attr-defined]
    assert graphrec.load_run(run.path).recommend(user, k=5).equals(served.recommend(user, k=5))


def test_export(run: graphrec.Run, tmp_path: Path) -> None:
    run.export(tmp_path / "vectors")
    users = pl.read_parquet(tmp_path / "vectors" / "users.parquet")
    items = pl.read_parquet(tmp_path / "vectors" / "items.parquet")
    assert users["user_id"].to_list() == run.user_ids
    assert items["item_id"].to_list() == run.item_ids
    np.testing.assert_array_equal(items["vector"].to_numpy(), run.embeddings().items.numpy())
    with pytest.raises(InputError, match="already exists"):
        run.export(tmp_path / "vectors")


def test_unknown_user_and_bad_k(run: graphrec.Run) -> None:
    with pytest.raises(InputError, match="unknown user 'u999'"):
        run.recommend(["u999"])
    with pytest.raises(InputError, match="at least 1"):
        run.recommend(["u1"], k=0)


def test_not_a_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a run folder"):
        graphrec.load_run(tmp_path)


def test_an_unfinished_run_says_how_to_go_on(small_dataset: Dataset, tmp_path: Path) -> None:
    training = {**QUICK, "max_minutes": 1e-9}
    run = graphrec.train(
        small_dataset, "lightgcn", tmp_path / "run", training=training, progress=False
    )
    with pytest.raises(InputError, match=r"not finished .*--resume"):
        run.recommend(["u1"])
