from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from graphrec.data.train_view import TrainView
from graphrec.graphs import cooccurrence_graph, knn_graph, mix_graphs, mixed_item_graph
from graphrec.graphs.cooccurrence import cooccurring_items
from graphrec.graphs.graph import Graph
from modalities._base.errors import InputError
from tests.graphs.test_hypergraph import interactions

MEASURES = {
    "count": lambda c, own, users: c,
    "ochiai": lambda c, own, users: c / np.sqrt(own[:, None] * own),
    "pmi": lambda c, own, users: np.log(users * c / (own[:, None] * own)),
}


def dense(train: TrainView, k: int, measure: str) -> Any:
    """Every pair weighed, then the best k of each row, in NumPy."""
    r = interactions(train)
    own = r.sum(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        weight = np.nan_to_num(MEASURES[measure](r.T @ r, own, float(r.any(1).sum())), neginf=0)
    np.fill_diagonal(weight, 0)
    weight[weight < 0] = 0
    kept = np.zeros_like(weight)
    for row, values in enumerate(weight):
        best = np.lexsort((np.arange(len(values)), -values))[:k]
        kept[row, best] = values[best]
    return kept


@pytest.mark.parametrize("k", [1, 2, 6])
@pytest.mark.parametrize("measure", list(MEASURES))
def test_weights_match_numpy(tiny_train: TrainView, measure: Any, k: int) -> None:
    graph = cooccurrence_graph(tiny_train, k=k, measure=measure, norm="none")
    np.testing.assert_allclose(graph.to_dense(), dense(tiny_train, k, measure), rtol=1e-6)


def test_rows_can_sum_to_one_and_a_cold_item_has_none(tiny_train: TrainView) -> None:
    sums = cooccurrence_graph(tiny_train, k=2, norm="row").to_dense().sum(1)
    np.testing.assert_allclose(sums, [1, 1, 1, 1, 1, 0], rtol=1e-6)


def test_blocks_of_rows_make_no_difference(
    tiny_train: TrainView, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = cooccurring_items(tiny_train, 2, lambda both, one, other: both).toarray()
    monkeypatch.setattr("graphrec.graphs.cooccurrence._ROWS", 2)
    parts = cooccurring_items(tiny_train, 2, lambda both, one, other: both).toarray()
    np.testing.assert_array_equal(whole, parts)


def test_mixtures(tiny_train: TrainView) -> None:
    text = knn_graph(tiny_train, "text", k=3).to_dense().numpy()
    shared = cooccurrence_graph(tiny_train, k=3, norm="row").to_dense().numpy()
    made = {
        how: mixed_item_graph(tiny_train, {"text": 1.0}, k=3, how=how, share=0.3).to_dense()
        for how in ("convex", "max", "union")
    }
    alone = {4: shared, 5: text}  # item 4 has no text, item 5 no users
    convex = 0.7 * text + 0.3 * shared
    for item, kept in alone.items():
        convex[item] = kept[item]
    np.testing.assert_allclose(made["convex"], convex, rtol=1e-5)
    np.testing.assert_allclose(made["convex"].sum(1), 1, rtol=1e-5)
    np.testing.assert_allclose(made["max"], np.maximum(text, shared), rtol=1e-5)
    either = ((text != 0) | (shared != 0)).astype(float)
    totals = np.maximum(either.sum(1, keepdims=True), 1)
    np.testing.assert_allclose(made["union"], either / totals, rtol=1e-5)


def test_what_cannot_be_mixed_is_refused(tiny_train: TrainView) -> None:
    one = Graph.from_scipy(sp.csr_array(np.eye(2)))
    with pytest.raises(ValueError, match="cannot be mixed"):
        mix_graphs(one, Graph.from_scipy(sp.csr_array(np.eye(3))))
    with pytest.raises(ValueError, match="share"):
        mix_graphs(one, one, share=1.5)
    builds: list[Callable[[], Graph]] = [
        lambda: cooccurrence_graph(tiny_train, k=7),
        lambda: knn_graph(tiny_train, "text", k=7),
        lambda: mixed_item_graph(tiny_train, {"text": 1.0}, k=7),
    ]
    for build in builds:
        with pytest.raises(InputError, match=r"k=7 neighbours .* choose k from 1 to 6"):
            build()
