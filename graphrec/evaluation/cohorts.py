"""Where a model is good and where it is not: metrics by groups of users and of items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from graphrec.data.train_view import TrainView
from graphrec.evaluation.beyond import gap
from graphrec.evaluation.metrics import METRICS, compute_metrics
from modalities._base.errors import UnknownNameError

Labels = NDArray[np.str_]
Lists = NDArray[np.int64]

COHORTS = ("popularity", "activity", "coldness", "modalities")
"""Groupings: items by popularity, users by activity, items by coldness and by what they have."""


def popularity_groups(train: TrainView, shares: Sequence[float] = (1 / 3, 2 / 3)) -> Labels:
    """Items as `head`, `mid` and `tail`: each holds about a third of the training interactions.

    Items from the most popular down are `head` until the first share of all training interactions
    is reached, `mid` until the second, then `tail`; items without any are `cold`.

    Args:
        train: the training interactions.
        shares: where head and mid end, as shares of the interactions.

    Returns:
        str [I].

    Example:
        >>> users, items = [0, 1, 2, 0, 1, 0], [0, 0, 0, 1, 1, 2]
        >>> train = TrainView.from_arrays(users, items, n_users=3, n_items=4)
        >>> popularity_groups(train).tolist()
        ['head', 'mid', 'tail', 'cold']
    """
    counts = train.item_counts.cpu().numpy()
    order = np.argsort(-counts, kind="stable")
    before = np.concatenate([[0], np.cumsum(counts[order])[:-1]]) / max(counts.sum(), 1)
    names = np.array(["head", "mid", "tail"])
    groups = np.empty(len(counts), "<U4")
    groups[order] = names[np.searchsorted(shares, before, side="right")]
    groups[counts == 0] = "cold"
    return groups


def activity_groups(train: TrainView, quantiles: Sequence[float] = (1 / 3, 2 / 3)) -> Labels:
    """Users as `few`, `some` and `many`, by quantiles of their training interactions.

    Users of equal activity are in one group, so groups need not be of equal size; users without
    training interactions are `none`.

    Args:
        train: the training interactions.
        quantiles: where few and some end.

    Returns:
        str [U].

    Example:
        >>> users, items = [0, 1, 1, 2, 2, 2], [0, 0, 1, 0, 1, 2]
        >>> train = TrainView.from_arrays(users, items, n_users=4, n_items=3)
        >>> activity_groups(train).tolist()
        ['few', 'some', 'many', 'none']
    """
    counts = np.bincount(train.users.cpu().numpy(), minlength=train.n_users)
    active = counts[counts > 0]
    ends = np.quantile(active, quantiles, method="inverted_cdf") if len(active) else np.zeros(2)
    groups = np.array(["few", "some", "many"])[np.searchsorted(ends, counts)]
    groups[counts == 0] = "none"
    return groups


def coldness_groups(train: TrainView) -> Labels:
    """Items as `warm`, with training interactions, and `cold`, without; str [I]."""
    return np.where(train.warm_items.cpu().numpy(), "warm", "cold")


def modality_groups(train: TrainView) -> Labels:
    """Items by the modalities they have, such as `image+text`, or `none`; str [I].

    Example:
        >>> import torch
        >>> train = TrainView.from_arrays(
        ...     [0], [0], n_users=1, n_items=2, features={"text": torch.eye(2)}
        ... )
        >>> modality_groups(train).tolist()
        ['text', 'text']
    """
    present = {name: features.present.cpu().numpy() for name, features in train.features.items()}
    rows = (
        "+".join(name for name, mask in present.items() if mask[item]) or "none"
        for item in range(train.n_items)
    )
    return np.array(list(rows))


def cohort_metrics(
    train: TrainView,
    users: NDArray[np.int64],
    lists: Lists,
    indptr: NDArray[np.int64],
    relevant: NDArray[np.int64],
    *,
    cohorts: Sequence[str] = COHORTS,
    metrics: Sequence[str] = ("recall", "ndcg"),
    k: int = 20,
) -> pl.DataFrame:
    """Metrics of every group of every cohort.

    Groups of items keep the rankings and take only the relevant items of the group; a user counts
    in a group of items where one of them is in it.

    Args:
        train: decides on the groups.
        users: int [n], the users measured.
        lists: int [n, K], their rankings.
        indptr: int [n + 1]; row r's relevant items are `relevant[indptr[r] : indptr[r + 1]]`.
        relevant: int, item indices.
        cohorts: of `COHORTS`.
        metrics: of `graphrec.evaluation.metrics.METRICS`.
        k: cut-off.

    Returns:
        Columns cohort, group, users (measured), items (of the group, null for groups of users),
        one column for each metric, and for groups of users one of its gap to the other users
        (`graphrec.evaluation.beyond.gap`; null for groups of items, NaN without other users).

    Raises:
        UnknownNameError: an unknown cohort or metric.
    """
    for name in cohorts:
        if name not in COHORTS:
            raise UnknownNameError("cohort", name, COHORTS)
    for name in metrics:
        if name not in METRICS:
            raise UnknownNameError("metric", name, METRICS)
    rows: list[dict[str, object]] = []
    for name in cohorts:
        if name == "activity":
            rows += _user_rows(train, users, lists, indptr, relevant, metrics, k)
        else:
            groups = _ITEM_GROUPS[name](train)
            rows += _item_rows(name, groups, lists, indptr, relevant, metrics, k)
    return pl.DataFrame(rows, infer_schema_length=None)


_ITEM_GROUPS = {
    "popularity": popularity_groups,
    "coldness": coldness_groups,
    "modalities": modality_groups,
}
_ORDER = ("head", "mid", "tail", "warm", "cold", "few", "some", "many", "none")


def _user_rows(
    train: TrainView,
    users: NDArray[np.int64],
    lists: Lists,
    indptr: NDArray[np.int64],
    relevant: NDArray[np.int64],
    metrics: Sequence[str],
    k: int,
) -> list[dict[str, object]]:
    groups = activity_groups(train)[users]
    values = compute_metrics(lists, indptr, relevant, metrics, [k])
    return [
        {
            "cohort": "activity",
            "group": group,
            "users": int((groups == group).sum()),
            "items": None,
            **{name: float(found[groups == group].mean()) for name, found in values.items()},
            **{f"gap {name}": _gap(found, groups == group) for name, found in values.items()},
        }
        for group in _present(groups)
    ]


def _gap(values: NDArray[np.float64], cohort: NDArray[np.bool_]) -> float:
    return float("nan") if cohort.all() else gap(values, cohort)


def _item_rows(
    cohort: str,
    groups: Labels,
    lists: Lists,
    indptr: NDArray[np.int64],
    relevant: NDArray[np.int64],
    metrics: Sequence[str],
    k: int,
) -> list[dict[str, object]]:
    owners = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    rows: list[dict[str, object]] = []
    for group in _present(groups[relevant]):
        kept = groups[relevant] == group
        counts = np.bincount(owners[kept], minlength=len(indptr) - 1)
        starts = np.concatenate([[0], np.cumsum(counts)])
        values = compute_metrics(lists, starts, relevant[kept], metrics, [k])
        measured = counts > 0
        rows.append(
            {
                "cohort": cohort,
                "group": group,
                "users": int(measured.sum()),
                "items": int((groups == group).sum()),
                **{name: float(found[measured].mean()) for name, found in values.items()},
            }
        )
    return rows


def _present(groups: Labels) -> list[str]:
    found = [str(group) for group in np.unique(groups)]
    ranks: Mapping[str, int] = {name: rank for rank, name in enumerate(_ORDER)}
    return sorted(found, key=lambda name: (ranks.get(name, len(ranks)), name))
