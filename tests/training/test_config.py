from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from graphrec.training.config import Experiment, apply_overrides, read_config
from modalities._base.errors import InputError

LIGHTGCN: dict[str, Any] = {"model": {"name": "lightgcn"}}


def test_everything_is_in_the_resolved_configuration() -> None:
    experiment = Experiment.parse(LIGHTGCN)
    values = experiment.to_dict()
    assert values["model"]["layers"] == 3
    assert values["training"]["batch_size"] == 2048
    assert Experiment.parse(values) == experiment


def test_yaml_round_trip(tmp_path: Path) -> None:
    experiment = Experiment.parse({**LIGHTGCN, "training": {"lr": 5e-4}})
    (tmp_path / "c.yaml").write_text(experiment.to_yaml())
    assert Experiment.parse(read_config(tmp_path / "c.yaml")) == experiment


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"trainng": {}}, r"unknown option 'trainng'; did you mean 'training'\?"),
        ({"training": {"epoch": 3}}, r"'training.epoch'; did you mean 'training.epochs'\?"),
        ({"model": {"name": "lightgcn", "layer": 2}}, r"did you mean 'model.layers'\?"),
        ({"model": {"name": "lightgcm"}}, r"did you mean 'lightgcn'\?"),
        ({"model": {}}, "no model was chosen"),
        ({"training": {"epochs": 0}}, r"training.epochs: .*greater than or equal to 1 \(got 0\)"),
        ({"training": {"epochs": True}}, r"training.epochs: expected a number \(got True\)"),
        ({"model": {"name": "lightgcn", "dim": True}}, r"model.dim: expected a number"),
        ({"training": {"lr": "fast"}}, r"training.lr: .*\(got 'fast'\)"),
        ({"model": {"name": "lightgcn", "reg": "l3"}}, r"model.reg: .*'norm' or 'l2'"),
        ({"training": {"metric": "recal@20"}}, r"did you mean 'recall@20'\?"),
        (
            {"training": {"metric": "gini@5"}, "evaluation": {"metrics": ["gini"], "ks": [5]}},
            "'gini@5' cannot select: .* lower is fairer",
        ),
        ({"evaluation": {"metrics": ["recal"]}}, "recal"),
        ({"evaluation": {"ks": [0]}}, "at least 1"),
        ({"training": [1]}, "must hold key: value pairs"),
    ],
)
def test_mistakes_get_one_clear_message(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Experiment.parse({**LIGHTGCN, **values})


def test_overrides_are_read_as_yaml() -> None:
    overrides = [
        "training.lr=1e-4",
        "features=[image,text]",
        "evaluation.mask=train+valid",
        "model.freeze_features=true",
        "training.max_minutes=null",
    ]
    values = apply_overrides({"training": {"lr": 1, "epochs": 5}}, overrides)
    assert values["training"] == {"lr": 1e-4, "epochs": 5, "max_minutes": None}
    assert values["features"] == {"use": ["image", "text"]}
    assert values["evaluation"]["mask"] == "train+valid"
    assert values["model"]["freeze_features"] is True


@pytest.mark.parametrize("override", ["epochs", "training.epochs", "epochs=3", "=3"])
def test_overrides_of_another_form(override: str) -> None:
    with pytest.raises(InputError, match=r"not of the form section\.key=value"):
        apply_overrides({}, [override])


def test_options_of_what_an_override_leaves_out() -> None:
    with pytest.raises(InputError, match=r"item_graph=false' and 'model.item_graph.k=3' contradi"):
        apply_overrides({}, ["model.item_graph=false", "model.item_graph.k=3"])
    again = ["model.item_graph=false", "model.item_graph=knn", "model.item_graph.k=3"]
    assert apply_overrides({}, again)["model"]["item_graph"] == {"name": "knn", "k": 3}
    beside = apply_overrides({}, ["model.item_graph=false", "model.item_graphs.k=3"])
    assert beside["model"]["item_graph"] is False


def test_configuration_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_config(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("a: [1")
    with pytest.raises(InputError, match="cannot read the configuration"):
        read_config(tmp_path / "bad.yaml")
    (tmp_path / "list.yaml").write_text("- 1")
    with pytest.raises(InputError, match="must hold sections"):
        read_config(tmp_path / "list.yaml")


def test_the_identity_of_a_configuration() -> None:
    def identity(**given: Any) -> str:
        return Experiment.parse({"model": {"name": "bpr"}, **given}).config_id

    plain = identity()
    assert identity(data={"path": "elsewhere"}, training={"device": "cpu"}) == plain
    assert identity(training={"max_minutes": 5}) == plain
    others: list[dict[str, Any]] = [
        {"data": {"flip": 0.1}},
        {"training": {"seed": 1}},
        {"evaluation": {"ks": [20]}},
    ]
    assert len({plain, *(identity(**given) for given in others)}) == 4
