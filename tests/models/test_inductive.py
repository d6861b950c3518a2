"""Vectors of items and users that training has not seen, against written-out calculations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from graphrec.data.train_view import Features, TrainView
from graphrec.graphs.knn import KnnNorm, Ties, knn_graph, mixed_knn_graph
from graphrec.models import Recommender, model_class
from graphrec.models.base import NotInductiveError
from graphrec.nn.ranking import SeenItems
from modalities._base.errors import InputError

N_NEW = 4
CONTENT: list[tuple[str, dict[str, Any]]] = [
    ("alpharec", {"hidden": 5}),
    ("cm3", {"k": 3, "hidden": 5}),
    ("lirdrec", {"k": 3, "hidden": 5}),
    ("vbpr", {}),
    ("contentknn", {}),
    ("modular", {"preset": "cm3", "item_graph": {"name": "knn", "k": 3, "norm": "symmetric"}}),
]
NEIGHBOURS: list[tuple[str, dict[str, Any]]] = [
    ("bpr", {}),
    ("lightgcn", {}),
    ("ngcf", {}),
    ("freedom", {"k": 4}),
    ("mmhcl", {"k": 4}),
    ("modular", {"item_graph": {"k": 3}, "branches": {"item_hypergraph": {"k": 3}}}),
]


def new_features(seed: int = 3, n: int = N_NEW) -> dict[str, Features]:
    random = np.random.default_rng(seed)
    widths = {"image": 3, "text": 4}
    rows = {
        name: torch.from_numpy(random.normal(size=(n, d))).float() for name, d in widths.items()
    }
    present = torch.ones(n, dtype=torch.bool)
    missing = present.clone()
    missing[-1] = False
    rows["text"][-1] = 0
    return {
        "image": Features(rows["image"], present, "image", f"new-image-{seed}"),
        "text": Features(rows["text"], missing, "text", f"new-text-{seed}"),
    }


def some(features: dict[str, Features], rows: list[int]) -> dict[str, Features]:
    return {name: one.rows(torch.tensor(rows)) for name, one in features.items()}


def build(name: str, train: TrainView, options: dict[str, Any]) -> Recommender:
    torch.manual_seed(0)
    model = model_class(name)(train, **({} if name == "contentknn" else {"dim": 4}), **options)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    return model


@pytest.mark.parametrize(("name", "options"), [*CONTENT, *NEIGHBOURS])
def test_new_items_do_not_touch_one_another(
    name: str, options: dict[str, Any], tiny_train: TrainView
) -> None:
    model = build(name, tiny_train, options)
    features = new_features()
    random_state = torch.get_rng_state()
    together = model.represent_items(features)
    assert together.shape == (N_NEW, model.embeddings().items.shape[1])
    assert torch.isfinite(together).all()
    torch.testing.assert_close(model.represent_items(some(features, [1])), together[1:2])
    assert torch.equal(torch.get_rng_state(), random_state)


@pytest.mark.parametrize(("name", "options"), CONTENT)
def test_an_item_known_already_is_placed_where_it_was(
    name: str, options: dict[str, Any], tiny_train: TrainView
) -> None:
    """A copy of item 5, which has no interactions, differs by its free part and its neighbour 5."""
    model = build(name, tiny_train, options)
    before = model.embeddings().items
    copy = some(dict(tiny_train.features), [5])
    if name in ("cm3", "lirdrec", "modular"):
        view = tiny_train.with_items(copy)
        larger = type(model)(view, **model._options)
        larger.load_state_dict({**larger.state_dict(), **_fitting(model, larger)})
        torch.testing.assert_close(larger.embeddings().items[:6], before)
        return
    made = model.represent_items(copy)[0]
    free = 4 if name == "vbpr" else 0
    torch.testing.assert_close(made[free:], before[5, free:])
    assert not made[:free].any()


def _fitting(model: Recommender, larger: Recommender) -> dict[str, Any]:
    shapes = {name: value.shape for name, value in larger.state_dict().items()}
    state = model.state_dict()
    return {name: value for name, value in state.items() if value.shape == shapes[name]}


def test_lirdrec_by_hand(tiny_train: TrainView) -> None:
    model = build("lirdrec", tiny_train, {"k": 3, "hidden": 5, "variant": "corrected"})
    new = some(new_features(), [0, 1])
    streams: Any = model.streams
    graph: Any = model.graph
    tables = [
        *(new[name].values for name in ("image", "text")),
        torch.cat([new["image"].values, new["text"].values], 1),
    ]
    blocks = []
    for stream, x in zip(streams, tables):
        hidden = x @ stream.first.weight.T + stream.first.bias
        made = torch.where(hidden > 0, hidden, 0.01 * hidden) @ stream.second.weight.T
        blocks.append(made / made.norm(dim=1, keepdim=True))
    f_new = torch.cat(blocks, 1)
    users: Any = model.users
    start = torch.cat(
        [
            torch.nn.functional.normalize(torch.cat([table, stream()]))
            for table, stream in zip(users, streams)
        ],
        1,
    )
    a = graph.to_dense()
    f_known = (start + a @ start + a @ a @ start)[5:]
    expected = f_new.clone()
    for name, share in (("image", 0.1), ("text", 0.9)):
        known = torch.nn.functional.normalize(tiny_train.features[name].values.double())
        cosines = torch.nn.functional.normalize(new[name].values.double()) @ known.T
        cosines[:, ~tiny_train.features[name].present] = -2
        nearest = cosines.topk(2).indices  # and the item itself, of k = 3
        expected += share / 3 * (f_new + f_known[nearest].sum(1))
    torch.testing.assert_close(model.represent_items(new), expected.detach())


@pytest.mark.parametrize(("name", "k"), [("lightgcn", 10), ("freedom", 3), ("mmhcl", 3)])
def test_models_of_identities_take_the_mean_of_warm_neighbours(
    name: str, k: int, tiny_train: TrainView
) -> None:
    model = build(name, tiny_train, {} if name == "lightgcn" else {"k": k + 1})
    new = new_features()
    shares = {"image": 0.5, "text": 0.5} if name == "mmhcl" else {"image": 0.1, "text": 0.9}
    items = model.embeddings().items
    expected = torch.zeros(N_NEW, 4)
    for row in range(N_NEW):
        total = 0.0
        for modality, share in shares.items():
            if not new[modality].present[row]:
                continue
            known = tiny_train.features[modality]
            there = known.present.nonzero().squeeze(1)
            x = new[modality].values[row].double().numpy()
            cosines = [_cosine(x, known.values[j].double().numpy()) for j in there.tolist()]
            nearest = there[np.argsort(cosines)[::-1][:k].copy()]
            expected[row] += share * items[nearest].mean(0)
            total += share
        expected[row] /= total
    torch.testing.assert_close(model.represent_items(new), expected)


def _cosine(x: Any, y: Any) -> float:
    return float(x @ y / np.linalg.norm(x) / np.linalg.norm(y))


@pytest.mark.parametrize(
    ("name", "options"), [("freedom", {"k": 3}), ("cm3", {"k": 2, "hidden": 5})]
)
def test_transductive_neighbours_are_new_items_too(
    name: str, options: dict[str, Any], tiny_train: TrainView
) -> None:
    model = build(name, tiny_train, options)
    new = new_features()
    twins = {key: some({key: one}, [0, 0, 1])[key] for key, one in new.items()}
    alone, among = (model.represent_items(twins, transductive=flag) for flag in (False, True))
    torch.testing.assert_close(alone[0], alone[1])
    assert not torch.allclose(alone[0], among[0])  # its nearest is its twin
    if name == "freedom":  # whose vector the warm items give; the other neighbour is warm
        view = tiny_train.with_items(some(twins, [0]))
        shares = {"image": 0.1, "text": 0.9}
        near = mixed_knn_graph(view, shares, k=1, include_self=False, norm="row").to_dense()[-1]
        nearest = near[:6] @ model.embeddings().items
        torch.testing.assert_close(among[0], (alone[1] + nearest) / 2)


@pytest.mark.parametrize("norm", ["rowdeg_both", "symmetric", "row", "none"])
@pytest.mark.parametrize("ties", ["hash", "index"])
@pytest.mark.parametrize("transductive", [False, True])
def test_known_rows_of_a_graph_stay_as_they_are(
    norm: KnnNorm, ties: Ties, transductive: bool, tiny_train: TrainView
) -> None:
    values = torch.tensor([[1.0, 0], [1, 0], [1, 0], [0, 1], [1, 1], [1, 1]])  # ties in plenty
    train = TrainView.from_arrays([0], [0], n_users=1, n_items=6, features={"x": values})
    more = {"x": Features.from_tensor(torch.tensor([[1.0, 0.4], [1, 0.4], [1, 1]]))}
    before = train.graph(knn_graph, "x", 3, norm=norm, ties=ties).to_dense()
    larger = train.with_items(more, transductive=transductive)
    after = larger.graph(knn_graph, "x", 3, norm=norm, ties=ties).to_dense()
    torch.testing.assert_close(after[:6, :6], before)
    assert not after[:6, 6:].any()
    among_new = after[6:, 6:] - torch.diag(after[6:, 6:].diagonal())
    assert bool(among_new.any()) == transductive
    assert (after[6:].count_nonzero(1) == 3).all()


def test_an_item_without_content_is_zero(tiny_train: TrainView) -> None:
    new = some(new_features(), [0])
    empty = {
        name: Features(torch.zeros_like(one.values), torch.tensor([False]), one.kind, "none")
        for name, one in new.items()
    }
    for name, options in (*CONTENT[:4], ("freedom", {"k": 3}), ("lightgcn", {})):
        made = build(name, tiny_train, options).represent_items(empty)
        bias = 1 if name == "vbpr" else 0  # of its content, which is none
        assert not made[:, : made.shape[1] - bias].any(), name


@pytest.mark.parametrize("name", ["popularity", "itemknn"])
def test_models_without_learnt_vectors_refuse(name: str, tiny_train: TrainView) -> None:
    with pytest.raises(NotInductiveError, match="has no learnt vectors"):
        model_class(name)(tiny_train).represent_items(new_features())


def test_models_without_features_refuse() -> None:
    train = TrainView.from_arrays([0, 1], [0, 1], n_users=2, n_items=2)
    with pytest.raises(NotInductiveError, match="trained without features"):
        model_class("lightgcn")(train).represent_items(new_features())


def test_features_must_fit(tiny_train: TrainView) -> None:
    model = build("lightgcn", tiny_train, {})
    with pytest.raises(InputError, match=r"each modality .*\(image, text\), got image 4"):
        model.represent_items({"image": new_features()["image"]})
    wide = {**new_features(), "text": Features.from_tensor(torch.ones(N_NEW, 9))}
    with pytest.raises(InputError, match="rows of length 9 for 'text', trained on 4"):
        model.represent_items(wide)


def histories(train: TrainView) -> SeenItems:
    return SeenItems(*train.user_items)


def test_alpharec_places_a_known_user_where_it_was(tiny_train: TrainView) -> None:
    for layers in (0, 1, 2, 3):
        model = build("alpharec", tiny_train, {"layers": layers, "hidden": 5})
        made = model.represent_users(histories(tiny_train))
        torch.testing.assert_close(made, model.embeddings().users)


def test_a_user_is_the_mean_of_their_items(tiny_train: TrainView) -> None:
    model = build("lightgcn", tiny_train, {})
    items = model.embeddings().items
    shown = SeenItems.from_pairs(np.array([0, 0, 2]), np.array([1, 3, 4]), n_users=3)
    expected = torch.stack([(items[1] + items[3]) / 2, torch.zeros(4), items[4]])
    torch.testing.assert_close(model.represent_users(shown), expected)


def test_biases_of_vbpr_do_not_depend_on_the_user(tiny_train: TrainView) -> None:
    model = build("vbpr", tiny_train, {"item_bias": True})
    assert torch.equal(model.represent_users(histories(tiny_train))[:, -1], torch.ones(5))


@pytest.mark.parametrize("name", ["itemknn", "popularity", "contentknn"])
def test_baselines_rank_unseen_users_as_they_rank_known_ones(
    name: str, tiny_train: TrainView
) -> None:
    model = model_class(name)(tiny_train)
    users = torch.arange(5)
    ranker = model.rank_users(histories(tiny_train))
    assert torch.equal(ranker.topk(users, 6).items, model.topk(users, 6).items)


def test_new_users_of_itemknn_leave_the_model_alone(tiny_train: TrainView) -> None:
    model = model_class("itemknn")(tiny_train)
    before = model.score(torch.arange(5))
    model.rank_users(SeenItems.from_pairs(np.array([0]), np.array([1]), n_users=1))
    assert torch.equal(model.score(torch.arange(5)), before)


def test_the_mixed_graph_of_new_items_weighs_the_modalities_they_have(
    tiny_train: TrainView,
) -> None:
    view = tiny_train.with_items(some(new_features(), [N_NEW - 1]))
    mixed = mixed_knn_graph(view, {"image": 0.1, "text": 0.9}, k=3, norm="row").to_dense()[-1]
    image: Tensor = knn_graph(view, "image", k=3, norm="row").to_dense()[-1]
    torch.testing.assert_close(mixed, image)  # the item has no text
