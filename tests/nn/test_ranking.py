from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from graphrec.nn.ranking import (
    SeenItems,
    TopK,
    VectorRanker,
    rank,
    rank_vectors,
    topk_scores,
)


def full_sort(scores: Tensor, k: int) -> TopK:
    """The definition: stable descending sort of the whole row, -inf left out."""
    values, items = scores.sort(dim=1, descending=True, stable=True)
    values, items = values[:, :k], items[:, :k]
    return TopK(items.masked_fill(values == -torch.inf, -1), values.float())


def assert_equal(got: TopK, expected: TopK) -> None:
    assert got.items.dtype == torch.int64
    assert got.scores.dtype == torch.float32
    torch.testing.assert_close(got.items, expected.items, rtol=0, atol=0)
    torch.testing.assert_close(got.scores, expected.scores, rtol=0, atol=0)


def awkward_scores(rows: int, columns: int, random: np.random.Generator) -> Tensor:
    """Rows from continuous to constant, with masked columns, +inf and both zeros."""
    levels = random.choice([1, 2, 3, 10, 100, 10**6], size=(rows, 1))
    scores = np.floor(random.random((rows, columns)) * levels) / levels - 0.25
    scores[random.random((rows, columns)) < random.choice([0, 0.2, 0.99], size=(rows, 1))] = -np.inf
    scores[random.random((rows, columns)) < 0.01] = -0.0
    scores[random.random((rows, columns)) < random.choice([0, 0.01], size=(rows, 1))] = np.inf
    return torch.from_numpy(scores.astype(np.float32))


@pytest.mark.parametrize("columns", [1, 7, 63, 1000, 4099, 18_357])
def test_topk_equals_full_sort_on_awkward_scores(columns: int) -> None:
    random = np.random.default_rng(columns)
    for k in (1, 3, 20, 50, columns, columns + 5):
        if k > 5000:
            continue
        scores = awkward_scores(70, columns, random)
        assert_equal(topk_scores(scores, k), full_sort(scores, k))


def test_topk_random_shapes() -> None:
    random = np.random.default_rng(0)
    for _ in range(150):
        rows, columns = int(random.integers(1, 200)), int(random.integers(1, 3000))
        scores = awkward_scores(rows, columns, random)
        k = int(random.integers(1, columns + 3))
        assert_equal(topk_scores(scores, k), full_sort(scores, k))


@pytest.mark.parametrize("value", [0.0, 1.0, torch.inf, -torch.inf])
def test_constant_rows_give_the_lowest_indices(value: float) -> None:
    best = topk_scores(torch.full((130, 2000), value), 20)
    expected = torch.full((20,), -1) if value == -torch.inf else torch.arange(20)
    assert (best.items == expected).all()


def test_ties_at_the_boundary_by_hand() -> None:
    scores = torch.tensor([[1.0, 2.0, 3.0, 2.0, 2.0], [0.0, -torch.inf, -torch.inf, 0.0, 0.0]])
    best = topk_scores(scores, 3)
    assert best.items.tolist() == [[2, 1, 3], [0, 3, 4]]
    assert topk_scores(scores, 5).items.tolist() == [[2, 1, 3, 4, 0], [0, 3, 4, -1, -1]]


def test_scores_are_left_as_they_were() -> None:
    scores = awkward_scores(80, 4000, np.random.default_rng(1))
    before = scores.clone()
    topk_scores(scores, 50)
    assert torch.equal(scores, before)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_topk_of_other_types(dtype: torch.dtype) -> None:
    scores = torch.randn(90, 3000, generator=torch.Generator().manual_seed(0)).to(dtype)
    assert_equal(topk_scores(scores, 20), full_sort(scores, 20))


def test_nan_is_refused_with_its_count() -> None:
    scores = torch.zeros(3, 1000)
    scores[1, [5, 700]] = torch.nan
    with pytest.raises(ValueError, match="2 of 3,000 scores"):
        topk_scores(scores, 10)


def test_mask_matches_a_loop() -> None:
    random = np.random.default_rng(3)
    users, items = random.integers(0, 40, 300), random.integers(0, 25, 300)
    seen = SeenItems.from_pairs(users, items, n_users=50)
    asked = torch.from_numpy(random.integers(0, 50, 64))
    scores = torch.from_numpy(random.random((64, 25)))
    expected = scores.clone()
    pairs = set(zip(users.tolist(), items.tolist(), strict=True))
    for row, user in enumerate(asked.tolist()):
        for item in range(25):
            if (user, item) in pairs:
                expected[row, item] = -torch.inf
    masked = seen.mask_(scores, asked)
    assert masked is scores
    assert torch.equal(scores, expected)
    assert (expected == -torch.inf).any()


def test_mask_without_anything_seen() -> None:
    none = np.empty(0, np.int64)
    seen = SeenItems.from_pairs(none, none, n_users=3)
    assert torch.equal(seen.mask_(torch.ones(2, 4), torch.tensor([0, 2])), torch.ones(2, 4))


def vectors(n_users: int, n_items: int) -> tuple[Tensor, Tensor, SeenItems]:
    generator = torch.Generator().manual_seed(5)
    users = torch.randn(n_users, 16, generator=generator)
    items = torch.randn(n_items, 16, generator=generator)
    half = n_items // 2
    items[half : 2 * half] = items[:half]  # twins: their scores are equal
    random = np.random.default_rng(5)
    seen = random.integers(0, n_users, 5 * n_users), random.integers(0, n_items, 5 * n_users)
    return users, items, SeenItems.from_pairs(*seen, n_users)


def test_rank_vectors_equals_matmul_and_full_sort() -> None:
    users, items, seen = vectors(700, 3001)
    asked = torch.randperm(700, generator=torch.Generator().manual_seed(0))[:500]
    expected = full_sort(seen.mask_(users[asked] @ items.T, asked), 20)
    for block_size in (None, 64, 100, 1000):
        got = rank_vectors(users, items, asked, 20, seen, block_size=block_size)
        assert_equal(got, expected)
    unmasked = rank_vectors(users, items, asked, 20)
    assert_equal(unmasked, full_sort(users[asked] @ items.T, 20))


def test_ranking_one_user_alone_changes_nothing() -> None:
    users, items, seen = vectors(300, 2000)
    together = rank_vectors(users, items, torch.arange(300), 10, seen)
    for user in (0, 17, 299):
        alone = rank_vectors(users, items, torch.tensor([user]), 10, seen)
        assert torch.equal(alone.items[0], together.items[user])
        assert torch.equal(alone.scores[0], together.scores[user])


def test_rank_joins_the_blocks_of_any_ranker() -> None:
    users, items, seen = vectors(300, 500)
    asked = torch.arange(0, 300, 2)
    sizes = []

    class Slow:
        def topk(self, users_: Tensor, k: int, exclude: SeenItems | None = None) -> TopK:
            sizes.append(len(users_))
            scores = users[users_] @ items.T
            return full_sort(scores if exclude is None else exclude.mask_(scores, users_), k)

    got = rank(Slow(), asked, 7, seen, block_size=64)
    assert sizes == [64, 64, 22]
    assert_equal(got, rank(VectorRanker(users, items), asked, 7, seen))


def test_no_users() -> None:
    users, items, seen = vectors(5, 30)
    empty = torch.empty(0, dtype=torch.long)
    assert rank(VectorRanker(users, items), empty, 3, seen).items.shape == (0, 3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_topk_on_a_gpu() -> None:
    scores = awkward_scores(300, 18_357, np.random.default_rng(9))
    got = topk_scores(scores.cuda(), 50)
    assert_equal(TopK(got.items.cpu(), got.scores.cpu()), full_sort(scores, 50))


def test_real_size_ties(real_data: Path) -> None:
    table = np.loadtxt(real_data / "sports" / "sports.inter", skiprows=1, dtype=np.int64)
    train = table[table[:, 2] == 0]
    n_users, n_items = table[:, 0].max() + 1, table[:, 1].max() + 1
    counts = torch.from_numpy(np.bincount(train[:, 1], minlength=n_items)).float()
    seen = SeenItems.from_pairs(train[:, 0], train[:, 1], n_users)
    asked = torch.arange(0, n_users, 100)
    expected = full_sort(seen.mask_(counts.repeat(len(asked), 1), asked), 50)
    ranker = VectorRanker(torch.ones(n_users, 1), counts.unsqueeze(1))
    assert_equal(rank(ranker, asked, 50, seen), expected)
