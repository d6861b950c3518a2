from __future__ import annotations

import numpy as np
import pytest
import torch

from graphrec.data.train_view import Features, TrainView
from graphrec.graphs import (
    checked_modality_weights,
    cosine_neighbours,
    knn_graph,
    mixed_knn_graph,
)
from modalities._base.errors import InputError, UnknownNameError


def view(**modalities: Features) -> TrainView:
    n = len(next(iter(modalities.values())).values)
    return TrainView.from_arrays([0], [0], n_users=1, n_items=n, features=modalities)


def test_matches_brute_force() -> None:
    x = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
    neighbours, cosines = cosine_neighbours(x, k=5, block_size=7)
    unit = (x / x.norm(dim=1, keepdim=True)).double()
    dense = unit @ unit.T
    expected = dense.fill_diagonal_(2).sort(dim=1, descending=True, stable=True).indices[:, :5]
    assert torch.equal(neighbours, expected)
    assert torch.equal(neighbours[:, 0], torch.arange(40))
    torch.testing.assert_close(cosines[:, 0], torch.ones(40, dtype=torch.float64))


def test_block_size_does_not_change_the_graph_even_with_duplicates() -> None:
    x = torch.randn(12, 4, generator=torch.Generator().manual_seed(1)).repeat(9, 1)
    small, _ = cosine_neighbours(x, k=4, block_size=5)
    large, _ = cosine_neighbours(x, k=4, block_size=1000)
    assert torch.equal(small, large)


def test_duplicate_rows_do_not_become_hubs_under_the_hash() -> None:
    x = torch.ones(300, 4)
    hashed, _ = cosine_neighbours(x, k=6)
    by_index, _ = cosine_neighbours(x, k=6, ties="index")
    assert torch.bincount(hashed.flatten(), minlength=300).max() < 30
    assert torch.bincount(by_index.flatten(), minlength=300).max() >= 299
    assert torch.equal(by_index[10], torch.tensor([10, 0, 1, 2, 3, 4]))


def test_bad_rows_have_no_neighbours_and_are_nobodys() -> None:
    x = torch.randn(6, 3, generator=torch.Generator().manual_seed(2))
    x[1] = 0
    x[2, 0] = torch.nan
    present = torch.tensor([True, True, True, False, True, True])
    neighbours, cosines = cosine_neighbours(x, present, k=4)
    for bad in (1, 2, 3):
        assert (neighbours[bad] == -1).all()
        assert not (neighbours == bad).any()
    assert neighbours[0].tolist()[3] == -1
    assert torch.isfinite(cosines).all()


def test_without_self() -> None:
    x = torch.randn(8, 3, generator=torch.Generator().manual_seed(3))
    neighbours, _ = cosine_neighbours(x, k=3, include_self=False)
    assert not (neighbours == torch.arange(8).unsqueeze(1)).any()


def test_negative_cosines_still_count_as_neighbours() -> None:
    neighbours, cosines = cosine_neighbours(torch.tensor([[1.0, 0], [-1, 0.1]]), k=2)
    assert neighbours.tolist() == [[0, 1], [1, 0]]
    assert cosines[0, 1] < 0


def test_rowdeg_both_makes_every_edge_one_kth() -> None:
    x = torch.randn(30, 4, generator=torch.Generator().manual_seed(4))
    graph = knn_graph(view(text=Features.from_tensor(x)), "text", k=5)
    torch.testing.assert_close(graph.values, torch.full((150,), 0.2))


def test_cosine_weights_against_loops() -> None:
    x = torch.rand(9, 4, generator=torch.Generator().manual_seed(5))
    graph = knn_graph(view(text=Features.from_tensor(x)), "text", k=3, weights="cosine")
    neighbours, cosines = cosine_neighbours(x, k=3)
    degree = cosines.sum(1)
    dense = torch.zeros(9, 9, dtype=torch.float64)
    for i in range(9):
        for j, w in zip(neighbours[i], cosines[i], strict=True):
            dense[i, j] = w / torch.sqrt(degree[i] * degree[j])
    torch.testing.assert_close(graph.to_dense().double(), dense, rtol=1e-6, atol=1e-7)


def test_symmetric_norm_uses_column_degrees() -> None:
    x = torch.rand(9, 4, generator=torch.Generator().manual_seed(6))
    graph = knn_graph(view(text=Features.from_tensor(x)), "text", k=3, norm="symmetric")
    neighbours, _ = cosine_neighbours(x, k=3)
    incoming = torch.bincount(neighbours.flatten(), minlength=9)
    i, j = 0, int(neighbours[0, 1])
    assert graph.to_dense()[i, j] == pytest.approx(1 / np.sqrt(3 * int(incoming[j])))


def test_mixture_is_the_weighted_sum_where_all_are_present() -> None:
    a, b = (torch.randn(20, 4, generator=torch.Generator().manual_seed(s)) for s in (7, 8))
    both = view(image=Features.from_tensor(a, "image"), text=Features.from_tensor(b, "text"))
    mixed = mixed_knn_graph(both, {"image": 0.1, "text": 0.9}, k=4).to_dense()
    parts = [knn_graph(both, name, k=4).to_dense() for name in ("image", "text")]
    torch.testing.assert_close(mixed, 0.1 * parts[0] + 0.9 * parts[1])
    torch.testing.assert_close(mixed.sum(1), torch.ones(20))


def test_mixture_renormalises_over_present_modalities() -> None:
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(9))
    here = torch.tensor([True, True, True, True, False])
    image = Features(x, here, "image", "a")
    text = Features(x.flip(1), torch.tensor([False, True, True, True, False]), "text", "b")
    both = view(image=image, text=text)
    mixed = mixed_knn_graph(both, {"image": 0.1, "text": 0.9}, k=2).to_dense()
    torch.testing.assert_close(mixed[0], knn_graph(both, "image", k=2).to_dense()[0])
    assert mixed[4].abs().sum() == 0
    torch.testing.assert_close(mixed.sum(1), torch.tensor([1.0, 1, 1, 1, 0]))


def test_weights_for_an_unused_modality_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'text'"):
        checked_modality_weights({"txt": 1.0}, ["text"], {"text": "text"})


def test_k_below_one() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        cosine_neighbours(torch.ones(2, 2), k=0)


@pytest.mark.parametrize(
    "weights", [{"image": value} for value in (-1.0, 0.0, float("nan"), 1e-320, 1e308)]
)
def test_weights_that_mean_nothing_are_refused(weights: dict[str, float]) -> None:
    with pytest.raises(InputError, match="modality weights must be 0 or more"):
        checked_modality_weights(weights, ["image", "text"], {"image": "image", "text": "text"})
