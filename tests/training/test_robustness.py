from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphrec
from graphrec.data.dataset import Dataset
from graphrec.evaluation.evaluate import evaluate
from graphrec.evaluation.held_out import held_out_valid
from graphrec.evaluation.test_split import openings_of
from graphrec.serving.run import Run, load_run
from graphrec.training.robustness import FILE, curves_of
from graphrec.training.train import build_model, ranker_of
from modalities import FeatureStore
from modalities._base.errors import InputError, UnknownNameError

SMALL: dict[str, dict[str, Any]] = {
    "freedom": {"dim": 4, "k": 3},
    "vbpr": {"dim": 4},
    "cm3": {"dim": 4, "k": 3, "hidden": 8},
    "lirdrec": {"dim": 4, "k": 3, "hidden": 8},
    "mmhcl": {"dim": 4, "k": 3},
    "alpharec": {"dim": 4, "hidden": 8},
    "modular": {"dim": 4},
}


@pytest.fixture
def dataset(small_dataset: Dataset, tmp_path: Path) -> Dataset:
    """Two modalities; pictures of every third item are missing."""
    random = np.random.default_rng(1)
    image = FeatureStore.from_arrays(
        random.normal(size=(30, 4)).astype("float32"),
        small_dataset.item_ids,
        modality="image",
        present=np.arange(30) % 3 > 0,
    )
    small_dataset.with_features(image=image).save(tmp_path / "data")
    return graphrec.load_dataset(tmp_path / "data")


def trained(dataset: Dataset, model: str, out: Path, **given: Any) -> Run:
    training = {"epochs": 3, "batch_size": 64, "lr": 0.02}
    options = {**SMALL.get(model, {}), **given}
    return graphrec.train(dataset, model, out, training=training, progress=False, **options)


@pytest.mark.parametrize("model", list(SMALL))
def test_level_0_is_the_run_and_the_rest_is_not(
    dataset: Dataset, tmp_path: Path, model: str
) -> None:
    run = trained(dataset, model, tmp_path / "run")
    files = {path.name: path.read_bytes() for path in run.path.iterdir() if path.is_file()}
    cached = {path.name for path in (tmp_path / "data" / "cache").glob("*.safetensors")}
    curve = run.robustness("missing", [0.5, 1], seeds=2)
    assert curve.levels[0].metrics == run.metrics["valid"]
    assert [one.level for one in curve.levels] == [0, 0.5, 1]
    assert not curve.unchanged
    assert curve.modalities == ("text", "image")
    assert curve.levels[0].deviation is None
    assert curve.levels[2].deviation is not None
    assert not any(curve.levels[2].deviation.values())  # without features no draw differs
    after = {path.name: path.read_bytes() for path in run.path.iterdir() if path.is_file()}
    assert {name for name in after if after[name] != files.get(name)} == {FILE}
    assert {path.name for path in (tmp_path / "data" / "cache").glob("*.safetensors")} == cached


def test_what_was_learnt_stays_and_what_is_read_is_spoiled(
    dataset: Dataset, tmp_path: Path
) -> None:
    """VBPR by hand: [Q ; W x + b], with the x of the items that keep their features."""
    run = trained(dataset, "vbpr", tmp_path / "run", features=["text"])
    curve = run.robustness("missing", [0.5], seeds=1)
    store = dataset.features["text"]
    order = np.random.default_rng(0).permutation(30)
    present = store.present.copy()
    present[order[store.present[order]][:15]] = False
    spoiled = replace(
        dataset,
        features={
            "text": replace(store, present=present, parts=[store.values() * present[:, None]])
        },
    )
    experiment = run.folder.experiment()
    model = build_model(spoiled, experiment)
    learnt = graphrec.training.train.best_model(run.folder, dataset.using(["text"]), experiment)
    model.load_state_dict(learnt.state_dict())
    options = experiment.evaluation.options()
    expected = evaluate(ranker_of(model), dataset, held_out_valid(dataset), options)
    assert curve.levels[1].metrics == expected.metrics


def test_kinds_and_modalities(dataset: Dataset, tmp_path: Path) -> None:
    run = trained(dataset, "cm3", tmp_path / "run")
    curves = [
        run.robustness(kind, [1.0], modalities=["text"], seeds=1)
        for kind in ("noise", "shuffled", "missing")
    ]
    assert len({one.levels[1].metrics["ndcg@50"] for one in curves}) == 3
    assert curves_of(run.path) == curves
    again = run.robustness("noise", [2.0], modalities=["text"], seeds=1)
    assert curves_of(run.path) == [curves[1], curves[2], again]
    frame = again.frame(["recall@5"])
    assert frame.columns == ["level", "metric", "value", "deviation", "change"]
    value = again.levels[1].metrics["recall@5"] / again.levels[0].metrics["recall@5"] - 1
    assert frame["change"].to_list() == [0.0, pytest.approx(value)]
    manifest = json.loads((run.path / FILE).read_text())
    assert (manifest["format"], manifest["version"]) == ("graphrec.robustness", 1)


def test_transforms_of_the_run_follow(dataset: Dataset, tmp_path: Path) -> None:
    features = {
        "use": ["both"],
        "text": {"transforms": ["center"]},
        "both": {"concat": ["text", "image"], "transforms": ["pca:3", "impute:mean"]},
    }
    run = trained(dataset, "vbpr", tmp_path / "run", features=features)
    curve = run.robustness("missing", [1.0], seeds=1)
    assert curve.modalities == ("text", "image")
    assert curve.levels[0].metrics == run.metrics["valid"]
    assert not curve.unchanged


def test_a_model_trained_on_flips_keeps_them(dataset: Dataset, tmp_path: Path) -> None:
    run = trained(dataset, "freedom", tmp_path / "run", flip=0.4)
    curve = run.robustness("shuffled", [1.0], seeds=1)
    assert curve.levels[0].metrics == run.metrics["valid"]


def test_test_is_opened_once_per_curve(dataset: Dataset, tmp_path: Path) -> None:
    run = trained(dataset, "freedom", tmp_path / "run")
    curve = run.robustness("missing", [0.5, 1.0], split="test", seeds=2)
    assert curve.levels[0].metrics == run.metrics["test"]
    openings = openings_of(run.path / "test_access.json")
    assert [one["reason"] for one in openings] == [
        "evaluate the run",
        "robustness of the run: missing features",
    ]
    assert {one["config"] for one in openings} == {run.folder.experiment().config_id}


def test_a_curve_that_says_nothing_says_so(dataset: Dataset, tmp_path: Path) -> None:
    """Features that enter the loss only."""
    losses = {"bpr": 1, "content": 0.1}
    run = trained(dataset, "modular", tmp_path / "run", preset="lightgcn", losses=losses)
    assert run.robustness("missing", [1.0], seeds=1).unchanged


def test_what_makes_no_sense_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    run = trained(dataset, "freedom", tmp_path / "run", features=["text"])
    with pytest.raises(UnknownNameError, match="did you mean 'missing'"):
        run.robustness("mising")
    with pytest.raises(UnknownNameError, match="unknown modality of the run 'image'"):
        run.robustness("missing", modalities=["image"])
    with pytest.raises(InputError, match="share from 0 to 1, got 2"):
        run.robustness("missing", [2], split="test")
    with pytest.raises(InputError, match="at least 1"):
        run.robustness("missing", seeds=0)
    for name in ("lightgcn", "popularity"):
        other = trained(dataset, name, tmp_path / name)
        with pytest.raises(InputError, match=f"model '{name}' reads no features"):
            other.robustness("missing", split="test")
        assert len(openings_of(other.path / "test_access.json")) == 1
    (run.path / FILE).write_text('{"format": "graphrec.robustness", "version": 1}')
    with pytest.raises(InputError, match="damaged"):
        load_run(run.path).robustness("missing", [1.0], seeds=1)
