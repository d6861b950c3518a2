"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from graphrec.data.dataset import Dataset, build_dataset
from graphrec.data.source import Source
from graphrec.data.train_view import Features, TrainView
from modalities import FeatureStore

# No test may reach a hub, whatever a model's files ask for.
os.environ["HF_HUB_OFFLINE"] = "1"

# Tiny tensors: a second thread only waits, and a busy machine makes it wait long.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets, where a developer has one."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("GRAPHREC_DATA", default))
    if not folder.is_dir():
        pytest.skip("real data absent; set GRAPHREC_DATA to a folder with sports/, hm/, ...")
    return folder


@pytest.fixture
def tiny_train() -> TrainView:
    """5 users, 6 items (item 5 cold), a repeated interaction, two modalities, item 4 textless."""
    users = [0, 0, 0, 1, 1, 2, 2, 2, 3, 4, 4, 0]
    items = [0, 1, 2, 1, 3, 0, 2, 4, 3, 2, 4, 1]
    random = np.random.default_rng(7)
    text = torch.from_numpy(random.normal(size=(6, 4)).astype("float32"))
    image = torch.from_numpy(random.normal(size=(6, 3)).astype("float32"))
    present = torch.tensor([True, True, True, True, False, True])
    text[4] = 0
    return TrainView.from_arrays(
        users,
        items,
        n_users=5,
        n_items=6,
        features={
            "image": Features(image, torch.ones(6, dtype=torch.bool), "image", "image-id"),
            "text": Features(text, present, "text", "text-id"),
        },
    )


@pytest.fixture
def small_dataset() -> Dataset:
    """60 users in three groups of taste, 30 items, text features that tell the groups, a split."""
    random = np.random.default_rng(0)
    users, items = [], []
    for user in range(60):
        liked = np.arange(30)[np.arange(30) % 3 == user % 3]
        for item in random.choice(liked, size=7, replace=False):
            users.append(f"u{user}")
            items.append(f"i{item}")
    frame = pl.DataFrame({"user": users, "item": items})
    ids = list(dict.fromkeys(items))
    group = np.array([int(name[1:]) % 3 for name in ids])
    text = np.eye(3, dtype=np.float32)[group] + 0.1 * random.normal(size=(30, 3)).astype("float32")
    source = Source(
        "small",
        frame,
        items=pl.DataFrame({"item_id": ids, "title": [f"thing {name}" for name in ids]}),
        features={"text": FeatureStore.from_arrays(text, ids, modality="text")},
    )
    return build_dataset(source, split="user-random", seed=1)
