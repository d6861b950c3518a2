r"""What accuracy does not tell: how broad, popular, novel and diverse recommendations are.

Notation: lists [B, K] of item indices, best first, -1 for none; k the cut-off; c_i the training
interactions of item i; U users and I items in all. Functions of users return float64 [B], NaN
where a list has too few items to say; `coverage` and `gini` describe all lists together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from graphrec.data.train_view import Features, TrainView
from graphrec.nn.projection import JoinedFeatures
from modalities._base.errors import InputError

Lists = NDArray[np.int64]
Values = NDArray[np.float64]
Counts = NDArray[np.int64]
Direction = Literal[1, 0, -1]

_BLOCK = 512


def coverage(lists: Lists, n_items: int, k: int) -> float:
    r"""Catalogue coverage: the share of items in anyone's first k.

    From 0 to 1; higher is broader.

    Args:
        lists: int [B, K].
        n_items: I.
        k: cut-off.

    Example:
        >>> coverage(np.array([[0, 1], [0, 2]]), n_items=4, k=2)
        0.75
    """
    return float(np.count_nonzero(exposure(lists, n_items, k)) / n_items)


def gini(lists: Lists, n_items: int, k: int) -> float:
    r"""Gini index of how often items are recommended, items never recommended included.

    .. math::
        \frac{\sum_{r=1}^{I} (2 r - I - 1) e_{(r)}}{I \sum_r e_{(r)}}

    with :math:`e_{(1)} \le e_{(2)} \le \dots` the items' exposures. From 0, all alike, to
    1 - 1/I, one item alone; lower is fairer.

    Args:
        lists: int [B, K].
        n_items: I.
        k: cut-off.

    Example:
        >>> gini(np.array([[0], [0]]), n_items=4, k=1), gini(np.array([[0], [1]]), 2, 1)
        (0.75, 0.0)
    """
    shown = np.sort(exposure(lists, n_items, k))
    ranks = 2 * np.arange(1, n_items + 1) - n_items - 1
    return float(ranks @ shown / (n_items * max(shown.sum(), 1)))


def exposure(lists: Lists, n_items: int, k: int) -> Counts:
    """How many of the lists hold each item among their first k, int64 [I]."""
    top = lists[:, :k]
    return np.bincount(top[top >= 0], minlength=n_items)


def popularity(lists: Lists, counts: Counts, k: int) -> Values:
    r"""Average popularity: mean of c_i over the first k. From 0; higher is more popular.

    Args:
        lists: int [B, K].
        counts: c, int [I].
        k: cut-off.

    Example:
        >>> popularity(np.array([[0, 1]]), np.array([5, 1]), 2)
        array([3.])
    """
    return _mean_of(counts.astype(np.float64), lists, k)


def novelty(lists: Lists, counts: Counts, n_users: int, k: int) -> Values:
    r"""Novelty: mean self-information in bits, :math:`-\log_2 (\max(c_i, 1) / U)`, of the first k.

    From 0, what everybody has, to :math:`\log_2 U`; higher is more novel.

    Args:
        lists: int [B, K].
        counts: c, int [I]; an item nobody has counts as one that one user has.
        n_users: U.
        k: cut-off.

    Source: Zhou et al., Solving the apparent diversity-accuracy dilemma of recommender systems,
    2010, arXiv 0808.2670.

    Example:
        >>> novelty(np.array([[0, 1]]), np.array([8, 2]), n_users=8, k=2)
        array([1.])
    """
    return _mean_of(np.log2(n_users / np.maximum(counts, 1)), lists, k)


def diversity(lists: Lists, features: Tensor, present: Tensor, k: int) -> Values:
    r"""Intra-list diversity: mean of 1 - cos(x_i, x_j) over the pairs of the first k.

    From 0, all alike, to 2; higher is more diverse. Items without features are left out; a list
    with fewer than two others has none.

    Args:
        lists: int [B, K].
        features: x, [I, d].
        present: bool [I].
        k: cut-off.

    Source: Ziegler et al., Improving recommendation lists through topic diversification, 2005,
    doi 10.1145/1060745.1060754.

    Example:
        >>> x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 2.0]])
        >>> diversity(np.array([[0, 1], [1, 2]]), x, torch.ones(3, dtype=torch.bool), 2)
        array([1., 0.])
    """
    unit = torch.nn.functional.normalize(features.double(), dim=1)
    found = np.full(len(lists), np.nan)
    for start in range(0, len(lists), _BLOCK):
        top = torch.from_numpy(np.ascontiguousarray(lists[start : start + _BLOCK, :k]))
        known = (top >= 0) & present[top.clamp_min(0)]
        rows = torch.where(known[..., None], unit[top.clamp_min(0)], 0.0)
        n = known.sum(1)
        alike = rows.sum(1).square().sum(1) - rows.square().sum((1, 2))  # 2 x sum of cosines
        mean = 1 - alike / (n * (n - 1))
        found[start : start + _BLOCK] = torch.where(n > 1, mean, torch.nan).numpy()
    return found


def gap(values: Values, cohort: NDArray[np.bool_]) -> float:
    """Mean of a metric over a cohort of users minus its mean over the others; 0 is fair.

    Example:
        >>> gap(np.array([0.5, 0.25, 0.0]), np.array([True, False, False]))
        0.375
    """
    return float(np.nanmean(values[cohort]) - np.nanmean(values[~cohort]))


@dataclass(frozen=True, eq=False)
class Catalogue:
    """What the metrics need to know of the data.

    Args:
        n_users: U.
        counts: training interactions per item, int [I].
        features: modalities by name, for `diversity`: set side by side, each of unit rows.
    """

    n_users: int
    counts: Counts
    features: Mapping[str, Features]

    @classmethod
    def of(cls, train: TrainView) -> Catalogue:
        """The catalogue a model was trained on."""
        return cls(train.n_users, train.item_counts.cpu().numpy(), train.features)

    def measure(self, name: str, lists: Lists, k: int) -> Values | float:
        """A metric of `BEYOND` at a cut-off: one value per user, or one in all."""
        n_items = len(self.counts)
        if name == "coverage":
            return coverage(lists, n_items, k)
        if name == "gini":
            return gini(lists, n_items, k)
        if name == "popularity":
            return popularity(lists, self.counts, k)
        if name == "novelty":
            return novelty(lists, self.counts, self.n_users, k)
        if not self.features:
            raise InputError("diversity is measured on item features, and these data have none")
        joined = JoinedFeatures(self.features.values(), transform="l2")
        return diversity(lists, joined.table, joined.present, k)


BEYOND: Mapping[str, str] = {
    "coverage": "0 to 1, higher is broader",
    "gini": "0 to 1, lower is fairer to items",
    "popularity": "from 0, training interactions of what is recommended",
    "novelty": "from 0 bits, higher is more novel",
    "diversity": "0 to 2, higher is more diverse",
}
"""The metrics by name, with range and direction."""

OF_ALL_LISTS = ("coverage", "gini")
"""Metrics of all lists together, with no value for a single user."""

_DIRECTIONS: Mapping[str, Direction] = {"gini": -1, "popularity": 0}


def base_name(metric: str) -> str:
    """A recorded metric without cut-off.

    Example:
        >>> base_name("gini@20")
        'gini'
    """
    return metric.partition("@")[0]


def direction(metric: str) -> Direction:
    """1 where a greater value is better, -1 where a lower one is, 0 where neither is.

    Example:
        >>> direction("recall@20"), direction("gini@20"), direction("popularity@20")
        (1, -1, 0)
    """
    return _DIRECTIONS.get(base_name(metric), 1)


def _mean_of(values: Values, lists: Lists, k: int) -> Values:
    top = lists[:, :k]
    known = top >= 0
    n = known.sum(1)
    sums = np.where(known, values[np.maximum(top, 0)], 0.0).sum(1)
    result: Values = np.full(len(lists), np.nan)
    np.divide(sums, n, out=result, where=n > 0)
    return result
