from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from graphrec.data.train_view import Features, TrainView
from graphrec.graphs import Graph, knn_graph, user_item_graph
from modalities._base.errors import UnknownNameError


def test_edges_are_distinct_and_ordered(tiny_train: TrainView) -> None:
    users, items = tiny_train.edges
    pairs = list(zip(users.tolist(), items.tolist(), strict=True))
    every = set(zip(tiny_train.users.tolist(), tiny_train.items.tolist(), strict=True))
    assert pairs == sorted(every)
    indptr, owned = tiny_train.user_items
    assert owned[indptr[0] : indptr[1]].tolist() == [0, 1, 2]
    assert tiny_train.warm_items.tolist() == [True] * 5 + [False]
    assert tiny_train.item_counts.tolist() == [2, 3, 3, 2, 2, 0]


def test_histories_follow_time_and_ties_keep_file_order() -> None:
    view = TrainView.from_arrays(
        [0, 1, 0, 0], [5, 1, 3, 4], n_users=2, n_items=6, timestamps=[9, 1, 2, 9]
    )
    indptr, items = view.items_by_time
    assert indptr.tolist() == [0, 3, 4]
    assert items.tolist() == [3, 5, 4, 1]


def test_choosing_modalities_keeps_their_order(tiny_train: TrainView) -> None:
    assert list(tiny_train.using(["text", "image"]).features) == ["text", "image"]
    with pytest.raises(UnknownNameError, match="did you mean 'text'"):
        tiny_train.using(["txt"])
    with pytest.raises(UnknownNameError, match="unknown modality 'image'"):
        tiny_train.using(["text"]).features["image"]


def test_graphs_are_remembered_by_builder_and_arguments(tiny_train: TrainView) -> None:
    first = tiny_train.graph(knn_graph, "text", k=2)
    assert tiny_train.graph(knn_graph, "text", k=2) is first
    assert tiny_train.graph(knn_graph, "text", k=3) is not first
    assert tiny_train.graph(user_item_graph) is tiny_train.graph(user_item_graph)


def test_the_cache_on_disk_knows_its_inputs(tiny_train: TrainView, tmp_path: Path) -> None:
    def fresh(**changes: object) -> TrainView:
        return replace(tiny_train, cache=tmp_path, _graphs={}, **changes)  # type: ignore[arg-type]

    original = fresh().graph(knn_graph, "text", k=2)
    files = list(tmp_path.glob("*.safetensors"))
    assert len(files) == 1
    again = fresh().graph(knn_graph, "text", k=2)
    assert torch.equal(original.to_dense(), again.to_dense())
    assert list(tmp_path.glob("*.safetensors")) == files

    other = Features(torch.randn(6, 4), torch.ones(6, dtype=torch.bool), "text", "another encoder")
    swapped = fresh(features={"text": other}).graph(knn_graph, "text", k=2)
    assert not torch.equal(original.to_dense(), swapped.to_dense())
    assert len(list(tmp_path.glob("*.safetensors"))) == 2

    fresh(id="another split").graph(knn_graph, "text", k=2)
    assert len(list(tmp_path.glob("*.safetensors"))) == 2, (
        "a kNN graph does not depend on the split"
    )
    fresh(id="another split").graph(user_item_graph)
    fresh().graph(user_item_graph)
    assert len(list(tmp_path.glob("*.safetensors"))) == 4


def test_moving_keeps_features_and_ids(tiny_train: TrainView) -> None:
    moved = tiny_train.to("cpu")
    assert moved is tiny_train
    assert isinstance(tiny_train.graph(user_item_graph).to("cpu"), Graph)


def test_a_damaged_or_unwritable_cache_only_costs_time(
    tiny_train: TrainView, tmp_path: Path
) -> None:
    expected = tiny_train.graph(knn_graph, "text", k=2).to_dense()
    cached = replace(tiny_train, cache=tmp_path / "cache", _graphs={})
    cached.graph(knn_graph, "text", k=2)
    file = next((tmp_path / "cache").glob("*.safetensors"))
    file.write_bytes(b"damaged")
    again = replace(cached, _graphs={}).graph(knn_graph, "text", k=2)
    assert torch.equal(again.to_dense(), expected)
    assert file.stat().st_size > 100

    (tmp_path / "a file").write_text("in the way")
    blocked = replace(tiny_train, cache=tmp_path / "a file" / "cache", _graphs={})
    assert torch.equal(blocked.graph(knn_graph, "text", k=2).to_dense(), expected)
