"""Filters against brute-force loops."""

from __future__ import annotations

from collections import Counter

import numpy as np
import polars as pl
import pytest

from graphrec.data.filters import collapse_duplicates, k_core, rating_at_least
from modalities._base.errors import InputError


def random_frame(seed: int, rows: int = 300, timestamps: bool = True) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    columns = {
        "user": [f"u{i}" for i in random.zipf(1.6, rows) % 40],
        "item": [f"i{i}" for i in random.zipf(1.6, rows) % 30],
        "rating": random.integers(1, 6, rows).astype(np.float32),
        "label": random.integers(0, 3, rows).astype(np.int8),
    }
    if timestamps:
        columns["timestamp"] = random.integers(0, 20, rows)
    return pl.DataFrame(columns).with_row_index("row")


def brute_core(pairs: list[tuple[str, str]], k: int) -> list[int]:
    kept = list(range(len(pairs)))
    while True:
        users = Counter(pairs[i][0] for i in kept)
        items = Counter(pairs[i][1] for i in kept)
        left = [i for i in kept if users[pairs[i][0]] >= k and items[pairs[i][1]] >= k]
        if left == kept:
            return kept
        kept = left


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_k_core_is_the_brute_force_core(seed: int, k: int) -> None:
    frame = random_frame(seed)
    expected = brute_core(list(zip(frame["user"], frame["item"], strict=True)), k)
    assert expected, "the random graph must have a core"
    kept, notes = k_core(frame, k)
    assert kept["row"].to_list() == expected
    assert notes["dropped"] == {
        "interactions": len(frame) - len(expected),
        "users": frame["user"].n_unique() - len({frame["user"][i] for i in expected}),
        "items": frame["item"].n_unique() - len({frame["item"][i] for i in expected}),
    }


def test_k_core_needs_several_rounds_on_a_chain() -> None:
    users = ["a", "a", "b", "b", "c", "c", "d", "d", "e", "e"]
    items = ["1", "2", "2", "3", "3", "4", "x", "y", "x", "y"]
    kept, notes = k_core(pl.DataFrame({"user": users, "item": items}), 2)
    assert kept["user"].to_list() == ["d", "d", "e", "e"]
    assert notes["rounds"] == 3


def test_k_core_counts_repeated_pairs_until_they_are_collapsed() -> None:
    frame = pl.DataFrame({"user": ["u", "u"], "item": ["i", "i"]})
    assert len(k_core(frame, 2)[0]) == 2
    with pytest.raises(InputError, match="no interactions are left after the 2-core"):
        k_core(collapse_duplicates(frame)[0], 2)


@pytest.mark.parametrize("k", [0, -1])
def test_k_core_refuses_k_below_one(k: int) -> None:
    with pytest.raises(InputError, match="1 or more"):
        k_core(random_frame(0), k)


@pytest.mark.parametrize("timestamps", [True, False])
def test_collapse_keeps_the_earliest_in_file_order(timestamps: bool) -> None:
    frame = random_frame(1, timestamps=timestamps)
    best: dict[tuple[str, str], tuple[int, int]] = {}
    labels: dict[tuple[str, str], set[int]] = {}
    for row in frame.rows(named=True):
        key = (row["user"], row["item"])
        best[key] = min(best.get(key, (10**9, 0)), (row.get("timestamp", 0), row["row"]))
        labels.setdefault(key, set()).add(row["label"])
    counts = Counter(zip(frame["user"], frame["item"], strict=True))
    kept, notes = collapse_duplicates(frame)
    assert kept["row"].to_list() == sorted(row for _, row in best.values())
    assert kept.columns == frame.columns
    assert notes == {
        "dropped": len(frame) - len(best),
        "pairs": sum(n > 1 for n in counts.values()),
        "pairs_across_labels": sum(len(parts) > 1 for parts in labels.values()),
    }


def test_collapse_puts_missing_timestamps_last_and_leaves_unique_pairs_alone() -> None:
    frame = pl.DataFrame({"user": ["u"] * 3, "item": ["a", "a", "b"], "timestamp": [None, 5, None]})
    kept, notes = collapse_duplicates(frame)
    assert kept.rows() == [("u", "a", 5), ("u", "b", None)]
    assert notes == {"dropped": 1, "pairs": 1}
    again, notes = collapse_duplicates(kept)
    assert again.equals(kept)
    assert notes == {"dropped": 0, "pairs": 0}


def test_rating_threshold_is_inclusive_and_drops_unrated() -> None:
    ratings = [3.0, 2.5, None, float("nan"), 5.0]
    frame = pl.DataFrame({"user": list("uvwxy"), "item": list("abcde"), "rating": ratings})
    kept, notes = rating_at_least(frame, 3)
    assert kept["user"].to_list() == ["u", "y"]
    assert notes == {"minimum": 3.0, "dropped": 3, "unrated": 2}


def test_rating_threshold_needs_ratings() -> None:
    with pytest.raises(InputError, match="no column 'rating'"):
        rating_at_least(random_frame(0).drop("rating"), 3)
