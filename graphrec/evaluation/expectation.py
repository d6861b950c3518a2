"""What a random order reaches, exactly."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import gammaln

from graphrec.evaluation.metrics import PerUser
from modalities._base.errors import UnknownNameError

EXPECTED = ("recall", "precision", "ndcg", "hit_rate")


def random_expectation(
    candidates: ArrayLike,
    relevant: ArrayLike,
    metrics: Sequence[str] = EXPECTED,
    ks: Sequence[int] = (10, 20),
) -> PerUser:
    r"""Expected metrics of a uniformly random order of each user's candidates.

    With n candidates of which t are relevant, every place of the list holds a relevant item with
    probability t / n, so for k' = min(k, n)

    .. math::
        E[\text{recall}] = k'/n, \quad E[\text{precision}] = \frac{k'}{k} \frac{t}{n}, \quad
        E[\text{ndcg}] = \frac{t}{n} \, \frac{\sum_{j \le k'} 1/\log_2(j+1)}
        {\sum_{j \le \min(k,t)} 1/\log_2(j+1)}, \quad
        E[\text{hit rate}] = 1 - \binom{n-t}{k'} / \binom{n}{k'}

    Args:
        candidates: n of each user, int [users] or one for all.
        relevant: t of each user, at least 1 and at most n, int [users].
        metrics: of `EXPECTED`, in their standard forms.
        ks: cut-offs.

    Returns:
        By name, such as `recall@10`: float64 [users].

    Raises:
        UnknownNameError: a metric without a closed form here.

    Example:
        >>> random_expectation(100, [1, 2], ["recall", "hit_rate"], [10])
        {'recall@10': array([0.1, 0.1]), 'hit_rate@10': array([0.1       , 0.19090909])}
    """
    for name in metrics:
        if name not in EXPECTED:
            raise UnknownNameError("metric", name, EXPECTED)
    t = np.asarray(relevant, dtype=np.float64)
    n = np.broadcast_to(np.asarray(candidates, dtype=np.float64), t.shape)
    forms = {"recall": _recall, "precision": _precision, "ndcg": _ndcg, "hit_rate": _hit_rate}
    return {f"{name}@{k}": forms[name](n, t, k) for name in metrics for k in ks}


Numbers = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


def _recall(n: Numbers, t: Numbers, k: int) -> Numbers:
    return np.minimum(k, n) / n


def _precision(n: Numbers, t: Numbers, k: int) -> Numbers:
    return np.minimum(k, n) / k * t / n


def _ndcg(n: Numbers, t: Numbers, k: int) -> Numbers:
    gains = np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(2, k + 2)))])
    found, ideal = (gains[np.minimum(k, size).astype(int)] for size in (n, t))
    return np.asarray(t / n * found / ideal)


def _hit_rate(n: Numbers, t: Numbers, k: int) -> Numbers:
    taken = np.minimum(k, n)
    missed = n - t
    possible = missed >= taken
    low = np.where(possible, missed, taken)
    log = gammaln(low + 1) - gammaln(low - taken + 1) - gammaln(n + 1) + gammaln(n - taken + 1)
    return np.asarray(1 - np.where(possible, np.exp(log), 0.0))
