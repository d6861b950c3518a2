from __future__ import annotations

from copy import copy, deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from graphrec.data.train_view import TrainView
from graphrec.models import Recommender, config_class, model_class
from graphrec.models.lightgcn import LightGCN
from graphrec.models.options import Size
from modalities._base.errors import InputError

NOTHING: Any = None

NAN = float("nan")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("lirdrec", {"variant": "fathful"}, "model.variant: .*'faithful' or 'corrected' .*fathful"),
        ("lirdrec", {"decay_weight": 2.0}, "model.decay_weight: .* less than 1 .*2.0"),
        ("lirdrec", {"transform": "dct"}, "model.transform: .*'none', 'l2' or 'dct_rows'"),
        ("mmhcl", {"backbone": "lightgnc"}, "model.backbone: .*'lightgcn', 'ngcf' or 'mf'"),
        ("mmhcl", {"anchor": "fussed"}, "model.anchor: .*'fused' or 'first_order'"),
        ("mmhcl", {"hypergraph_norm": "clik"}, "model.hypergraph_norm: .*'clique'"),
        ("cm3", {"eval_mix": "meen"}, "model.eval_mix: .*'mean', 'last' or 'sample'"),
        ("cm3", {"knn_norm": "sym"}, "model.knn_norm: .*'symmetric'"),
        ("cm3", {"ties": "indx"}, "model.ties: .*'hash' or 'index'"),
        ("cm3", {"uniform_items": "pos"}, "model.uniform_items: .*'negatives' or 'positives'"),
        ("cm3", {"s_min": NAN}, "model.s_min: .*finite number .*nan"),
        ("cm3", {"s_min": 2}, "model.s_min: .*less than or equal to 1"),
        ("cm3", {"s_max": -1.5}, "model.s_max: .*greater than or equal to -1"),
        ("cm3", {"alpha": 1e-300}, "model.alpha: .*greater than or equal to 0.01"),
        ("cm3", {"hidden": 10**20}, "model.hidden: .*less than or equal to 1000000"),
        ("ngcf", {"activations": 3}, "model.activations: .*1 or 2"),
        ("ngcf", {"regularised": "ouputs"}, "model.regularised: .*'outputs', 'ego' or"),
        ("ngcf", {"epoch": "user"}, "model.epoch: .*'users' or 'interactions'"),
        ("vbpr", {"reg": "l3"}, "model.reg: .*'norm' or 'l2'"),
        ("bpr", {"reg": "nrom"}, "model.reg: .*'norm' or 'l2'"),
        ("bpr", {"item_bias": "no"}, r"model.item_bias: expected True or False \(got 'no'\)"),
        ("alpharec", {"user_mean": "loo"}, "model.user_mean: .*'all' or 'leave_one_out'"),
        ("alpharec", {"network": "lin"}, "model.network: .*'mlp' or 'linear'"),
        ("alpharec", {"hidden": 0}, "model.hidden: .*greater than or equal to 1"),
        ("alpharec", {"negatives": 0}, "model.negatives: .*greater than or equal to 1"),
        ("alpharec", {"negatives": 10**11}, "model.negatives: .*less than or equal to 1000000"),
        ("alpharec", {"temperature": NAN}, "model.temperature: .*(finite|greater)"),
        ("alpharec", {"temperature": 0.0}, "model.temperature: .*greater than or equal to 0.0001"),
        ("alpharec", {"temperature": 1e-40}, "model.temperature: .*greater than or equal"),
        ("lightgcn", {"dim": 0}, r"model.dim: .*greater than or equal to 1 \(got 0\)"),
        ("lightgcn", {"dim": True}, r"model.dim: expected a number \(got True\)"),
        ("lightgcn", {"dim": 64.0}, r"model.dim: expected a whole number \(got 64.0\)"),
        ("lightgcn", {"dim": "64"}, r"model.dim: expected a whole number \(got '64'\)"),
        ("lightgcn", {"layers": 10**20}, "model.layers: .*less than or equal to 1000"),
        ("mmhcl", {"contrast_nodes": 1}, "model.contrast_nodes: .*greater than or equal to 2"),
        ("itemknn", {"shrinkage": -1}, "model.shrinkage: .*greater than or equal to 0"),
        ("freedom", {"modality_weights": 1}, "model.modality_weights: .*valid dictionary"),
    ],
)
def test_a_constructor_refuses_what_is_no_option(
    tiny_train: TrainView, name: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        model_class(name)(tiny_train, **options)


def test_numbers_of_numpy_are_numbers(tiny_train: TrainView) -> None:
    model = LightGCN(tiny_train, dim=np.int64(4), reg_weight=np.float32(0.5))
    assert model.embeddings().items.shape == (6, 4)


def test_names_are_left_to_python(tiny_train: TrainView) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'dmi'"):
        LightGCN(tiny_train, dmi=4)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="train"):
        LightGCN(dim=4)  # type: ignore[call-arg]


class Base(Recommender):
    """Fixed scores."""

    def vectors(self) -> tuple[Tensor, Tensor]:
        return torch.ones(self.n_users, 1), torch.ones(self.n_items, 1)


class Loose(Base):
    """Options Python takes in every way."""

    def __init__(self, train: TrainView, size: int = 3, *extra: int, **rest: Any) -> None:
        super().__init__(train)
        self.taken = (size, extra, rest)


class Odd(Base):
    """Annotations that make no configuration."""

    def __init__(self, train: TrainView, *, table: Tensor, size: Nowhere = 3) -> None:  # type: ignore[name-defined] # noqa: F821
        super().__init__(train)
        self.table, self.size = table, size


class Strict(Base):
    """An option without a default."""

    def __init__(self, train: TrainView, *, size: Size) -> None:
        super().__init__(train)


def test_models_of_a_third_party_are_made_as_python_makes_them(tiny_train: TrainView) -> None:
    assert Loose(tiny_train, 5, 6, odd="yes").taken == (5, (6,), {"odd": "yes"})
    assert str(Loose(tiny_train, size="big").taken[0]) == "big"  # type: ignore[arg-type]
    assert Odd(tiny_train, table=torch.eye(2), size="big").size == "big"
    with pytest.raises(TypeError, match="size"):
        Strict(tiny_train)  # type: ignore[call-arg]
    with pytest.raises(InputError, match=r"model\.size"):
        Strict(tiny_train, size=0)


def test_copies_are_not_checked(tiny_train: TrainView) -> None:
    model = LightGCN(tiny_train, dim=4)
    assert copy(model).layers == deepcopy(model).layers == 3


def test_a_configuration_is_made_once() -> None:
    assert config_class(LightGCN) is config_class(LightGCN)


def test_options_that_a_subclass_passes_on_are_checked(tiny_train: TrainView) -> None:
    class Sub(LightGCN):
        def __init__(self, train: TrainView, *, dim: int = 8, **options: Any) -> None:
            super().__init__(train, dim=dim, **options)

    assert Sub(tiny_train, layers=1).layers == 1
    with pytest.raises(InputError, match=r"model.variant: .*'corrected' \(got 'fathful'\)"):
        Sub(tiny_train, variant="fathful")


def test_a_default_of_none_needs_no_annotation(tiny_train: TrainView) -> None:
    class Loose(LightGCN):
        def __init__(self, train: TrainView, *, size: int = NOTHING) -> None:
            super().__init__(train, dim=4)

    assert Loose(tiny_train, size=None).n_users == 5  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"model\.size"):
        Loose(tiny_train, size="wide")  # type: ignore[arg-type]
