from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import graphrec
from graphrec.data.dataset import Dataset, build_dataset
from graphrec.data.source import Source
from graphrec.evaluation.evaluate import evaluate
from graphrec.evaluation.held_out import HeldOut
from graphrec.evaluation.test_split import openings_of
from graphrec.models.alpharec import AlphaRec
from graphrec.serving.run import Run
from graphrec.training.checkpoint import load_checkpoint, restore_model
from graphrec.training.train import ranker_of
from modalities import FeatureStore
from modalities._base.errors import InputError
from modalities._base.files import read_json, write_json

SPEC = {"encoder": "words", "version": 1, "content": "{title}"}


def other_data(spec: dict[str, object], width: int = 3) -> Dataset:
    random = np.random.default_rng(5)
    frame = pl.DataFrame(
        {
            "user": [f"v{u}" for u in range(12) for _ in range(6)],
            "item": [f"j{i}" for _ in range(12) for i in random.choice(20, 6, replace=False)],
        }
    )
    ids = sorted(set(frame["item"]))
    values = random.normal(size=(len(ids), width)).astype("float32")
    store = FeatureStore.from_arrays(values, ids, modality="text", spec=spec)
    source = Source("other", frame, features={"text": store})
    return build_dataset(source, split="user-random", seed=1)


def made_by(dataset: Dataset, spec: dict[str, object]) -> Dataset:
    store = dataset.features["text"]
    values = FeatureStore.from_arrays(
        store.values(), store.item_ids, modality="text", spec=spec, present=store.present
    )
    return replace(dataset, features={"text": values})


def trained(dataset: Dataset, folder: Path, model: str, features: Any = None) -> Run:
    options: dict[str, Any] = {"hidden": 5} if model == "alpharec" else {}
    training = {"epochs": 2}
    return graphrec.train(
        dataset, model, folder, features=features, training=training, dim=4, **options
    )


def test_other_data_are_scored_without_training(small_dataset: Dataset, tmp_path: Path) -> None:
    run = trained(made_by(small_dataset, SPEC), tmp_path / "run", "alpharec")
    other = other_data({**SPEC, "content": "{name}", "stored": "float16"})
    metrics = run.evaluate("test", other)
    expected = AlphaRec(other.train, hidden=5, dim=4)
    restore_model(expected, load_checkpoint(run.path / "best")[1])
    held_out = HeldOut.where("test", other, other.split.labels == 2)
    options = run.folder.experiment().evaluation.options()
    assert metrics == evaluate(ranker_of(expected), other, held_out, options).metrics
    openings = openings_of(run.path / "test_access.json")
    assert [entry["data_id"] for entry in openings] == [small_dataset.data_id, other.data_id]
    run.evaluate("valid", other)
    run.evaluate("valid", other)
    recorded = read_json(run.path / "transfers.json")["transfers"]
    assert [entry["split"] for entry in recorded] == ["test", "valid"]
    assert "other" not in run.metrics
    assert recorded[0]["metrics"] == metrics


def test_transforms_learnt_on_the_first_data_are_applied(
    small_dataset: Dataset, tmp_path: Path
) -> None:
    section = {"use": ["text"], "text": {"transforms": ["center"]}}
    run = trained(made_by(small_dataset, SPEC), tmp_path / "run", "alpharec", features=section)
    other = other_data(dict(SPEC))
    made = run.folder.prepare_other(other, run.folder.experiment())
    first = run.folder.prepare(made_by(small_dataset, SPEC), run.folder.experiment())
    shift = (small_dataset.features["text"].values() - first.features["text"].values())[0]
    expected = other.features["text"].values() - shift
    np.testing.assert_allclose(made.features["text"].values(), expected, atol=1e-5)
    assert run.evaluate("valid", other)
    with pytest.raises(InputError, match="made with encoders"):
        run.evaluate("valid", other_data({**SPEC, "version": 2}))


def test_models_with_tables_refuse(small_dataset: Dataset, tmp_path: Path) -> None:
    run = trained(small_dataset, tmp_path / "run", "lightgcn")
    with pytest.raises(InputError, match=r"parameters of single users or items.*alpharec"):
        run.evaluate("valid", other_data(dict(SPEC)))


def test_other_data_must_be_given(small_dataset: Dataset, tmp_path: Path) -> None:
    """The folder of the run's data holds something else by now."""
    here = tmp_path / "data"
    made_by(small_dataset, SPEC).save(here)
    run = trained(graphrec.load_dataset(here), tmp_path / "run", "alpharec")
    shutil.rmtree(here)
    other_data(dict(SPEC)).save(here)
    with pytest.raises(InputError, match="used data_id"):
        run.evaluate("valid")
    assert not (run.path / "transfers.json").exists()


def test_unknown_encoders_are_refused_unless_known_to_be_the_same(
    small_dataset: Dataset, tmp_path: Path
) -> None:
    run = trained(small_dataset, tmp_path / "run", "alpharec")  # vectors given ready-made
    with pytest.raises(InputError, match="nothing says which encoder made the features 'text'"):
        run.evaluate("valid", other_data(dict(SPEC)))
    assert run.evaluate("valid", other_data(dict(SPEC)), same_encoder=True)
    named = trained(made_by(small_dataset, SPEC), tmp_path / "named", "alpharec")
    manifest = read_json(named.path / "manifest.json")
    del manifest["encoders"]
    write_json(named.path / "manifest.json", manifest)
    with pytest.raises(InputError, match="nothing says"):
        named.evaluate("valid", other_data(dict(SPEC)))


def test_another_encoder_is_refused(small_dataset: Dataset, tmp_path: Path) -> None:
    run = trained(made_by(small_dataset, SPEC), tmp_path / "run", "alpharec")
    with pytest.raises(InputError, match="version 1 there, 2 here"):
        run.evaluate("valid", other_data({**SPEC, "version": 2}))
    without = other_data(dict(SPEC))
    with pytest.raises(InputError, match="unknown modality 'text'"):
        run.evaluate("valid", replace(without, features={}))


def test_cold_items_of_other_data_are_measured(small_dataset: Dataset, tmp_path: Path) -> None:
    run = trained(made_by(small_dataset, SPEC), tmp_path / "run", "alpharec")
    other = other_data(SPEC).split_by("cold-item", share=0.3)
    metrics = run.evaluate("valid", other)
    assert {"recall@20", "cold_recall@20", "all_recall@20"} <= set(metrics)
