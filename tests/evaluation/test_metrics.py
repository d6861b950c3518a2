from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from graphrec.evaluation.metrics import METRICS, compute_metrics, find_hits
from modalities._base.errors import UnknownNameError

KS = (1, 5, 10, 20, 50)
N_ITEMS = 120


class Case:
    """Random lists of 50 of 120 items, and 1 to 60 relevant items per user."""

    def __init__(self, seed: int, n_users: int = 80, length: int = 50) -> None:
        random = np.random.default_rng(seed)
        self.ranked = np.stack([random.permutation(N_ITEMS)[:length] for _ in range(n_users)])
        sizes = random.choice([1, 1, 2, 3, 8, 60], n_users)
        self.relevant = [random.permutation(N_ITEMS)[:size].tolist() for size in sizes]
        self.indptr = np.concatenate([[0], np.cumsum(sizes)])
        self.items = np.concatenate(self.relevant)

    def compute(self, *names: str, **options: Any) -> dict[str, NDArray[np.float64]]:
        return compute_metrics(self.ranked, self.indptr, self.items, names, KS, **options)


def test_hits_match_a_loop() -> None:
    case = Case(0)
    hits = find_hits(case.ranked, case.indptr, case.items)
    for row, relevant in enumerate(case.relevant):
        for place, item in enumerate(case.ranked[row]):
            assert hits[row, place] == (item in relevant)
    from_tensor = find_hits(torch.from_numpy(case.ranked), case.indptr, case.items)
    np.testing.assert_array_equal(hits, from_tensor)


def test_missing_places_never_hit() -> None:
    ranked = np.array([[0, -1, -1], [2, -1, -1], [-1, -1, -1]])
    relevant = np.array([0, 1, 0, 2])
    hits = find_hits(ranked, np.array([0, 2, 3, 4]), relevant)
    assert hits.tolist() == [[True, False, False], [False] * 3, [False] * 3]


@pytest.mark.parametrize(
    ("ours", "theirs", "options"),
    [
        ("recall", "recall", {}),
        ("ndcg", "ndcg", {}),
        ("precision", "precision", {}),
        ("hit_rate", "hit_rate", {}),
        ("mrr", "mrr", {}),
        ("map", "map", {"map_denominator": "relevant"}),
    ],
)
def test_agrees_with_ranx(ours: str, theirs: str, options: dict[str, Any]) -> None:
    ranx = pytest.importorskip("ranx")
    case = Case(1)
    wanted = {
        f"u{user}": {f"i{item}": 1 for item in items} for user, items in enumerate(case.relevant)
    }
    lists = {
        f"u{user}": {f"i{item}": 100.0 - place for place, item in enumerate(row)}
        for user, row in enumerate(case.ranked.tolist())
    }
    qrels, run = ranx.Qrels(wanted), ranx.Run(lists)
    values = case.compute(ours, **options)
    for k in KS:
        name = f"{theirs}@{k}"
        mean = ranx.evaluate(qrels, run, name)
        assert values[f"{ours}@{k}"].mean() == pytest.approx(float(mean), abs=1e-6)
        for user in range(len(case.relevant)):
            own = values[f"{ours}@{k}"][user]
            assert own == pytest.approx(run.scores[name][f"u{user}"], abs=1e-6)


def test_variants_match_brute_force() -> None:
    case = Case(2)
    recalls = case.compute("recall", recall_denominator="min")
    maps = case.compute("map", map_denominator="min")
    ndcgs = case.compute("ndcg", ndcg_ideal="retrieved")
    for user, relevant in enumerate(case.relevant):
        hits = [item in relevant for item in case.ranked[user].tolist()]
        for k in KS:
            found = sum(hits[:k])
            size = min(k, len(relevant))
            assert recalls[f"recall@{k}"][user] == pytest.approx(found / size)
            gains = sum(sum(hits[: j + 1]) / (j + 1) for j in range(k) if hits[j])
            assert maps[f"map@{k}"][user] == pytest.approx(gains / size)
            best_first = sorted(hits, reverse=True)
            ideal = sum(1 / math.log2(j + 2) for j in range(k) if best_first[j])
            gained = sum(1 / math.log2(j + 2) for j in range(k) if hits[j])
            expected = gained / ideal if ideal else 0.0
            assert ndcgs[f"ndcg@{k}"][user] == pytest.approx(expected)


def test_published_example_of_the_two_ideals() -> None:
    ranked, relevant = np.array([[9, 8, 0]]), np.array([0, 1])
    indptr = np.array([0, 2])
    standard = compute_metrics(ranked, indptr, relevant, ["ndcg"], [3])
    other = compute_metrics(ranked, indptr, relevant, ["ndcg"], [3], ndcg_ideal="retrieved")
    assert round(standard["ndcg@3"][0], 3) == 0.307
    assert other["ndcg@3"][0] == 0.5


def test_a_perfect_list_scores_one() -> None:
    ranked = np.array([[4, 2, 7]])
    values = compute_metrics(ranked, np.array([0, 3]), np.array([2, 4, 7]), tuple(METRICS), [3])
    assert {name: value.tolist() for name, value in values.items()} == {
        f"{name}@3": [1.0] for name in METRICS
    }


def test_lists_shorter_than_the_cut_off() -> None:
    values = compute_metrics(np.array([[3, 1]]), np.array([0, 2]), np.array([1, 5]), ks=[10])
    assert values["precision@10"].tolist() == [0.1]
    assert values["recall@10"].tolist() == [0.5]
    assert values["mrr@10"].tolist() == [0.5]
    assert values["map@10"].tolist() == [0.25]
    ideal = 1 + 1 / math.log2(3)
    assert values["ndcg@10"][0] == pytest.approx(1 / math.log2(3) / ideal)


def test_users_without_relevant_items_have_zero() -> None:
    values = compute_metrics(np.array([[3, 1], [1, 3]]), np.array([0, 0, 1]), np.array([1]), ks=[2])
    assert all(value[0] == 0 for value in values.values())
    assert values["recall@2"][1] == 1


def test_names_are_in_order_and_values_double() -> None:
    values = Case(3).compute("mrr", "recall")
    assert list(values) == [f"{name}@{k}" for name in ("mrr", "recall") for k in KS]
    assert all(value.dtype == np.float64 for value in values.values())


def test_unknown_metric() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'recall'"):
        Case(4).compute("recal")
