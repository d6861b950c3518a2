"""Closed forms of a random order against all orders."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch

from graphrec.evaluation.expectation import EXPECTED, random_expectation
from graphrec.evaluation.metrics import compute_metrics
from modalities._base.errors import UnknownNameError


@pytest.mark.parametrize("n", [3, 5])
@pytest.mark.parametrize("t", [1, 2, 3])
@pytest.mark.parametrize("k", [1, 2, 4, 9])
def test_expectation_is_the_mean_over_all_orders(n: int, t: int, k: int) -> None:
    orders = torch.tensor(list(permutations(range(n))))
    indptr = np.arange(len(orders) + 1) * t
    relevant = np.tile(np.arange(t), len(orders))
    found = compute_metrics(orders, indptr, relevant, EXPECTED, [k])
    expected = random_expectation(n, [t], EXPECTED, [k])
    for name, values in expected.items():
        np.testing.assert_allclose(values, [found[name].mean()], atol=1e-12)


def test_large_catalogues_do_not_overflow() -> None:
    values = random_expectation(1_000_000, [50], ["hit_rate"], [20])["hit_rate@20"]
    np.testing.assert_allclose(values, 1 - (1 - 50 / 1e6) ** 20, rtol=1e-3)


def test_candidates_may_differ_by_user() -> None:
    values = random_expectation([10, 100], [1, 1], ["recall"], [10])["recall@10"]
    np.testing.assert_allclose(values, [1.0, 0.1])


def test_unknown_metric() -> None:
    with pytest.raises(UnknownNameError, match="recall"):
        random_expectation(10, [1], ["recal"])
