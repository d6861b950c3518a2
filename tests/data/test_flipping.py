from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

import graphrec
from graphrec.data.dataset import Dataset
from graphrec.data.flipping import flipped
from graphrec.data.train_view import TrainView
from graphrec.graphs import user_item_graph
from graphrec.serving.run import load_run
from graphrec.training import Experiment, resume_run
from graphrec.training.features import fit_features, training_view
from modalities._base.errors import InputError


def pairs(view: TrainView) -> list[tuple[int, int]]:
    return list(zip(view.users.tolist(), view.items.tolist(), strict=True))


@pytest.fixture
def train() -> TrainView:
    """40 users with 1 to 12 of the items 0 to 29; items 30 to 34 are cold."""
    random = np.random.default_rng(0)
    rows = [
        (user, int(item))
        for user in range(40)
        for item in random.choice(30, 1 + user % 12, replace=False)
    ]
    users, items = (list(column) for column in zip(*rows, strict=True))
    times = list(range(len(rows)))
    return TrainView.from_arrays(users, items, n_users=40, n_items=35, timestamps=times)


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_as_many_as_asked_and_nothing_else(train: TrainView, share: float) -> None:
    made = flipped(train, share, seed=3)
    changed = made.items != train.items
    assert int(changed.sum()) == round(share * len(train.users))
    assert torch.equal(made.users, train.users)
    assert made.timestamps is train.timestamps
    assert max(Counter(pairs(made)).values()) == 1
    true = set(pairs(train))
    assert not any(pair in true for pair, new in zip(pairs(made), changed.tolist()) if new)
    assert set(made.items.tolist()) <= set(train.items.tolist())  # no item that is cold here


def test_draws_are_of_the_seed_and_nested(train: TrainView) -> None:
    views = [flipped(train, share, seed=1) for share in (0.2, 0.4, 1.0)]
    for small, large in pairwise(views):
        changed = small.items != train.items
        assert torch.equal(small.items[changed], large.items[changed])
    assert torch.equal(flipped(train, 0.2, seed=1).items, views[0].items)
    assert not torch.equal(flipped(train, 0.2, seed=2).items, views[0].items)


def test_all_items_a_user_lacks_are_as_likely() -> None:
    train = TrainView.from_arrays(range(5), range(5), n_users=5, n_items=5)
    counts = Counter(int(flipped(train, 1, seed).items[0]) for seed in range(400))
    assert set(counts) == {1, 2, 3, 4}
    assert min(counts.values()) > 70


def test_no_share_is_the_view_itself(train: TrainView) -> None:
    assert flipped(train, 0, seed=0) is train
    assert flipped(train, 1e-9, seed=0) is train


def test_graphs_of_true_interactions_are_not_met(train: TrainView, tmp_path: Path) -> None:
    cached = replace(train, cache=tmp_path, _graphs={})
    true = cached.graph(user_item_graph)
    other = flipped(cached, 0.3, seed=0)
    assert other.id != cached.id
    assert not torch.equal(other.graph(user_item_graph).to_dense(), true.to_dense())
    assert len({flipped(train, share, 0).id for share in (0.1, 0.2)}) == 2


def test_users_who_lack_too_few_items_are_named() -> None:
    train = TrainView.from_arrays([0, 0, 0, 1], [0, 1, 2, 3], n_users=2, n_items=4)
    with pytest.raises(InputError, match=r"2 of them are of users who lack too few"):
        flipped(train, 1.0, seed=0)


def test_a_run_is_trained_on_flips_and_measured_on_the_truth(
    small_dataset: Dataset, tmp_path: Path
) -> None:
    small_dataset.save(tmp_path / "data")
    dataset = graphrec.load_dataset(tmp_path / "data")
    training = {"epochs": 2, "batch_size": 64}
    runs = {
        flip: graphrec.train(
            dataset, "itemknn", tmp_path / f"{flip}", training=training, flip=flip, progress=False
        )
        for flip in (0.0, 0.5)
    }
    ids = [run.folder.manifest()["ids"] for run in runs.values()]
    assert ids[0] == ids[1]
    assert runs[0.5].config["data"]["flip"] == 0.5
    assert runs[0.5].metrics["test"] != runs[0.0].metrics["test"]
    again = load_run(runs[0.5].path)
    assert again.evaluate("valid") == again.metrics["valid"]
    assert len(graphrec.experiments.compare_runs(list(runs.values()), metrics=["recall@5"])) == 1
    user = dataset.user_ids[0]
    assert "data.flip=0.5" in (again.path / "train.log").read_text()
    # what is served ranks by the flipped interactions too, without the dataset
    experiment = again.folder.experiment()
    scores = graphrec.training.train.build_model(dataset, experiment).score(torch.tensor([0]))[0]
    served = again.recommend(user, k=3)
    index = {item: place for place, item in enumerate(dataset.item_ids)}
    expected = [scores[index[item]].item() for item in served["item"]]
    assert served["score"].to_list() == pytest.approx(expected)
    assert resume_run(again.path, dataset).metrics() == again.metrics


def test_transforms_see_the_flipped_interactions_only(small_dataset: Dataset) -> None:
    store = small_dataset.features["text"]
    present = np.arange(30) != 4
    dataset = small_dataset.with_features(text=replace(store, present=present))
    values = {
        "model": {"name": "freedom"},
        "data": {"flip": 1.0},
        "features": {"text": {"transforms": ["impute:neighbours"]}},
    }
    experiment = Experiment.parse(values)
    view = training_view(dataset, experiment)
    made, _ = fit_features(dataset, experiment.features, view)
    true, _ = fit_features(dataset, experiment.features)
    rows = [data.features["text"].values()[4] for data in (made, true)]
    assert np.abs(rows[0] - rows[1]).max() > 0.01
