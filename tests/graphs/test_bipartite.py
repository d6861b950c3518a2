from __future__ import annotations

import numpy as np
import pytest
import torch

from graphrec.data.train_view import TrainView
from graphrec.graphs import DegreePruner, user_item_graph
from modalities._base.errors import InputError


def dense_normalised(
    users: list[int], items: list[int], n_users: int, n_items: int
) -> torch.Tensor:
    r = np.zeros((n_users, n_items))
    r[users, items] = 1
    a = np.block([[np.zeros((n_users, n_users)), r], [r.T, np.zeros((n_items, n_items))]])
    degree = a.sum(1)
    with np.errstate(divide="ignore"):
        scale = np.where(degree > 0, degree**-0.5, 0)
    return torch.from_numpy(scale[:, None] * a * scale).float()


def test_matches_dense_and_collapses_repeats(tiny_train: TrainView) -> None:
    graph = user_item_graph(tiny_train)
    users, items = tiny_train.users.tolist(), tiny_train.items.tolist()
    torch.testing.assert_close(graph.to_dense(), dense_normalised(users, items, 5, 6))
    assert graph.symmetric
    assert graph.n_edges == 2 * 11


def test_pruned_graph_keeps_the_share_and_renormalises(tiny_train: TrainView) -> None:
    pruner = DegreePruner(tiny_train, 0.5)
    graph = pruner.sample(torch.Generator().manual_seed(3))
    assert graph.n_edges == 2 * 5
    dense = graph.to_dense()
    users, items = dense[:5, 5:].nonzero(as_tuple=True)
    expected = dense_normalised(users.tolist(), items.tolist(), 5, 6)
    torch.testing.assert_close(dense, expected)


def test_pruning_draws_by_degree_without_replacement() -> None:
    users, items = [0, 0, 0, 1, 2], [0, 1, 2, 0, 3]
    train = TrainView.from_arrays(users, items, n_users=3, n_items=4)
    pruner = DegreePruner(train, 0.75)
    edge_users, edge_items = train.edges
    degree_u = np.bincount(edge_users, minlength=3)
    degree_i = np.bincount(edge_items, minlength=4)
    weight = 1 / np.sqrt(degree_u[edge_users] * degree_i[edge_items])
    counts = np.zeros(5)
    random = torch.Generator().manual_seed(0)
    for _ in range(3000):
        dense = pruner.sample(random).to_dense()[:3, 3:]
        u, i = dense.nonzero(as_tuple=True)
        assert len(u) == 1
        counts[int(((edge_users == u[0]) & (edge_items == i[0])).nonzero())] += 1
    np.testing.assert_allclose(counts / 3000, weight / weight.sum(), atol=0.03)


def test_same_generator_same_graph(tiny_train: TrainView) -> None:
    pruner = DegreePruner(tiny_train, 0.3)
    first, second = (pruner.sample(torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(first.to_dense(), second.to_dense())


@pytest.mark.parametrize("edges", [1, 2, 9, 10, 420, 1000])
def test_a_ratio_that_leaves_no_edge_is_refused_with_the_largest_that_does(edges: int) -> None:
    train = TrainView.from_arrays([0] * edges, range(edges), n_users=1, n_items=edges)
    with pytest.raises(InputError, match=f"leaves none of the {edges} edges") as error:
        DegreePruner(train, 0.9999)
    largest = float(str(error.value).rpartition(" ")[2])
    assert largest >= 1 - 1.1 / edges
    assert DegreePruner(train, largest).n_kept == 1


@pytest.mark.parametrize("ratio", [-0.1, 1.0])
def test_ratio_outside_its_range(tiny_train: TrainView, ratio: float) -> None:
    with pytest.raises(ValueError, match=r"in \[0, 1\)"):
        DegreePruner(tiny_train, ratio)
