r"""Ranking metrics, one value per user.

Notation: hit_j is 1 when rank j holds a relevant item, T the number of relevant items, k the
cut-off. Functions take `hits` (bool [B, K], the whole ranked list, K >= k or as many items as
there are) and `n_relevant` (int [B]), and return float64 [B]; a user without relevant items has 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modalities._base.errors import UnknownNameError

PerUser = dict[str, NDArray[np.float64]]
"""Metric name, such as `recall@20`, to one value per user."""

NdcgIdeal = Literal["truncated", "retrieved"]
RecallDenominator = Literal["full", "min"]
MapDenominator = Literal["min", "relevant"]

Hits = NDArray[np.bool_]
Counts = NDArray[np.int64]
Values = NDArray[np.float64]


def recall(
    hits: Hits, n_relevant: Counts, k: int, *, recall_denominator: RecallDenominator = "full"
) -> Values:
    r"""Recall: the share of relevant items found, :math:`\sum_{j \le k} hit_j / T`.

    Args:
        hits: bool [B, K].
        n_relevant: int [B].
        k: cut-off.
        recall_denominator: `full`: T; `min`: min(k, T), as in DGVAE (2024, arXiv 2402.16110).

    Example:
        >>> recall(np.array([[True, False, True]]), np.array([4]), 3)
        array([0.5])
        >>> recall(np.array([[True, False]]), np.array([4]), 2, recall_denominator="min")
        array([0.5])
    """
    total = np.minimum(n_relevant, k) if recall_denominator == "min" else n_relevant
    return _ratio(hits[:, :k].sum(1), total)


def ndcg(hits: Hits, n_relevant: Counts, k: int, *, ndcg_ideal: NdcgIdeal = "truncated") -> Values:
    r"""Normalised discounted cumulative gain.

    .. math::
        \frac{\sum_{j \le k} hit_j / \log_2(j + 1)}{\sum_{j \le \min(k, M)} 1 / \log_2(j + 1)}

    Args:
        hits: bool [B, K].
        n_relevant: int [B].
        k: cut-off.
        ndcg_ideal: `truncated`: M = T, the standard. `retrieved`: M is the number of hits in the
            whole ranked list of K items, as in LATTICE (2021, arXiv 2104.09036) and its
            descendants with K = 20; never smaller than the standard value, not to be compared
            with it.

    Example:
        >>> hits = np.array([[False, False, True]])
        >>> ndcg(hits, np.array([2]), 3).round(3)
        array([0.307])
        >>> ndcg(hits, np.array([2]), 3, ndcg_ideal="retrieved")
        array([0.5])
    """
    ideal = hits.sum(1) if ndcg_ideal == "retrieved" else n_relevant
    discounts = 1 / np.log2(np.arange(2, k + 2))
    best = np.concatenate([[0], np.cumsum(discounts)])[np.minimum(ideal, k)]
    top = hits[:, :k]
    return _ratio(top @ discounts[: top.shape[1]], best)


def precision(hits: Hits, n_relevant: Counts, k: int) -> Values:
    r"""Precision: the share of relevant items in the list, :math:`\sum_{j \le k} hit_j / k`.

    Args:
        hits: bool [B, K].
        n_relevant: int [B]; not used.
        k: cut-off, the denominator even where fewer items could be ranked.

    Example:
        >>> precision(np.array([[True, False, True, False]]), np.array([4]), 4)
        array([0.5])
    """
    return np.asarray(hits[:, :k].sum(1) / k, np.float64)


def average_precision(
    hits: Hits, n_relevant: Counts, k: int, *, map_denominator: MapDenominator = "min"
) -> Values:
    r"""Average precision; its mean over users is MAP.

    .. math::
        \frac{1}{D} \sum_{j \le k} hit_j \cdot \frac{1}{j} \sum_{i \le j} hit_i

    Args:
        hits: bool [B, K].
        n_relevant: int [B].
        k: cut-off.
        map_denominator: `min`: D = min(k, T), so that 1 can be reached; `relevant`: D = T.

    Example:
        >>> hits = np.array([[True, False, True]])
        >>> average_precision(hits, np.array([4]), 2)
        array([0.5])
        >>> average_precision(hits, np.array([4]), 2, map_denominator="relevant")
        array([0.25])
    """
    top = hits[:, :k]
    found = np.cumsum(top, 1, dtype=np.int32)
    gains = (found * top) @ (1 / np.arange(1, top.shape[1] + 1))
    total = np.minimum(n_relevant, k) if map_denominator == "min" else n_relevant
    return _ratio(gains, total)


def hit_rate(hits: Hits, n_relevant: Counts, k: int) -> Values:
    r"""Hit rate: 1 with any hit among the first k, else 0.

    Args:
        hits: bool [B, K].
        n_relevant: int [B]; not used.
        k: cut-off.

    Example:
        >>> hit_rate(np.array([[False, True], [False, False]]), np.array([2, 2]), 2)
        array([1., 0.])
    """
    return np.asarray(hits[:, :k].any(1), np.float64)


def mrr(hits: Hits, n_relevant: Counts, k: int) -> Values:
    r"""Reciprocal rank: :math:`1 / \min\{j \le k : hit_j = 1\}`, 0 without a hit.

    Args:
        hits: bool [B, K].
        n_relevant: int [B]; not used.
        k: cut-off.

    Example:
        >>> mrr(np.array([[False, True], [False, False]]), np.array([2, 2]), 2)
        array([0.5, 0. ])
    """
    top = hits[:, :k]
    return np.asarray(top.any(1) / (top.argmax(1) + 1), np.float64)


METRICS: dict[str, Callable[..., Values]] = {
    "recall": recall,
    "ndcg": ndcg,
    "precision": precision,
    "map": average_precision,
    "hit_rate": hit_rate,
    "mrr": mrr,
}
"""The metrics by name."""

_VARIANTS = {"recall": "recall_denominator", "ndcg": "ndcg_ideal", "map": "map_denominator"}


def find_hits(ranked: NDArray[Any] | Tensor, indptr: Counts, relevant: Counts) -> Hits:
    """Which places of each ranked list hold a relevant item.

    Args:
        ranked: int [B, K], item indices, -1 for none.
        indptr: int64 [B + 1]; row b's relevant items are `relevant[indptr[b] : indptr[b + 1]]`.
        relevant: int64, item indices in any order.

    Returns:
        bool [B, K].

    Example:
        >>> find_hits(np.array([[4, 2], [2, -1]]), np.array([0, 1, 2]), np.array([2, 4]))
        array([[False,  True],
               [False, False]])
    """
    lists = torch.as_tensor(ranked).cpu()
    if not len(relevant) or not lists.numel():
        return np.zeros(lists.shape, bool)
    span = int(max(relevant.max(), int(lists.max()))) + 2
    owners = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    wanted = torch.from_numpy(np.sort(owners * span + relevant + 1))
    keys = lists + 1 + span * torch.arange(len(lists)).unsqueeze(1)
    place = torch.searchsorted(wanted, keys).clamp_(max=len(wanted) - 1)
    hits: Hits = (wanted[place] == keys).numpy()
    return hits


def compute_metrics(
    ranked: NDArray[Any] | Tensor,
    indptr: Counts,
    relevant: Counts,
    metrics: Sequence[str] = tuple(METRICS),
    ks: Sequence[int] = (5, 10, 20, 50),
    *,
    ndcg_ideal: NdcgIdeal = "truncated",
    recall_denominator: RecallDenominator = "full",
    map_denominator: MapDenominator = "min",
) -> PerUser:
    """Every metric at every cut-off, per user, at full precision.

    Args:
        ranked: int [B, K], best first, -1 for none.
        indptr: int64 [B + 1], with `relevant` the distinct relevant items of each row.
        relevant: int64.
        metrics: of `METRICS`.
        ks: cut-offs.
        ndcg_ideal: see `ndcg`.
        recall_denominator: see `recall`.
        map_denominator: see `average_precision`.

    Raises:
        UnknownNameError: an unknown metric.

    Example:
        >>> ranked, relevant = np.array([[7, 3, 5]]), np.array([3])
        >>> compute_metrics(ranked, np.array([0, 1]), relevant, ["mrr"], [1, 3])
        {'mrr@1': array([0.]), 'mrr@3': array([0.5])}
    """
    variants = {
        "ndcg_ideal": ndcg_ideal,
        "recall_denominator": recall_denominator,
        "map_denominator": map_denominator,
    }
    hits, n_relevant = find_hits(ranked, indptr, relevant), np.diff(indptr)
    values: PerUser = {}
    for name in metrics:
        if name not in METRICS:
            raise UnknownNameError("metric", name, METRICS)
        option = {key: variants[key] for key in [_VARIANTS.get(name)] if key}
        for k in ks:
            values[f"{name}@{k}"] = METRICS[name](hits, n_relevant, k, **option)
    return values


def _ratio(numerator: NDArray[Any], denominator: NDArray[Any]) -> Values:
    result: Values = np.zeros(len(numerator), np.float64)
    np.divide(numerator, denominator, out=result, where=denominator > 0)
    return result
