from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from graphrec.data.dataset import Dataset
from graphrec.serving.run import load_run
from graphrec.training import Experiment, resume_run, train_run
from graphrec.training.config import FeaturesSection, apply_overrides
from graphrec.training.features import LearntFeatures, apply_features, fit_features
from graphrec.training.folder import RunFolder
from modalities import FeatureStore
from modalities._base.errors import InputError, UnknownNameError
from modalities.transforms import Pca, make_transform

TRAINING = {"epochs": 4, "batch_size": 64}


@pytest.fixture
def dataset(small_dataset: Dataset) -> Dataset:
    """Text of all but three items, pictures of two in three, four items never trained on."""
    random = np.random.default_rng(2)
    image = random.normal(size=(30, 5)).astype(np.float32)
    text = np.asarray(small_dataset.features["text"].values())
    cold = np.isin(small_dataset.interactions.items, [3, 11, 12, 20])
    labels = np.where(cold, 2, small_dataset.split.labels).astype(np.int8)
    ids = small_dataset.item_ids
    return replace(small_dataset, split=replace(small_dataset.split, labels=labels)).with_features(
        text=FeatureStore.from_arrays(
            text, ids, modality="text", present=~np.isin(np.arange(30), [0, 7, 12])
        ),
        image=FeatureStore.from_arrays(
            image, ids, modality="image", present=np.arange(30) % 3 != 1
        ),
    )


def section(**values: Any) -> FeaturesSection:
    return FeaturesSection.parse(values)


def experiment(**features: Any) -> Experiment:
    model = {"name": "freedom", "dim": 4, "k": 3}
    return Experiment.parse({"model": model, "training": TRAINING, "features": features})


def made(dataset: Dataset, **values: Any) -> FeatureStore:
    return fit_features(dataset, section(**values))[0].features["text"]


def test_transforms_learn_from_warm_items_with_the_modality_only(dataset: Dataset) -> None:
    store = dataset.features["text"]
    warm = np.isin(np.arange(30), dataset.interactions.items[dataset.split.labels == 0])
    rows = warm & store.present
    assert 0 < rows.sum() < store.present.sum() < 30
    values = store.values().astype(np.float64)
    centred = values - values[rows].mean(axis=0)
    axes = np.linalg.svd(centred[rows])[2][:2]
    expected = np.where(store.present[:, None], centred @ axes.T, 0)
    found = made(dataset, text={"transforms": ["center", "pca:2"]})
    np.testing.assert_allclose(abs(found.values()), abs(expected), atol=1e-5)
    np.testing.assert_array_equal(found.present, store.present)
    assert found.dim == 2
    assert dataset.features["text"] is store


@pytest.mark.parametrize("last", ["l2", "whiten:2:0.5", "impute:neighbours"])
def test_a_cold_row_changes_itself_alone(dataset: Dataset, last: str) -> None:
    store = dataset.features["text"]
    values = np.array(store.values())
    values[3] += 5
    changed = FeatureStore.from_arrays(
        values, dataset.item_ids, modality="text", present=store.present
    )
    options = {"transforms": ["center", last]}
    before = made(dataset, text=options)
    after = made(dataset.with_features(text=changed), text=options)
    assert np.flatnonzero((before.values() != after.values()).any(axis=1)).tolist() == [3]
    assert before.feature_id != after.feature_id
    values[3] -= 5
    values[1] += 5
    warm = FeatureStore.from_arrays(
        values, dataset.item_ids, modality="text", present=store.present
    )
    other = made(dataset.with_features(text=warm), text=options)
    assert (before.values() != other.values()).any(axis=1).sum() > (1 if last != "l2" else 20)


def test_neighbours_are_those_of_training(dataset: Dataset) -> None:
    kept = dataset.split.labels == 0
    users, items = dataset.interactions.users[kept], dataset.interactions.items[kept]
    store = dataset.features["text"]
    found = made(dataset, text={"transforms": ["impute:neighbours"]})
    assert found.present.all()
    near = set(items[np.isin(users, users[items == 7])].tolist())
    having = [item for item in near if store.present[item]]
    assert 0 < len(having) < 27
    np.testing.assert_allclose(found.values()[7], store.values()[having].mean(axis=0), atol=1e-6)
    warm = np.isin(np.arange(30), items) & store.present
    np.testing.assert_allclose(found.values()[12], store.values()[warm].mean(axis=0), atol=1e-6)


def test_imputed_rows_are_not_learnt_from(dataset: Dataset) -> None:
    whole = made(dataset, text={"transforms": ["impute:zero", "pca:2"]})
    alone = made(dataset, text={"transforms": ["pca:2"]})
    here = dataset.features["text"].present
    np.testing.assert_allclose(whole.values()[here], alone.values()[here], atol=1e-6)
    assert whole.present.all()


def test_concatenation_of_transformed_parts(dataset: Dataset) -> None:
    text = {"transforms": ["center"]}
    both = {"concat": ["image", "text"], "transforms": ["l2"]}
    result, _ = fit_features(dataset, section(use=["both", "text"], text=text, both=both))
    assert list(result.features) == ["both", "text"]
    image = dataset.features["image"]
    joined = np.hstack([image.values(), result.features["text"].values()]).astype(np.float64)
    lengths = np.linalg.norm(joined, axis=1, keepdims=True)
    expected = np.divide(joined, lengths, out=np.zeros_like(joined), where=lengths > 0)
    store = result.features["both"]
    np.testing.assert_allclose(store.values(), expected, atol=1e-6)
    np.testing.assert_array_equal(store.present, image.present | dataset.features["text"].present)
    assert store.modality == "joint"
    only = fit_features(dataset, section(use=["one"], one={"concat": ["image"]}))[0]
    assert only.features["one"].modality == "image"
    np.testing.assert_array_equal(only.features["one"].values(), image.values())


def test_a_joined_modality_replaces_nothing_by_itself(dataset: Dataset) -> None:
    result, learnt = fit_features(dataset, section(both={"concat": ["image", "text"]}))
    assert result.feature_ids == dataset.feature_ids
    assert not learnt


def test_identities_tell_what_matters(dataset: Dataset) -> None:
    def name(data: Dataset, *transforms: str) -> str:
        return made(data, text={"transforms": list(transforms)}).feature_id

    split = dataset.split
    labels = np.where(dataset.interactions.items == 5, 2, split.labels).astype(np.int8)
    other = dataset.with_split(replace(split, labels=labels))
    found = [
        dataset.features["text"].feature_id,
        name(dataset, "center"),
        name(dataset, "l2"),
        name(dataset, "center", "l2"),
        name(dataset, "l2", "center"),
        name(other, "center"),
    ]
    assert len(set(found)) == len(found)
    assert name(dataset, "center") == name(dataset, "center")
    assert name(other, "l2") == name(dataset, "l2"), "nothing learnt, so no split in it"

    moved = dataset.split.labels.copy()
    first = np.flatnonzero((moved == 0) & (dataset.interactions.items == 5))[0]
    moved[first] = -1  # the item stays warm: other interactions, the same rows
    fewer = dataset.with_split(replace(split, labels=moved))
    assert name(fewer, "center") == name(dataset, "center")
    assert name(fewer, "impute:neighbours") != name(dataset, "impute:neighbours")


def test_graphs_are_those_of_the_transformed_features(dataset: Dataset, tmp_path: Path) -> None:
    from graphrec.graphs import knn_graph

    dataset.save(tmp_path / "data")
    loaded = Dataset.load(tmp_path / "data")
    plain = loaded.train.graph(knn_graph, "text", k=3).to_dense()
    options = {"transforms": ["whiten"]}
    for _ in range(2):
        changed, _ = fit_features(loaded, section(text=options))
        view = changed.train
        assert not torch.equal(view.graph(knn_graph, "text", k=3).to_dense(), plain)
        assert len(list((tmp_path / "data" / "cache").glob("*.safetensors"))) == 2


def test_without_transforms_nothing_changes(dataset: Dataset, tmp_path: Path) -> None:
    result, learnt = fit_features(dataset, section())
    assert result is dataset
    assert not learnt
    assert made(dataset, use=["text"], image={"transforms": ["l2"]}) is dataset.features["text"]
    assert experiment().to_dict()["features"] == {"use": None}
    assert experiment(text={"transforms": []}) == experiment()
    folder = train_run(dataset, experiment(), tmp_path / "run")
    assert folder.manifest()["ids"]["features"] == dataset.feature_ids
    assert not (folder.path / "features").exists()


@pytest.fixture
def run(dataset: Dataset, tmp_path: Path) -> RunFolder:
    dataset.save(tmp_path / "data")
    return train_run(Dataset.load(tmp_path / "data"), transformed(), tmp_path / "run")


def transformed() -> Experiment:
    return experiment(
        use=["both", "text"],
        text={"transforms": ["center", "whiten:2:0.5", "impute:neighbours"]},
        both={"concat": ["image", "text"], "transforms": ["pca:4"]},
    )


def test_a_run_keeps_and_names_what_it_learnt(
    run: RunFolder, dataset: Dataset, tmp_path: Path
) -> None:
    ids = run.manifest()["ids"]["features"]
    assert list(ids) == ["both", "text"]
    assert ids["text"] not in dataset.feature_ids.values()
    assert Dataset.load(tmp_path / "data").feature_ids == dataset.feature_ids
    recorded = json.loads((run.path / "features" / "transforms.json").read_text())["modalities"]
    assert recorded["text"]["transforms"] == ["center", "whiten:2:0.5", "impute:neighbours"]
    assert recorded["text"]["of"] == {"text": dataset.feature_ids["text"]}
    assert recorded["both"]["of"]["text"] == ids["text"]
    assert run.experiment() == transformed()
    learnt = LearntFeatures.load(run.path / "features")
    again = apply_features(dataset, transformed().features, learnt)
    assert again.feature_ids == ids
    fresh, _ = fit_features(dataset, transformed().features)
    for name in ids:
        np.testing.assert_array_equal(again.features[name].values(), fresh.features[name].values())
    assert "text = text ['center', 'whiten:2:0.5'" in (run.path / "train.log").read_text()


def test_evaluation_uses_what_was_learnt_then(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load_run(run.path)
    before = dict(loaded.metrics["test"])

    def fitted_again(*given: object) -> None:
        raise AssertionError("evaluation must not fit")

    monkeypatch.setattr(Pca, "fit", fitted_again)
    assert loaded.evaluate("test", Dataset.load(tmp_path / "data")) == before
    shutil.rmtree(tmp_path / "data")
    assert len(load_run(run.path).recommend(["u1"], k=3)) == 3
    loaded.export(tmp_path / "vectors")


def test_resumed_runs_end_the_same(run: RunFolder, dataset: Dataset, tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def stop(report: Any) -> None:
        if report.epoch == 2:
            raise Stop

    with pytest.raises(Stop):
        train_run(dataset, transformed(), tmp_path / "cut", report=stop)
    resumed = resume_run(tmp_path / "cut", dataset)
    assert resumed.metrics() == run.metrics()
    ours, theirs = (
        load_file(path / "served" / "vectors.safetensors") for path in (run.path, resumed.path)
    )
    assert all(torch.equal(ours[name], theirs[name]) for name in ("users", "items"))


def test_other_data_and_lost_or_damaged_state(run: RunFolder, dataset: Dataset) -> None:
    ids, text = dataset.item_ids, dataset.features["text"]
    wider = FeatureStore.from_arrays(np.ones((30, 9), dtype=np.float32), ids, modality="text")
    with pytest.raises(InputError, match=r"'text' were made with of .* give the dataset"):
        run.prepare(dataset.with_features(text=wider), run.experiment())
    changed = replace(dataset.split, labels=np.where(dataset.split.labels == 1, 2, 0))
    with pytest.raises(InputError, match="split_id"):
        run.prepare(dataset.with_split(changed), run.experiment())
    more = run.prepare(dataset.with_features(audio=text), run.experiment())
    assert list(more.features) == ["both", "text"]

    file = run.path / "features" / "transforms.safetensors"
    data = bytearray(file.read_bytes())
    data[-3] ^= 1
    file.write_bytes(data)
    with pytest.raises(InputError, match="damaged"):
        run.prepare(dataset, run.experiment())
    file.unlink()
    with pytest.raises(InputError, match="cannot read the transforms"):
        run.prepare(dataset, run.experiment())
    shutil.rmtree(file.parent)
    with pytest.raises(InputError, match="does not hold what the transforms of 'text' learnt"):
        run.prepare(dataset, run.experiment())


def test_runs_on_all_features_outlive_new_ones(dataset: Dataset, tmp_path: Path) -> None:
    folder = train_run(dataset, experiment(), tmp_path / "run")
    more = dataset.with_features(audio=dataset.features["text"])
    assert load_run(folder.path).evaluate("test", more) == folder.metrics()["test"]


@pytest.mark.parametrize("how", ["zero", "mean", "neighbours"])
def test_models_train_on_imputed_rows(dataset: Dataset, tmp_path: Path, how: str) -> None:
    settings = experiment(use=["text"], text={"transforms": [f"impute:{how}", "l2"]})
    folder = train_run(dataset, settings, tmp_path / "run")
    assert all(torch.isfinite(t).all() for t in vars(folder.vectors()).values())


def test_a_modality_left_out_is_logged(dataset: Dataset, tmp_path: Path) -> None:
    settings = experiment(both={"concat": ["image", "text"]})
    folder = train_run(dataset, settings, tmp_path / "run")
    assert "features.both has no effect" in (folder.path / "train.log").read_text()


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ({"txt": {"transforms": ["l2"]}}, "unknown modality 'txt'; did you mean 'text'"),
        ({"use": ["text", "bth"], "both": {"concat": ["text"]}}, "did you mean 'both'"),
        ({"both": {"concat": ["text", "imge"]}}, "unknown modality 'imge'; did you mean 'image'"),
        ({"text": {"concat": ["image"]}}, "has features 'text' already"),
        ({"text": {"transforms": ["pca:3", "cut:9"]}}, r"features\.text\.transforms: 'cut:9'"),
        ({"text": {"transforms": ["pca:64"]}}, r"features\.text\.transforms: 'pca:64'.*at most 3"),
    ],
)
def test_mistakes_seen_with_the_data(
    dataset: Dataset, tmp_path: Path, features: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        train_run(dataset, experiment(**features), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_no_warm_item_has_the_modality(dataset: Dataset) -> None:
    store = dataset.features["text"]
    present = np.isin(np.arange(30), [3, 11])
    cold = FeatureStore.from_arrays(store.values(), dataset.item_ids, present=present)
    with pytest.raises(InputError, match=r"features\.text\.transforms: 'center' has no rows"):
        made(dataset.with_features(text=cold), text={"transforms": ["center"]})
    assert made(dataset.with_features(text=cold), text={"transforms": ["l2"]}).dim == 3


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (
            {"text": {"transform": []}},
            r"'features.text.transform'; did you mean 'features.text.tra",
        ),
        (
            {"text": {"transforms": ["centre"]}},
            r"features.text.transforms: .*did you mean 'center'",
        ),
        ({"text": {"transforms": [{"pca": 8}]}}, r"words such as pca:128, not \{'pca': 8\}"),
        ({"text": {"transforms": ["concat"]}}, "unknown transform 'concat'"),
        ({"text": ["center"]}, r"features\.text\.transforms=\[center\]"),
        ({"usee": ["text"]}, "did you mean 'features.use'"),
        ({"use": "text"}, r"features.use: .*list \(got 'text'\)"),
        ({"both": {"concat": []}}, r"features.both.concat: .*at least 1"),
        ({"both": {"concat": ["text", "text"]}}, "named twice"),
    ],
)
def test_mistakes_seen_without_the_data(features: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        experiment(**features)


def test_overrides_and_files_say_the_same() -> None:
    overrides = [
        "features=[both]",
        "features.text.transforms=[center, pca:128]",
        "features.both.concat=[image,text]",
        "features.both.transforms=l2",
    ]
    written = {"features": {"text": {"transforms": ["l2"]}, "image": {"transforms": ["l2"]}}}
    values = apply_overrides(written, overrides)
    parsed = experiment(**values["features"])
    assert parsed.to_dict()["features"] == {
        "use": ["both"],
        "text": {"transforms": ["center", "pca:128"]},
        "image": {"transforms": ["l2"]},
        "both": {"transforms": ["l2"], "concat": ["image", "text"]},
    }
    assert written == {
        "features": {"text": {"transforms": ["l2"]}, "image": {"transforms": ["l2"]}}
    }
    assert Experiment.parse(parsed.to_dict()) == parsed
    with pytest.raises(UnknownNameError):
        make_transform(parsed.features.modalities["both"].transforms[0] + "x")
