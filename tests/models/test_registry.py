from __future__ import annotations

from importlib.metadata import EntryPoint, EntryPoints

import pytest

from graphrec.models import model_class, model_names, model_options, model_source, register
from graphrec.models import registry as registry_module
from graphrec.models.popularity import Popularity
from modalities._base.errors import InputError, UnknownNameError


def test_a_typo_gets_the_nearest_name() -> None:
    with pytest.raises(UnknownNameError, match="unknown model 'lightgnc'; did you mean 'lightgcn'"):
        model_class("lightgnc")


def test_options_come_from_signature_and_docstring() -> None:
    options = {option.name: option for option in model_options(model_class("lightgcn"))}
    assert options["layers"].default == 3
    assert options["reg_weight"].default == 1e-4
    assert "lambda" in options["reg_weight"].help
    assert "2002.02126" in model_source(model_class("lightgcn"))


def test_entry_points_extend_the_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("mine", "graphrec.models.popularity:Popularity", "graphrec.models")
    bad = EntryPoint("broken", "pathlib:Path", "graphrec.models")
    monkeypatch.setattr(registry_module, "entry_points", lambda group: EntryPoints([point, bad]))
    assert "mine" in model_names()
    assert model_class("mine") is Popularity
    with pytest.raises(InputError, match="not a Recommender"):
        model_class("broken")


def test_registering_in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_module, "_registered", {})

    class Mine(Popularity):
        """Mine."""

    register("mine", Mine)
    assert model_class("mine") is Mine
    with pytest.raises(InputError, match="registered already"):
        register("lightgcn", Mine)
