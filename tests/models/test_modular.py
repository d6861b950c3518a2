from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from graphrec.data.sampling import Batch, BatchSampler
from graphrec.data.train_view import Features, TrainView
from graphrec.models import Recommender, model_class
from graphrec.models.modular import Modular
from graphrec.models.parts import (
    KINDS,
    Part,
    Plan,
    State,
    composition,
    part_class,
    part_names,
    registry,
)
from graphrec.models.parts.registry import register_part
from graphrec.models.parts.terms import Term
from graphrec.models.presets import PRESETS
from graphrec.models.registry import model_options
from graphrec.training import Experiment
from graphrec.training.config import apply_overrides
from modalities._base.errors import InputError

BATCH = Batch(torch.tensor([0, 3, 1]), torch.tensor([1, 3, 3]), torch.tensor([[3], [0], [2]]))
Renamed = Callable[[str, int], str]


def same(name: str, modalities: int) -> str:
    return f"streams.0.{name}"


def freedom(name: str, modalities: int) -> str:
    """The two tables; what the content loss owns belongs to its term."""
    return f"streams.0.{name}" if name in ("users", "items") else f"terms.1.{name}"


def mmhcl(name: str, modalities: int) -> str:
    branches = {"user_nodes": "branches.0.nodes", "item_nodes": "branches.1.nodes"}
    return branches.get(name, f"streams.0.{name}")


def cm3(name: str, modalities: int) -> str:
    """Modality m is network m of the first stream; the mixture is the second stream."""
    head, _, rest = name.partition(".")
    if head == "mixture":
        return f"streams.1.{name}"
    if head == "preferences":
        return f"fusion.weights.{rest}"
    return streams(name, modalities)


def lirdrec(name: str, modalities: int) -> str:
    head, _, rest = name.partition(".")
    if head == "fusion":
        return f"fusion.weights.{rest}"
    return streams(name, modalities)


def streams(name: str, modalities: int) -> str:
    head, number, *rest = name.split(".")
    stream, place = (0, int(number)) if int(number) < modalities else (1, 0)
    if head == "users":
        return f"streams.{stream}.users.{place}"
    network = f"networks.{place}" if stream == 0 else "network"
    return ".".join([f"streams.{stream}.{network}", *rest])


MAPS: dict[str, Renamed] = {"freedom": freedom, "mmhcl": mmhcl, "cm3": cm3, "lirdrec": lirdrec}


def carried(name: str, state: dict[str, Tensor], train: TrainView) -> dict[str, Tensor]:
    """The state of a published model under the names it has in `modular`."""
    if name == "lightgcn":
        users, items = state["nodes"].split([train.n_users, train.n_items])
        return {"streams.0.users": users, "streams.0.items": items}
    return {MAPS[name](key, len(train.features)): value for key, value in state.items()}


def pair(name: str, train: TrainView, **options: Any) -> tuple[Recommender, Modular]:
    published = model_class(name)(train, **{"dim": 4, **PUBLISHED[name]})
    composed = Modular(train, preset=name, dim=4, **{**SMALL[name], **options})
    published.double()
    composed.double()
    state = carried(name, published.state_dict(), train)
    assert set(state) == set(composed.state_dict())
    composed.load_state_dict(state)
    return published, composed


PUBLISHED: dict[str, dict[str, Any]] = {
    "lightgcn": {"reg_weight": 0.1},
    "freedom": {"k": 3, "drop_ratio": 0.4, "content_weight": 0.1},
    "mmhcl": {"k": 3, "reg_weight": 0.1},
    "cm3": {"k": 3, "hidden": 5, "s_max": 0.8},
    "lirdrec": {"k": 3, "hidden": 5, "reg_weight": 0.1},
}
SMALL: dict[str, dict[str, Any]] = {
    "lightgcn": {"losses": {"reg": 0.1}},
    "freedom": {
        "item_graph": {"k": 3},
        "propagation": {"drop_ratio": 0.4},
        "losses": {"content": 0.1},
    },
    "mmhcl": {"branches": {"item_hypergraph": {"k": 3}}, "losses": {"reg": 0.1}},
    "cm3": {
        "item_graph": {"k": 3},
        "streams": {"modalities": {"hidden": 5}},
        "losses": {"calibrated_items": {"high": 0.8}},
    },
    "lirdrec": {
        "item_graph": {"k": 3},
        "streams": {"modalities": {"hidden": 5}, "joined": {"hidden": 5}},
        "losses": {"mean_square": 0.1},
    },
}


@pytest.mark.parametrize("names", [["text"], ["image", "text"]])
@pytest.mark.parametrize("name", list(PUBLISHED))
def test_presets_are_the_published_models_over_two_epochs(
    tiny_train: TrainView, name: str, names: list[str]
) -> None:
    train = tiny_train.using(names)
    models = pair(name, train)
    optimisers = [torch.optim.Adam(model.parameters(), lr=0.01) for model in models]
    assert models[0].sampling == models[1].sampling
    sampler = BatchSampler(train, models[0].sampling, 4, seed=0)
    for epoch in range(2):
        for model in models:
            model.train()
            model.begin_epoch(epoch)
        for step, batch in enumerate(sampler.epoch(epoch)):
            losses = []
            for model, optimiser in zip(models, optimisers):
                torch.manual_seed(step)  # the mixture's places come from the global stream
                optimiser.zero_grad()
                loss = torch.stack(list(model.loss(batch).values())).sum()
                loss.backward()
                optimiser.step()
                losses.append(loss.item())
            assert losses[0] == pytest.approx(losses[1], rel=1e-9)
        published, composed = (model.embeddings() for model in models)
        torch.testing.assert_close(composed.users, published.users, rtol=1e-7, atol=1e-9)
        torch.testing.assert_close(composed.items, published.items, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", list(PUBLISHED))
def test_presets_place_new_items_as_published(tiny_train: TrainView, name: str) -> None:
    text = torch.from_numpy(np.random.default_rng(1).normal(size=(3, 4))).float()
    image = torch.from_numpy(np.random.default_rng(2).normal(size=(3, 3))).float()
    known = torch.tensor([True, True, False])
    new = {
        "image": Features(image, torch.ones(3, dtype=torch.bool), "image", "new image"),
        "text": Features(text * known.unsqueeze(1), known, "text", "new text"),
    }
    published, composed = (model.represent_items(new) for model in pair(name, tiny_train))
    torch.testing.assert_close(composed, published, rtol=1e-7, atol=1e-9)


def test_new_items_are_placed_by_the_graph_in_use(tiny_train: TrainView) -> None:
    for item_graph in ("knn", "mixed"):
        model = Modular(tiny_train, item_graph={"name": item_graph, "k": 3, "ties": "index"})
        assert (model.neighbourhood["k"], model.neighbourhood["ties"]) == (2, "index")
    bare: dict[str, Any] = {"item_graph": False, "branches": {"item_hypergraph": False}}
    assert not Modular(tiny_train, **bare).neighbourhood


@pytest.mark.parametrize("name", list(PUBLISHED))
def test_presets_train_as_published(name: str) -> None:
    settings = Experiment.parse({"model": {"name": "modular", "preset": name}}).training
    assert settings == Experiment.parse({"model": {"name": name}}).training


def test_options_are_laid_over_the_preset(tiny_train: TrainView) -> None:
    options = Modular.complete_options(
        {
            "preset": "freedom",
            "propagation": {"layers": 1},
            "losses": {"content": 0, "reg": 0.5, "bpr": True},
            "item_graph": "none",
        }
    )
    assert options["propagation"] == {
        "name": "lightgcn",
        "layers": 1,
        "readout": "mean",
        "drop_ratio": 0.8,
    }
    assert options["losses"]["content"] is False
    assert options["losses"]["reg"] == {"weight": 0.5, "form": "l2", "of": "ego"}
    assert options["item_graph"] == {"name": "none"}
    assert Modular.complete_options(options) == options
    assert [type(t).__name__ for t in Modular(tiny_train, **options).terms] == [
        "BPRTerm",
        "RegulariserTerm",
    ]


def test_another_part_forgets_the_options_of_the_first() -> None:
    options = Modular.complete_options({"preset": "freedom", "propagation": "ngcf"})
    assert options["propagation"]["name"] == "ngcf"
    assert "drop_ratio" not in options["propagation"]


def test_a_composition_spelt_out_does_not_change_with_its_preset(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A preset of a later version may have more parts; an old run's model must not get them."""
    spelt = Modular.complete_options({"preset": "freedom", "losses": {"content": 0}})
    assert (spelt["preset"], spelt["origin"]) == ("none", "freedom")
    later = {**PRESETS["freedom"], "streams": {"identity": {}, "modalities": {}}}
    monkeypatch.setattr(composition, "PRESETS", {**PRESETS, "freedom": later})
    assert Modular.complete_options(spelt) == spelt
    assert Modular.training_settings({**spelt, "origin": "cm3"}) == {"patience": 10}


@pytest.mark.parametrize("off", [False, 0, 0.0])
def test_parts_can_be_left_out(tiny_train: TrainView, off: Any) -> None:
    options = Modular.complete_options(
        {"preset": "mmhcl", "branches": {"user_hypergraph": off}, "losses": {"contrast_user": off}}
    )
    assert options["branches"]["user_hypergraph"] is False
    assert Modular.complete_options({"preset": "freedom", "item_graph": False})["item_graph"] == {
        "name": "none"
    }
    assert len(Modular(tiny_train, **options).branches) == 1


def test_sampled_places_follow_the_seed(tiny_train: TrainView) -> None:
    streams = {"modalities": {"hidden": 5}, "mixture": {"eval_mix": "sample"}}
    published, composed = pair("cm3", tiny_train, streams=streams)
    published.eval_mix = "sample"  # type: ignore[assignment]
    for seed in (0, 7):
        published.seed = composed.seed = seed
        torch.testing.assert_close(composed.embeddings().items, published.embeddings().items)


def test_modalities_named_like_parts_are_refused(tiny_train: TrainView) -> None:
    features = {"identity": tiny_train.features["text"]}
    train = TrainView.from_arrays(
        tiny_train.users, tiny_train.items, n_users=5, n_items=6, features=features
    )
    with pytest.raises(InputError, match="a modality cannot be named 'identity'"):
        Modular(train, preset="lightgcn", dim=4, streams={"modalities": True})


def test_one_override_is_one_ablation(tiny_train: TrainView) -> None:
    overrides = ["model.losses.contrast_user=0", "model.branches.user_hypergraph=false"]
    values = apply_overrides({"model": {"name": "modular", "preset": "mmhcl"}}, overrides)
    options = Experiment.parse(values).model.options
    model = Modular(tiny_train, **options)
    assert [branch.side for branch in model.branches] == ["item"]
    assert set(model.loss(BATCH)) == {"bpr", "reg", "contrast_item"}


def test_overrides_deepen_names_and_weights() -> None:
    off = {"model": {"name": "modular", "losses": {"content": False}}}
    on = apply_overrides(off, ["model.losses.content.weight=1"])["model"]["losses"]
    assert on == {"content": {"weight": 1}}
    with pytest.raises(InputError, match=r"model\.losses\.content' must hold"):
        apply_overrides({"model": {"losses": {"content": [1]}}}, ["model.losses.content.weight=1"])
    with pytest.raises(InputError, match=r"model\.name must be a name"):
        Experiment.parse({"model": {"name": 5}})
    values = {"model": {"name": "modular", "propagation": "ngcf", "losses": {"softmax": 0.5}}}
    overrides = ["model.propagation.layers=1", "model.losses.softmax.temperature=0.1"]
    model = apply_overrides(values, overrides)["model"]
    assert model["propagation"] == {"name": "ngcf", "layers": 1}
    assert model["losses"]["softmax"] == {"weight": 0.5, "temperature": 0.1}
    with pytest.raises(InputError, match="empty name"):
        apply_overrides({}, ["model.losses.=1"])


@pytest.mark.parametrize("fusion", ["concat", "sum", "attention", "user_weights", "progressive"])
@pytest.mark.parametrize(
    "propagation", ["none", "lightgcn", "ngcf", {"name": "lightgcn", "readout": "learned"}]
)
def test_every_fusion_after_every_propagation(
    tiny_train: TrainView, fusion: str, propagation: Any
) -> None:
    model = Modular(
        tiny_train,
        preset="cm3",
        dim=4,
        fusion=fusion,
        propagation=propagation,
        item_graph={"k": 3},
        streams={"identity": True, "joined": {"projection": "linear", "users": "history"}},
        losses={"calibrated_items": {"content": "features"}, "softmax": 1, "reg": 1},
    )
    model.begin_epoch(0)
    torch.stack(list(model.loss(BATCH).values())).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all()
    vectors = model.embeddings()
    assert vectors.users.shape[1] == vectors.items.shape[1]


@pytest.mark.parametrize(
    "item_graph", ["none", "cooccurrence", {"name": "mixed", "k": 3, "how": "union"}]
)
@pytest.mark.parametrize("applied", ["identities", "propagated"])
def test_item_graphs(tiny_train: TrainView, item_graph: Any, applied: str) -> None:
    if item_graph != "none":
        named = {"name": item_graph} if isinstance(item_graph, str) else item_graph
        item_graph = {"k": 2, **named, "applied": applied}
    model = Modular(tiny_train, preset="lightgcn", dim=4, item_graph=item_graph)
    plain = Modular(tiny_train, preset="lightgcn", dim=4)
    plain.load_state_dict(model.state_dict())
    items = plain.embeddings().items
    if item_graph != "none":
        source = plain.streams[0].items if applied == "identities" else items
        items = items + model.item_graph.graph.to_dense() @ source  # type: ignore[operator]
    torch.testing.assert_close(model.embeddings().items, items)


def test_softmax_over_the_batch_leaves_own_positives_out(tiny_train: TrainView) -> None:
    model = Modular(
        tiny_train,
        preset="lightgcn",
        dim=4,
        losses={"bpr": 0, "reg": 0, "softmax": {"pool": "batch", "temperature": 0.5}},
    )
    users, items = (v.detach().numpy().astype(float) for v in model.vectors())
    batch = Batch(torch.tensor([0, 0, 1]), torch.tensor([1, 2, 3]), BATCH.negatives)
    u, i = users[[0, 0, 1]], items[[1, 2, 3]]
    u, i = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (u, i))
    e = np.exp(u @ i.T / 0.5)
    rivals = [[2], [2], [0, 1]]
    expected = np.mean([-np.log(e[b, b] / (e[b, b] + e[b, r].sum())) for b, r in enumerate(rivals)])
    assert model.loss(batch)["softmax"].item() == pytest.approx(expected, rel=1e-5)


def test_cosine_scores_are_of_unit_rows(tiny_train: TrainView) -> None:
    vectors = Modular(tiny_train, preset="lightgcn", dim=4, score="cosine").embeddings()
    torch.testing.assert_close(vectors.items[:4].norm(dim=1), torch.ones(4))


def test_a_part_of_ones_own(tiny_train: TrainView, monkeypatch: pytest.MonkeyPatch) -> None:
    known = {kind: dict(parts) for kind, parts in registry._parts.items()}
    monkeypatch.setattr(registry, "_parts", known)

    @register_part("loss", "popular")
    class Popular(Term):
        """Users near one item."""

        learns = True

        def __init__(self, plan: Plan, *, weight: float = 1.0, item: int = 0) -> None:
            super().__init__(weight)
            self.item = item

        def forward(self, state: State, batch: Batch) -> dict[str, Tensor]:
            return {"popular": -(state.users @ state.items[self.item]).mean()}

    losses = {"bpr": 0, "reg": 0, "popular": {"weight": 2, "item": 3}}
    model = Modular(tiny_train, preset="lightgcn", dim=4, losses=losses)
    users, items = model.vectors()
    torch.testing.assert_close(model.loss(BATCH)["popular"], -2 * (users @ items[3]).mean())


def test_what_is_no_part_is_refused() -> None:
    class Weightless(Part):
        def __init__(self, plan: Plan) -> None:
            super().__init__()

    with pytest.raises(InputError, match="needs an option 'weight'; derive it from Term"):
        register_part("loss", "weightless")(Weightless)
    with pytest.raises(InputError, match="unknown kind of part 'los'; did you mean 'loss'"):
        register_part("los", "popular")
    with pytest.raises(InputError, match="registered already"):
        register_part("loss", "bpr")(part_class("loss", "reg"))


@pytest.mark.parametrize("kind", KINDS)
def test_every_option_of_every_part_is_documented(kind: str) -> None:
    for name in part_names(kind):
        part = part_class(kind, name)
        assert part.__doc__, name
        for option in model_options(part):
            assert option.help, f"{kind} {name}.{option.name}"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preset": "fredom"}, "unknown preset 'fredom'; did you mean 'freedom'"),
        ({"losses": {"contrast_user": 1}}, "add model.branches.user_hypergraph=true"),
        ({"losses": {"calibrated_items": {"content": "mixture"}}}, "valid: features, identity"),
        ({"losses": {"bpr": 0, "content": 0}}, "names no loss in use; valid: bpr, softmax"),
        ({"losses": {"bqr": 1}}, "unknown loss 'bqr'; did you mean 'bpr'"),
        ({"losses": {"bpr": -1}}, "model.losses.bpr.weight"),
        ({"losses": {"bpr": {"wieght": 1}}}, "did you mean 'model.losses.bpr.weight'"),
        ({"losses": [1]}, "model.losses: expected a mapping of names to options"),
        ({"losses": {"bpr": None}}, "model.losses.bpr has no value; give options, true, or false"),
        ({"losses": {"bpr": float("nan")}}, "model.losses.bpr.weight"),
        ({"losses": {"bpr": []}}, "model.losses.bpr' must hold key: value pairs"),
        ({"branches": {"user_hypergraph": None}}, "model.branches.user_hypergraph has no value"),
        ({"losses": {"bpr": 0, "reg": 1}}, "learns from interactions; valid: bpr, softmax"),
        ({"losses": {"calibrated_items": {"low": 0.9, "high": 0.1}}}, "0.9 is above the higher"),
        ({"streams": {"modalities": {"use": []}}}, "must name modalities, once each"),
        ({"streams": {"modalities": {"use": ["text", "text"]}}}, "must name modalities"),
        ({"propagation": {"name": None}}, "model.propagation.name must be one of none, lightgcn"),
        ({"propagation": {"name": 5}}, "model.propagation.name must be one of"),
        ({"fusion": False}, "model.fusion: expected a part's name, .* valid names: concat"),
        ({"propagation": 3}, "or false; valid names: none, lightgcn, ngcf (got 3"),
        ({"propagation": True}, "valid names: none, lightgcn, ngcf (got True"),
        ({"item_graph": [1]}, "model.item_graph: expected .* none, knn, cooccurrence, mixed"),
        ({"streams": "identity"}, "as in model.streams.identity=true; valid names: identity, mod"),
        ({"propagation": {"drop_ratio": 0.99}}, "leaves none of the 11 edges"),
        ({"losses": {"contrast_item": {"nodes": 1}}}, "nodes: .* greater than or equal to 2"),
        ({"losses": {"calibrated_items": {"low": -2}}}, "calibrated_items.low"),
        ({"losses": {"softmax": {"temperature": 1e-40}}}, "softmax.temperature"),
        ({"negatives": 10**11}, "model.negatives"),
        ({"item_graph": {"k": 3, "layers": 0}}, "model.item_graph.layers"),
        ({"score": "cos"}, "model.score"),
        ({"dim": -3}, "model.dim"),
        ({"origin": "cm3"}, "preset 'freedom' cannot be laid under them"),
        ({"streams": {"identity": 5}}, "model.streams.identity' must hold key: value pairs"),
        ({"losses": {"bpr": "high"}}, "model.losses.bpr' must hold key: value pairs"),
        ({"streams": {"identity": False}}, "names no stream in use"),
        ({"streams": {"identity": False, "modalities": {"use": ["txt"]}}}, "did you mean 'text'"),
        ({"fusion": "user_weights"}, "weighs several blocks and there is one, 'identity'"),
        ({"propagation": "ngcf"}, "model.propagation.readout=mean"),
        ({"propagation": {"name": "lightgcn", "readout": "men"}}, "model.propagation.readout"),
        ({"propagation": "lightgnc"}, "unknown propagation 'lightgnc'; did you mean 'lightgcn'"),
        ({"item_graph": {"k": 7}}, "k=7 neighbours were asked for and the catalogue has 6 items"),
        ({"item_graph": {"k": 3, "modality_weights": {"txt": 1}}}, "did you mean 'text'"),
        ({"negatives": 0}, "model.negatives"),
    ],
)
def test_bad_choices_are_refused_with_what_would_do(
    tiny_train: TrainView, options: dict[str, Any], message: str
) -> None:
    given: dict[str, Any] = {"preset": "freedom", "item_graph": {"k": 3}, **options}
    with pytest.raises(InputError, match=message.replace("(", r"\(")):
        Modular(tiny_train, **{"dim": 4, **given})


@pytest.mark.parametrize(
    "options",
    [
        {"preset": "cm3"},
        {"preset": "freedom"},
        {"preset": "lightgcn", "branches": {"item_hypergraph": True}},
        {"preset": "lightgcn", "losses": {"content": 1}},
        {"preset": "lightgcn", "losses": {"calibrated_items": 1}},
        {"preset": "lightgcn", "item_graph": "mixed"},
        {"preset": "lightgcn", "streams": {"mixture": True}},
    ],
)
def test_content_needs_features(tiny_train: TrainView, options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="needs item features and these data have none"):
        Modular(tiny_train.using([]), dim=4, **options)


def test_a_preset_that_prunes_may_have_no_layers(tiny_train: TrainView) -> None:
    options = Modular.complete_options({"preset": "freedom", "propagation": {"layers": 0}})
    assert Modular.complete_options(options) == options
    assert options["propagation"]["drop_ratio"] == 0.8


@pytest.mark.parametrize("number", ["nan", "inf"])
@pytest.mark.parametrize("option", ["model.losses.reg", "model.losses.bpr.weight"])
def test_no_numbers_reach_the_check_of_their_part(option: str, number: str) -> None:
    values = apply_overrides({"model": {"name": "modular"}}, [f"{option}=.{number}"])
    with pytest.raises(InputError, match=rf"weight: .*finite number \(got {number}\)"):
        Experiment.parse(values)


def test_every_preset_is_complete() -> None:
    for name in PRESETS:
        options = Modular.complete_options({"preset": name})
        assert Modular.complete_options(options) == options


def test_parts_know_the_plan(tiny_train: TrainView) -> None:
    plan = Plan(tiny_train, dim=4, blocks=("a", "b"), depth=3)
    assert part_class("fusion", "concat")(plan).width == 24
    assert part_class("fusion", "sum")(plan).width == 12
