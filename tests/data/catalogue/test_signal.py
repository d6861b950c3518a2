"""Content helps on the catalogue because of what is in it: shuffled, it does not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graphrec import train
from graphrec.data.catalogue import make_catalogue
from graphrec.data.dataset import Dataset, build_dataset
from graphrec.data.encoding import encode_dataset
from modalities import FeatureStore

TRAINING: dict[str, Any] = {
    "epochs": 45,
    "lr": 5e-3,
    "eval_every": 15,
    "checkpoint_every": 45,
    "device": "cpu",
}
EVALUATION: dict[str, Any] = {"metrics": ["recall"], "ks": [20]}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    source = make_catalogue(tmp_path_factory.mktemp("catalogue") / "images")
    return encode_dataset(build_dataset(source), progress=False)


def _shuffled(dataset: Dataset) -> Dataset:
    """The same rows, each given to another item, absent ones included."""
    order = np.random.default_rng(0).permutation(dataset.n_items)
    stores = {
        name: FeatureStore.from_arrays(
            store.values()[order],
            list(dataset.item_ids),
            present=store.present[order],
            modality=store.modality,
        )
        for name, store in dataset.features.items()
    }
    return replace(dataset, features=stores)


def _recall(dataset: Dataset, model: str, out: Path, **options: Any) -> float:
    run = train(
        dataset,
        model,
        out,
        training=TRAINING,
        evaluation=EVALUATION,
        test=False,
        progress=False,
        **options,
    )
    return float(run.metrics["valid"]["recall@20"])


@pytest.fixture(scope="module")
def ids_only(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> float:
    return _recall(dataset, "lightgcn", tmp_path_factory.mktemp("ids") / "run")


def test_ids_beat_popularity(dataset: Dataset, ids_only: float, tmp_path: Path) -> None:
    assert ids_only > 1.5 * _recall(dataset, "popularity", tmp_path / "run")


def test_shuffling_the_features_removes_the_gain(
    dataset: Dataset, ids_only: float, tmp_path: Path
) -> None:
    assert _recall(dataset, "freedom", tmp_path / "true") > 1.1 * ids_only
    assert _recall(_shuffled(dataset), "freedom", tmp_path / "shuffled") < ids_only


@pytest.mark.parametrize("modality", ["image", "text"])
def test_either_modality_alone_beats_ids(
    dataset: Dataset, ids_only: float, tmp_path: Path, modality: str
) -> None:
    alone = _recall(dataset, "freedom", tmp_path / "run", features=[modality])
    assert alone > 1.03 * ids_only
