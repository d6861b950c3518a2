from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from graphrec.data.dataset import Dataset
from graphrec.experiments.plan import StudyPlan, ready_studies
from modalities._base.errors import InputError

BASE: dict[str, Any] = {"data": "DATA", "base": {"training": {"epochs": 2}}}


def plan(**given: Any) -> StudyPlan:
    return StudyPlan.parse({**BASE, **given})


def test_a_grid_crosses_axes_and_seeds() -> None:
    made = plan(
        axes={"model": ["bpr", "freedom"], "features": ["text", ["image", "text"]]}, seeds=[0, 1]
    )
    assert made.variants == [
        "bpr, text",
        "bpr, image+text",
        "freedom, text",
        "freedom, image+text",
    ]
    assert len(made.runs) == 8
    last = made.runs[-1]
    assert (last.variant, last.seed) == ("freedom, image+text", 1)
    assert last.values["features"] == {"use": ["image", "text"]}
    assert last.values["model"] == {"name": "freedom"}
    assert last.values["training"] == {"epochs": 2, "seed": 1}
    assert len({run.folder for run in made.runs}) == 8


def test_one_at_a_time_leaves_the_base() -> None:
    made = plan(
        base={"model": {"name": "modular", "preset": "freedom"}},
        design="one-at-a-time",
        axes={"model.losses.content": [0], "model.propagation.drop_ratio": [0.0, 0.5]},
    )
    assert made.variants == [
        "base",
        "model.losses.content=0",
        "model.propagation.drop_ratio=0.0",
        "model.propagation.drop_ratio=0.5",
    ]
    assert made.base == "base"
    assert made.runs[1].values["model"]["losses"] == {"content": 0}
    assert "losses" not in made.runs[2].values["model"]


def test_a_list_names_its_variants() -> None:
    made = plan(
        base={"model": {"name": "freedom"}},
        variants={"whole": None, "shallow": {"model.layers": 1, "training.lr": 0.01}},
    )
    assert made.variants == ["whole", "shallow"]
    assert made.runs[1].values["training"]["lr"] == 0.01


def test_axes_can_label_their_values_and_be_seeds() -> None:
    made = plan(
        axes={"model": ["bpr"], "encoder": {"MiniLM": "minilm", "both": ["a", "b"]}, "seed": [3, 4]}
    )
    assert made.variants == ["bpr, MiniLM", "bpr, both"]
    assert [run.seed for run in made.runs] == [3, 4, 3, 4]
    assert made.runs[0].values["features"]["use"] == ["minilm"]


def test_flipped_interactions_are_an_axis() -> None:
    made = plan(base={"data": {"flip": 0.2}}, axes={"model": ["bpr"], "flipped": [0, 0.1]})
    assert made.variants == ["bpr, flipped=0", "bpr, flipped=0.1"]
    assert [run.values["data"]["flip"] for run in made.runs] == [0, 0.1]
    assert made.runs[1].axes == {"model": "bpr", "flipped": 0.1}
    with pytest.raises(InputError, match=r"data\.flip"):
        plan(axes={"model": ["bpr"], "flipped": [1.5]})


def test_runs_know_where_they_stand_on_the_axes() -> None:
    made = plan(
        base={"model": {"name": "bpr"}},
        design="one-at-a-time",
        axes={"model.dim": {"small": 2, "large": 8}, "training.lr": [0.1]},
    )
    assert [dict(run.axes) for run in made.runs] == [
        {},
        {"model.dim": 2},
        {"model.dim": 8},
        {"training.lr": 0.1},
    ]


def test_splits_multiply_runs() -> None:
    splits = {f"s{n}": {"method": "user-random", "seed": n} for n in range(2)}
    made = plan(axes={"model": ["bpr"]}, splits=splits)
    assert [(run.split, run.seed) for run in made.runs] == [("s0", 0), ("s1", 0)]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"axs": {}}, "unknown option 'axs'; did you mean 'axes'"),
        ({"data": None, "axes": {"model": ["bpr"]}}, "names no dataset"),
        ({}, "the grid is empty"),
        ({"axes": {"model": []}}, "axis 'model' is empty"),
        ({"axes": {"model": "bpr"}}, "must be a list of values"),
        ({"axes": {"modl": ["bpr"]}}, "unknown axis 'modl'; did you mean 'model'"),
        ({"axes": {"model": ["bpr", "bpr"]}}, "has the value bpr twice"),
        ({"axes": {"model": {"a": "bpr", "b": "bpr"}}}, "variants 'a' and 'b' are the same"),
        ({"axes": {"model": ["lightgnc"]}}, "variant 'lightgnc': unknown model 'lightgnc'"),
        (
            {"axes": {"model": ["bpr"], "model.dmi": [4]}},
            "variant 'bpr, model.dmi=4': unknown option 'model.dmi'; did you mean 'model.dim'",
        ),
        ({"design": "list"}, "has no variants"),
        ({"design": "list", "axes": {"model": ["bpr"]}}, "design 'list' takes variants"),
        ({"axes": {"model": ["bpr"]}, "metrics": ["recall@7"]}, "unknown metric 'recall@7'"),
        ({"axes": {"model": ["bpr"]}, "splits": {"a": {"method": "random"}}}, "splits.a"),
        ({"base": {"modle": {}}, "axes": {"model": ["bpr"]}}, "did you mean 'base.model'"),
        ({"seeds": []}, "seeds"),
    ],
)
def test_what_cannot_be_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as error:
        plan(**given)
    assert message in str(error.value)


def test_a_name_given_twice_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(
        "data: D\nbase: {model: {name: bpr}}\nvariants:\n  a: {}\n  a: {model.dim: 4}\n"
    )
    with pytest.raises(InputError, match="'a' occurs twice"):
        StudyPlan.read(file)


def test_features_alone_together_and_spoilt(small_dataset: Dataset, tmp_path: Path) -> None:
    store = small_dataset.features["text"]
    with_more = small_dataset.with_features(photo=store, audio=store)
    with_more.save(tmp_path / "data")
    data = str(tmp_path / "data")
    base = {"model": {"name": "freedom"}}
    each = StudyPlan.parse({"data": data, "base": base, "axes": {"features": "each"}})
    assert each.variants == ["text", "photo", "audio", "text+photo+audio"]
    subsets = StudyPlan.parse({"data": data, "base": base, "axes": {"features": "subsets"}})
    assert len(subsets.variants) == 7
    spoilt = StudyPlan.parse(
        {
            "data": data,
            "base": {**base, "features": {"use": ["text"]}},
            "design": "one-at-a-time",
            "axes": {"missing": [0.5], "noise": [1], "shuffled": [True]},
        }
    )
    transforms = [run.values["features"].get("text", {}).get("transforms") for run in spoilt.runs]
    assert spoilt.variants == ["base", "missing=0.5", "noise=1", "shuffled=True"]
    assert transforms == [None, ["drop:0.5:0"], ["noise:1:0"], ["shuffle:0:1"]]
    with pytest.raises(InputError, match="axis 'shuffled' takes numbers"):
        StudyPlan.parse({"data": data, "base": base, "axes": {"shuffled": ["half"]}})
    with pytest.raises(InputError, match="axis 'missing' must be a list"):
        StudyPlan.parse({"data": data, "base": base, "axes": {"missing": 0.5}})


@pytest.mark.parametrize("name", ready_studies())
def test_ready_studies_can_be_laid_out(name: str, small_dataset: Dataset, tmp_path: Path) -> None:
    small_dataset.save(tmp_path / "data")
    plan = StudyPlan.read(name, tmp_path / "data")
    assert plan.name == name
    assert len(plan.variants) >= 1
    assert len({run.folder for run in plan.runs}) == len(plan.runs)


def test_unknown_studies_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown study 'encoder'; did you mean 'encoders'"):
        StudyPlan.read("encoder", tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        StudyPlan.read("mine.yaml", tmp_path)


def test_variants_may_spoil_features(small_dataset: Dataset, tmp_path: Path) -> None:
    small_dataset.save(tmp_path / "data")
    plan = StudyPlan.parse(
        {
            "data": str(tmp_path / "data"),
            "variants": {
                "clean": {"model": "freedom", "encoder": "text"},
                "shuffled": {"model": "freedom", "shuffled": True},
            },
        }
    )
    clean, shuffled = (run.values["features"] for run in plan.runs)
    assert clean == {"use": ["text"]}
    assert shuffled == {"text": {"transforms": ["shuffle:0:1"]}}


def test_damage_comes_before_what_the_base_does_and_adds_up(
    small_dataset: Dataset, tmp_path: Path
) -> None:
    small_dataset.save(tmp_path / "data")
    declared = {
        "data": str(tmp_path / "data"),
        "base": {
            "model": {"name": "freedom"},
            "features": {"use": ["text"], "text": {"transforms": ["center"]}},
        },
        "axes": {"missing": [0, 0.5], "noise": [0, 0.3]},
    }
    made = [run.values["features"]["text"]["transforms"] for run in StudyPlan.parse(declared).runs]
    assert made == [
        ["center"],
        ["noise:0.3:0", "center"],
        ["drop:0.5:0", "center"],
        ["drop:0.5:0", "noise:0.3:0", "center"],
    ]
    assert declared["base"]["features"]["text"] == {"transforms": ["center"]}  # type: ignore[index]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"axes": {"data.path": ["a", "b"]}}, "data.path cannot vary"),
        ({"base": {"data": {"path": "elsewhere"}}}, "named by data: FOLDER"),
        ({"base": {"model": "freedom"}}, "base.model"),
        ({"base": {"training": None}}, "base.training"),
        ({"seeds": [0, 0]}, "each once"),
        ({"axes": {"model": ["bpr"], "seed": ["a"]}}, "a seed is a whole number"),
        ({"axes": {"missing": [0, 0]}}, "twice"),
        ({"splits": {"../x": {"method": "user-random"}}}, "names a folder"),
        ({"splits": {"a": {"method": "user-random", "share": 0.3}}}, "has no option share"),
        (
            {"splits": {"a": {"method": "user-random"}, "b": {"method": "user-random"}}},
            "'a' and 'b' are the same",
        ),
    ],
)
def test_declarations_that_mislead_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        StudyPlan.parse({"data": "d", "axes": {"model": ["bpr", "lightgcn"]}, **given})


def test_splits_of_similar_names_have_runs_of_their_own() -> None:
    plan = StudyPlan.parse(
        {
            "data": "d",
            "axes": {"model": ["bpr"]},
            "splits": {
                "fold 1": {"method": "user-random", "seed": 1},
                "fold_1": {"method": "user-random", "seed": 2},
            },
        }
    )
    assert len({run.folder for run in plan.runs}) == 2


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"axes": {"encoder": ["nosuch", "text"]}}, "unknown modality 'nosuch'"),
        ({"encode": {"m": {"encoder": "hashign"}}}, "unknown encoder 'hashign'; did you mean"),
        ({"encode": {"m": {"content": "{title}"}}}, "encode.m must name an encoder"),
        ({"metrics": ["cold_recall@20"]}, "measured on a split by 'user-random'"),
        (
            {"metrics": ["all_recall@20"], "splits": {"c": {"method": "cold-user"}}},
            "of cold-item splits",
        ),
    ],
)
def test_what_the_data_lack_is_said_before_anything_runs(
    given: dict[str, Any], message: str, small_dataset: Dataset, tmp_path: Path
) -> None:
    small_dataset.save(tmp_path / "data")
    named = {"model": {"name": "bpr"}}
    base = {"data": str(tmp_path / "data"), "base": named, "axes": {"model": ["bpr"]}}
    with pytest.raises(InputError, match=message):
        StudyPlan.parse({**base, **given}).check_data()


def test_a_part_left_out_cannot_have_an_option() -> None:
    axes = {"model.item_graph": [False, "knn"], "model.item_graph.k": [5, 10]}
    base = {"model": {"name": "modular", "preset": "freedom"}}
    with pytest.raises(InputError, match=r"item_graph=false' and '.*k=5' contradict each other"):
        StudyPlan.parse({"data": "d", "base": base, "axes": axes})


def test_contradictions_are_told_before_anything_runs() -> None:
    axes = {"model.network": ["mlp", "linear"], "model.hidden": [None, 16]}
    with pytest.raises(InputError, match=r"hidden=16': model\.network=linear has one layer"):
        StudyPlan.parse({"data": "d", "base": {"model": {"name": "alpharec"}}, "axes": axes})
