from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from graphrec.evaluation.evaluate import EvaluationOptions, evaluate, seen_items
from graphrec.evaluation.held_out import HeldOut, held_out_valid
from graphrec.evaluation.test_split import open_test
from graphrec.nn.ranking import SeenItems, TopK, VectorRanker
from modalities._base.errors import InputError, UnknownNameError


@dataclass(frozen=True)
class Table:
    users: NDArray[np.int32]
    items: NDArray[np.int32]


@dataclass(frozen=True)
class Stub:
    interactions: Table
    split: Stub.Labels
    n_users: int
    n_items: int
    data_id: str = "data"
    split_id: str = "split"

    @dataclass(frozen=True)
    class Labels:
        labels: NDArray[np.int8]


def stub(triples: list[tuple[int, int, int]], n_users: int, n_items: int) -> Stub:
    users, items, labels = np.array(triples).T
    table = Table(users.astype(np.int32), items.astype(np.int32))
    return Stub(table, Stub.Labels(labels.astype(np.int8)), n_users, n_items)


def random_stub(seed: int, n_users: int = 60, n_items: int = 90) -> Stub:
    random = np.random.default_rng(seed)
    triples = []
    for user in range(n_users):
        chosen = random.permutation(n_items)[: random.integers(1, 20)].tolist()
        triples += [(user, item, int(random.choice([-1, 0, 0, 0, 1, 2]))) for item in chosen]
    random.shuffle(triples)
    return stub(triples, n_users, n_items)


def brute_force(
    data: Stub, scores: Tensor, label: int, masked: set[int], k: int
) -> dict[int, float]:
    """Recall by user, in plain Python."""
    mine: dict[int, dict[int, set[int]]] = {}
    columns = data.interactions.users, data.interactions.items, data.split.labels
    for user, item, part in zip(*(column.tolist() for column in columns), strict=True):
        mine.setdefault(user, {}).setdefault(part, set()).add(item)
    found = {}
    for user, parts in sorted(mine.items()):
        if not (parts.get(label) and parts.get(0)):
            continue
        hidden = set().union(*(parts.get(part, set()) for part in masked))
        left = [item for item in range(data.n_items) if item not in hidden]
        order = sorted(left, key=lambda item: (-float(scores[user, item]), item))
        found[user] = len(set(order[:k]) & parts[label]) / len(parts[label])
    return found


def ranker_for(data: Stub) -> tuple[VectorRanker, Tensor]:
    generator = torch.Generator().manual_seed(0)
    ranker = VectorRanker(
        torch.randn(data.n_users, 8, generator=generator),
        torch.randn(data.n_items, 8, generator=generator),
    )
    return ranker, ranker.users @ ranker.items.T


@pytest.mark.parametrize("part", ["valid", "test"])
@pytest.mark.parametrize("mask", ["train", "train+valid"])
def test_recall_matches_brute_force(part: str, mask: str) -> None:
    data = random_stub(1)
    ranker, scores = ranker_for(data)
    held_out = held_out_valid(data) if part == "valid" else open_test(data, None, reason="a test")
    options = EvaluationOptions(metrics=["recall"], ks=[10], mask=mask)  # type: ignore[arg-type]
    result = evaluate(ranker, data, held_out, options)
    masked = {0, 1} if (part, mask) == ("test", "train+valid") else {0}
    expected = brute_force(data, scores, 1 if part == "valid" else 2, masked, 10)
    assert result.users.tolist() == list(expected)
    np.testing.assert_allclose(result.per_user["recall@10"], list(expected.values()))
    assert result.metrics["recall@10"] == pytest.approx(np.mean(list(expected.values())))
    assert result.topk.items.shape == (len(expected), 10)


def test_masks_differ_for_test_only() -> None:
    data = random_stub(2)
    for part, differ in (("valid", False), ("test", True)):
        first, second = (seen_items(data, part, m) for m in ("train", "train+valid"))  # type: ignore[arg-type]
        assert (len(first.indices) != len(second.indices)) == differ


def test_held_out_is_distinct_sorted_and_drops_users_without_training() -> None:
    triples = [
        (3, 5, 1),
        (3, 2, 1),
        (3, 5, 1),
        (3, 0, 0),
        (1, 4, 1),
        (0, 1, 0),
        (2, 1, 0),
        (2, 9, 1),
    ]
    held_out = held_out_valid(stub(triples, n_users=5, n_items=10))
    assert held_out.part == "valid"
    assert held_out.users.tolist() == [2, 3]
    assert held_out.indptr.tolist() == [0, 1, 3]
    assert held_out.items.tolist() == [9, 2, 5]
    assert held_out.n_dropped == 1
    assert held_out.users.dtype == held_out.items.dtype == np.int64


def test_all_metrics_by_hand() -> None:
    data = stub([(0, 0, 0), (0, 3, 1), (0, 1, 2)], n_users=1, n_items=5)

    class Fixed:
        def topk(self, users: Tensor, k: int, exclude: SeenItems | None = None) -> TopK:
            assert exclude is not None
            assert exclude.indices.tolist() == [0]
            return TopK(torch.tensor([[4, 3, 2]]), torch.tensor([[3.0, 2.0, 1.0]]))

    result = evaluate(Fixed(), data, held_out_valid(data), EvaluationOptions(ks=[2]))
    assert result.n_users == 1
    expected = {"recall": 1, "ndcg": 1 / np.log2(3), "precision": 0.5, "map": 0.5, "hit_rate": 1}
    assert result.metrics == pytest.approx(
        {f"{n}@2": v for n, v in {**expected, "mrr": 0.5}.items()}
    )


def test_more_places_than_items() -> None:
    data = random_stub(3, n_users=20, n_items=25)
    ranker, _ = ranker_for(data)
    result = evaluate(ranker, data, held_out_valid(data), EvaluationOptions(ks=[5, 50]))
    assert result.topk.items.shape[1] == 25
    assert (result.topk.items == -1).any()
    assert (result.per_user["recall@50"] == 1).all()


def test_nobody_to_measure() -> None:
    data = stub([(0, 0, 0), (1, 1, 1)], n_users=2, n_items=2)
    held_out = held_out_valid(data)
    assert isinstance(held_out, HeldOut)
    with pytest.raises(InputError, match="no user has both training and valid"):
        evaluate(ranker_for(data)[0], data, held_out)


def test_options_are_checked() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'ndcg'"):
        EvaluationOptions(metrics=["ndgc"])
    with pytest.raises(InputError, match="at least 1"):
        EvaluationOptions(ks=[0, 5])
    with pytest.raises(InputError, match="at least one metric"):
        EvaluationOptions(metrics=[])
    with pytest.raises(UnknownNameError, match="mask"):
        EvaluationOptions(mask="valid")  # type: ignore[arg-type]
    assert EvaluationOptions(ks=[5]) == EvaluationOptions(ks=(5,))
