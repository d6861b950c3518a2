"""Filters on interactions: rating threshold, duplicate pairs, k-core.

Each takes and returns a table with the columns `user`, `item` and optionally `rating`,
`timestamp` and `label`, keeps the order of the rows, and reports what it dropped.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from modalities._base.errors import InputError


def rating_at_least(frame: pl.DataFrame, minimum: float) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Keep interactions rated `minimum` or more; unrated ones (null, NaN) are dropped.

    Args:
        frame: interactions with a column `rating`.
        minimum: the threshold, in the units of the source.

    Returns:
        The kept rows, and notes: `minimum`, `dropped` (all) and `unrated` (among them).

    Raises:
        InputError: there is no column `rating`.

    Example:
        >>> frame = pl.DataFrame({"user": ["u", "u"], "item": ["a", "b"], "rating": [2.0, 4.0]})
        >>> rating_at_least(frame, 3)[1]
        {'minimum': 3.0, 'dropped': 1, 'unrated': 0}
    """
    if "rating" not in frame.columns:
        raise InputError(
            "a rating threshold needs ratings, but the interactions have no column 'rating'; "
            "leave the threshold out"
        )
    rating = pl.col("rating").fill_nan(None)
    unrated = frame.select(rating.null_count()).item()
    kept = frame.filter(rating >= minimum)
    notes = {"minimum": float(minimum), "dropped": len(frame) - len(kept), "unrated": unrated}
    return kept, notes


def collapse_duplicates(frame: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Keep the earliest interaction of each (user, item) pair.

    Earliest by `timestamp`; equal timestamps, and tables without any, by file order. A missing
    timestamp counts as latest.

    Args:
        frame: interactions.

    Returns:
        The kept rows in file order, and notes: `dropped` rows, `pairs` that were repeated and,
        with labels, `pairs_across_labels` that occurred in more than one part of the split.

    Example:
        >>> frame = pl.DataFrame({"user": ["u", "u"], "item": ["a", "a"], "timestamp": [9, 3]})
        >>> collapse_duplicates(frame)[0]["timestamp"].to_list()
        [3]
    """
    pair = ["user", "item"]
    repeated = frame.filter(pl.struct(pair).is_duplicated())
    notes: dict[str, Any] = {"dropped": 0, "pairs": repeated.select(pair).n_unique()}
    if "label" in frame.columns:
        parts = repeated.group_by(pair).agg(pl.col("label").n_unique().alias("parts"))
        notes["pairs_across_labels"] = parts.filter(pl.col("parts") > 1).height
    if repeated.is_empty():
        return frame, notes
    order = ["timestamp", "_row"] if "timestamp" in frame.columns else ["_row"]
    numbered = frame.with_row_index("_row")
    first = numbered.sort(order, nulls_last=True).unique(pair, keep="first", maintain_order=True)
    kept = first.sort("_row").drop("_row")
    return kept, {**notes, "dropped": len(frame) - len(kept)}


def k_core(frame: pl.DataFrame, k: int) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Keep users and items with `k` or more interactions, repeated until nothing changes.

    In each round all users and items with fewer than `k` rows go at once. The result is the
    largest sub-table in which every user and every item has `k` rows, whatever the order of
    removal. Every row counts: collapse duplicate pairs first to count distinct partners.

    Args:
        frame: interactions.
        k: at least 1.

    Returns:
        The kept rows in file order, and notes: `k`, `rounds`, and `dropped` with the numbers of
        interactions, users and items removed.

    Raises:
        InputError: `k` is below 1, or nothing is left.

    Source: the usual 5-core of McAuley et al., 2015, arXiv 1506.04757.

    Example:
        >>> frame = pl.DataFrame({"user": ["u", "u", "v", "v", "w"], "item": list("ababa")})
        >>> k_core(frame, 2)[0]["user"].to_list()
        ['u', 'u', 'v', 'v']
    """
    if k < 1:
        raise InputError(f"k-core needs k of 1 or more, got {k}")
    users, items = _codes(frame["user"]), _codes(frame["item"])
    kept = np.arange(len(frame))
    rounds = 0
    while len(kept):
        enough = (np.bincount(users[kept]) >= k)[users[kept]]
        enough &= (np.bincount(items[kept]) >= k)[items[kept]]
        if enough.all():
            break
        kept = kept[enough]
        rounds += 1
    if not len(kept):
        raise InputError(
            f"no interactions are left after the {k}-core (there were {len(frame):,}); "
            "choose a smaller k or more data"
        )
    result = frame[kept]
    dropped = {"interactions": len(frame) - len(result)}
    for column in ("user", "item"):
        dropped[f"{column}s"] = frame[column].n_unique() - result[column].n_unique()
    return result, {"k": k, "rounds": rounds, "dropped": dropped}


def _codes(column: pl.Series) -> NDArray[np.int64]:
    return column.rank("dense").to_numpy().astype(np.int64) - 1
