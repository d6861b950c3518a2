from __future__ import annotations

import json
import random
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from graphrec.data.splits import COLD_METHODS, METHODS, Split, make_split
from modalities._base.errors import InputError, UnknownNameError

Ints = NDArray[np.int64]


def events(seed: int = 0, n_users: int = 200) -> tuple[Ints, Ints, Ints]:
    """Interleaved users with 1 to 40 interactions; many equal timestamps."""
    generator = np.random.default_rng(seed)
    sizes = generator.integers(1, 41, n_users)
    users = generator.permutation(np.repeat(np.arange(n_users), sizes))
    items = np.empty(len(users), np.int64)
    for user in range(n_users):
        items[users == user] = generator.permutation(300)[: sizes[user]]
    return users, items, generator.integers(0, 50, len(users))


def held_out(n: int, rounding: str) -> tuple[int, int]:
    """Valid and test sizes by the published rules, written out."""
    if n < 3:
        return 0, 0
    if n < 10:
        return 1, 1
    half, rest = (n // 5) // 2, (n // 5) - (n // 5) // 2
    return (half, rest) if rounding == "mmrec" else (rest, half)


def rows_of(users: Ints) -> dict[int, list[int]]:
    rows: dict[int, list[int]] = defaultdict(list)
    for row, user in enumerate(users.tolist()):
        rows[user].append(row)
    return rows


@pytest.mark.parametrize("rounding", ["mmrec", "lattice"])
@pytest.mark.parametrize("method", ["user-random", "user-time"])
def test_per_user_sizes(method: str, rounding: Any) -> None:
    users, items, times = events()
    split = make_split(method, users, items, times, rounding=rounding)
    for rows in rows_of(users).values():
        labels = split.labels[rows]
        valid, test = held_out(len(rows), rounding)
        assert (labels == 1).sum() == valid
        assert (labels == 2).sum() == test
        assert (labels == 0).sum() == len(rows) - valid - test


def test_rounding_by_hand() -> None:
    users = np.repeat([0, 1, 2], [9, 10, 17])
    items = np.arange(len(users))
    mmrec = make_split("user-random", users, items)
    lattice = make_split("user-random", users, items, rounding="lattice")
    sizes = [
        [(split.labels[users == user] == label).sum() for label in (1, 2)]
        for split in (mmrec, lattice)
        for user in (0, 1, 2)
    ]
    assert sizes == [[1, 1], [1, 1], [1, 2], [1, 1], [1, 1], [2, 1]]


def test_user_time_matches_brute_force() -> None:
    users, items, times = events(1)
    split = make_split("user-time", users, items, times)
    expected = np.zeros(len(users), np.int8)
    for rows in rows_of(users).values():
        in_time = sorted(rows, key=lambda row: (times[row], row))
        valid, test = held_out(len(rows), "mmrec")
        for row in in_time[len(rows) - valid - test : len(rows) - test]:
            expected[row] = 1
        for row in in_time[len(rows) - test :]:
            expected[row] = 2
    np.testing.assert_array_equal(split.labels, expected)


def test_leave_one_out_matches_brute_force() -> None:
    users, items, times = events(2)
    split = make_split("leave-one-out", users, items, times)
    expected = np.zeros(len(users), np.int8)
    for rows in rows_of(users).values():
        if len(rows) >= 3:
            in_time = sorted(rows, key=lambda row: (times[row], row))
            expected[in_time[-1]], expected[in_time[-2]] = 2, 1
    np.testing.assert_array_equal(split.labels, expected)
    assert split.spec["seed"] is None
    assert split.spec["options"] == {"order": "time"}


def test_leave_one_out_without_timestamps_is_random() -> None:
    users, items, _ = events(3)
    split = make_split("leave-one-out", users, items, seed=4)
    for rows in rows_of(users).values():
        expected = [0] * (len(rows) - 2) + [1, 2] if len(rows) >= 3 else [0] * len(rows)
        assert sorted(split.labels[rows].tolist()) == expected
    assert split.spec == {"method": "leave-one-out", "seed": 4, "options": {"order": "random"}}
    other = make_split("leave-one-out", users, items, seed=5)
    assert (split.labels != other.labels).any()


def test_global_time_matches_brute_force() -> None:
    users, items, times = events(5)
    times = times + users * 2
    split = make_split("global-time", users, items, times)
    order = sorted(range(len(users)), key=lambda row: (times[row], row))
    cuts = round(0.8 * len(users)), round(0.9 * len(users))
    expected = np.zeros(len(users), np.int8)
    for place, row in enumerate(order):
        expected[row] = 0 if place < cuts[0] else 1 if place < cuts[1] else 2
    trained = {users[row] for row in order[: cuts[0]]}
    late = [row for row in range(len(users)) if users[row] not in trained]
    assert late, "the case must contain users who come only after training"
    expected[late] = -1
    np.testing.assert_array_equal(split.labels, expected)
    assert split.counts["dropped"] == {"user has no training interaction": len(late)}


def test_global_time_counts_cold_items_and_keeps_them() -> None:
    users = [0, 0, 1, 0, 1]
    split = make_split("global-time", users, [0, 1, 0, 2, 2], range(5), fractions=(0.6, 0.2, 0.2))
    assert split.labels.tolist() == [0, 0, 0, 1, 2]
    assert split.counts["cold_items"] == {"valid": 1, "test": 1}


def test_counts() -> None:
    users, items, times = events(6)
    for method in ("user-random", "global-time", "leave-one-out"):
        split = make_split(method, users, items, times)
        for name, label in (("train", 0), ("valid", 1), ("test", 2)):
            assert split.counts[name] == sum(1 for x in split.labels.tolist() if x == label)
        for name, label in (("valid", 1), ("test", 2)):
            assert split.counts["users"][name] == len(set(users[split.labels == label]))
            seen = set(items[split.labels == 0])
            cold = set(items[split.labels == label]) - seen
            assert split.counts["cold_items"][name] == len(cold)
        assert json.loads(json.dumps(split.counts)) == split.counts
    few = sum(1 for rows in rows_of(users).values() if len(rows) < 3)
    assert few
    assert make_split("user-random", users, items).counts["users"]["all_train"] == few


def test_random_split_depends_on_seed_only_not_on_row_order() -> None:
    users, items, _ = events(7)
    split = make_split("user-random", users, items, seed=1)
    again = make_split("user-random", users, items, seed=1)
    other = make_split("user-random", users, items, seed=2)
    assert split.split_id == again.split_id != other.split_id
    assert 0.05 < (split.labels != other.labels).mean() < 0.5
    shuffled = np.random.default_rng(0).permutation(len(users))
    moved = make_split("user-random", users[shuffled], items[shuffled], seed=1)
    np.testing.assert_array_equal(moved.labels, split.labels[shuffled])
    fewer = users != 0
    np.testing.assert_array_equal(
        make_split("user-random", users[fewer], items[fewer], seed=1).labels, split.labels[fewer]
    )


def test_random_split_is_uniform_over_positions() -> None:
    n_users, n = 20_000, 5
    users = np.repeat(np.arange(n_users), n)
    items = np.tile(np.arange(n), n_users)
    labels = make_split("user-random", users, items).labels.reshape(n_users, n)
    pairs: dict[tuple[int, int], int] = defaultdict(int)
    for row in labels.tolist():
        pairs[row.index(1), row.index(2)] += 1
    expected = n_users / (n * (n - 1))
    assert len(pairs) == n * (n - 1)
    assert max(abs(count - expected) for count in pairs.values()) < 5 * expected**0.5


def test_given_labels_and_identity() -> None:
    split = make_split("given", [0, 0, 1, 1], [0, 1, 0, 1], labels=[0, 1, 2, -1])
    assert split.labels.dtype == np.int8
    assert split.labels.tolist() == [0, 1, 2, -1]
    assert split.counts["dropped"] == {"labelled -1 in the source": 1}
    read = Split.from_labels(split.labels, split.spec, split.counts)
    assert read.split_id == split.split_id
    assert Split.from_labels([0, 1, 2, 0], split.spec).split_id != split.split_id


def test_time_splits_do_not_depend_on_the_seed() -> None:
    users, items, times = events(8)
    for method in ("user-time", "global-time", "leave-one-out"):
        first, second = (make_split(method, users, items, times, seed=s) for s in (0, 1))
        assert first.split_id == second.split_id


def test_errors() -> None:
    users, items = [0, 0, 0], [0, 1, 2]
    for method in ("user-time", "global-time"):
        with pytest.raises(InputError, match=f"'{method}' needs timestamps"):
            make_split(method, users, items)
    with pytest.raises(InputError, match="user-random, user-time, global-time, leave-one-out"):
        make_split("given", users, items)
    with pytest.raises(UnknownNameError, match="did you mean 'user-random'"):
        make_split("user_random", users, items)
    with pytest.raises(InputError, match="others such as 3"):
        make_split("given", users, items, labels=[0, 1, 3])
    with pytest.raises(InputError, match="2 labels for 3 interactions"):
        make_split("given", users, items, labels=[0, 1])
    with pytest.raises(InputError, match="2 timestamps for 3"):
        make_split("user-time", users, items, [1, 2])
    with pytest.raises(InputError, match="1 timestamps are missing"):
        make_split("user-time", users, items, [1.0, 2.0, float("nan")])
    with pytest.raises(InputError, match="add up to 1"):
        make_split("global-time", users, items, [1, 2, 3], fractions=(0.8, 0.1, 0.2))
    with pytest.raises(UnknownNameError, match="rounding"):
        make_split("user-random", users, items, rounding="up")  # type: ignore[arg-type]


def test_empty() -> None:
    empty = np.empty(0, np.int64)
    for method in COLD_METHODS:
        with pytest.raises(InputError, match="makes 0 of 0"):
            make_split(method, empty, empty)
    for method in set(METHODS) - set(COLD_METHODS):
        split = make_split(method, empty, empty, empty, labels=empty)
        assert len(split.labels) == 0
        assert split.counts["train"] == 0


def test_real_sports_sizes_follow_the_lattice_rule(real_data: Path) -> None:
    table = np.loadtxt(real_data / "sports" / "sports.inter", skiprows=1, dtype=np.int64)
    users, items, given = table.T
    made = make_split("user-random", users, items, rounding="lattice")
    n_users = users.max() + 1
    for label in (0, 1, 2):
        theirs = np.bincount(users[given == label], minlength=n_users)
        ours = np.bincount(users[made.labels == label], minlength=n_users)
        np.testing.assert_array_equal(theirs, ours)


def test_large_split_is_vectorised() -> None:
    generator = random.Random(0)
    users = np.array([generator.randrange(30_000) for _ in range(300_000)])
    items, times = users[::-1].copy(), users * 7 % 1000
    began = time.perf_counter()
    make_split("user-random", users, items)
    make_split("user-time", users, items, times)
    make_split("global-time", users, items, times)
    assert time.perf_counter() - began < 5


def test_folds_cover_every_interaction_once() -> None:
    random = np.random.default_rng(0)
    users = np.concatenate([random.integers(0, 40, 900), np.full(2, 40), np.full(4, 41)])
    items = np.concatenate([random.integers(0, 500, 900), [1, 2], [1, 2, 3, 4]])
    splits = [make_split("k-fold", users, items, seed=3, folds=5, fold=f).labels for f in range(5)]
    tested = sum((labels == 2).astype(int) for labels in splits)
    assert (tested[users < 40] == 1).all()
    assert (tested[users == 40] == 0).all()  # too few to hold one out
    assert (tested[users == 41] == 1).all()
    for fold in range(5):
        following = splits[(fold + 1) % 5]
        np.testing.assert_array_equal((splits[fold] == 1), (following == 2))
        sizes = np.bincount(users[splits[fold] == 2], minlength=41)[:40]
        whole = np.bincount(users, minlength=41)[:40]
        assert (np.abs(sizes - whole / 5) < 1).all()
    assert make_split("k-fold", users, items, seed=3, fold=1).spec == {
        "method": "k-fold",
        "seed": 3,
        "options": {"folds": 5, "fold": 1},
    }


@pytest.mark.parametrize(("folds", "fold"), [(2, 0), (5, 5), (5, -1)])
def test_folds_that_cannot_be(folds: int, fold: int) -> None:
    with pytest.raises(InputError, match="at least 3 folds and a fold from 0"):
        make_split("k-fold", [0, 0, 0], [1, 2, 3], folds=folds, fold=fold)


@pytest.mark.parametrize("by", ["random", "time"])
def test_cold_items_are_in_training_nowhere(by: Any) -> None:
    users, items, times = events(3)
    split = make_split("cold-item", users, items, times, share=0.3, by=by, seed=4)
    labels = split.labels
    n_items = len(np.unique(items))
    kinds = {item: set(labels[items == item].tolist()) for item in np.unique(items).tolist()}
    cold = {item for item, kind in kinds.items() if kind == {1} or kind == {2}}
    assert len(cold) >= round(0.3 * n_items)
    assert set(labels.tolist()) == {0, 1, 2}
    first = {item: times[items == item].min() for item in kinds}
    if by == "time":
        late = {item for item in kinds if first[item] > np.quantile(list(first.values()), 0.75)}
        assert late <= cold
    assert split.spec["options"] == {"share": 0.3, "by": by, "rounding": "mmrec"}
    assert split.spec["seed"] == (4 if by == "random" else None)


def test_warm_items_are_split_per_user_and_cold_items_half_and_half() -> None:
    users, items, _ = events(5)
    split = make_split("cold-item", users, items, share=0.2, seed=0)
    other = make_split("cold-item", users, items, share=0.2, seed=1)
    assert not np.array_equal(split.labels, other.labels)
    kinds = {item: set(split.labels[items == item].tolist()) for item in np.unique(items).tolist()}
    often = [item for item in kinds if (items == item).sum() >= 8]  # not cold by chance
    halves = [sum(kinds[item] == {part} for item in often) for part in (1, 2)]
    assert abs(halves[0] - halves[1]) < 0.5 * max(halves)
    warm = ~np.isin(items, [item for item, kind in kinds.items() if 0 not in kind])
    for user in np.unique(users):
        mine = split.labels[(users == user) & warm]
        n = int(((users == user) & warm).sum())
        held = held_out(n, "mmrec")
        assert abs(int((mine == 1).sum()) - held[0]) <= 2
        assert abs(int((mine == 2).sum()) - held[1]) <= 2


@pytest.mark.parametrize("by", ["random", "time"])
def test_cold_users_are_cut_into_support_and_query(by: Any) -> None:
    users, items, times = events(6)
    split = make_split("cold-user", users, items, times, share=0.25, by=by)
    parts = []
    for user in range(200):
        mine = users == user
        labels = set(split.labels[mine].tolist())
        if 3 in labels:
            (part,) = labels - {3}
            parts.append(part)
            asked = split.labels[mine] == part
            assert asked.sum() == max(mine.sum() // 10, 1)
            if by == "time":
                assert times[mine][asked].min() >= times[mine][~asked].max()
        else:
            assert 0 in labels
    able = int((np.bincount(users) >= 2).sum())
    assert len(parts) == round(0.25 * able)
    assert parts.count(2) == (len(parts) + 1) // 2
    assert split.counts["support"] == (split.labels == 3).sum()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"share": 0.0}, "above 0 and below 1"),
        ({"share": 1.0}, "above 0 and below 1"),
        ({"share": 0.001}, "leaves at least 2 cold"),
        ({"by": "time"}, "needs timestamps"),
    ],
)
def test_impossible_cold_splits_are_refused(options: dict[str, Any], message: str) -> None:
    users, items, _ = events(7, n_users=20)
    for method in ("cold-item", "cold-user"):
        with pytest.raises(InputError, match=message):
            make_split(method, users, items, **options)
    with pytest.raises(UnknownNameError, match="random"):
        make_split("cold-item", users, items, by="rndom")  # type: ignore[arg-type]


def test_support_is_not_a_label_of_a_source() -> None:
    with pytest.raises(InputError, match="labels must be"):
        make_split("given", [0, 0], [0, 1], labels=[0, 3])
    assert Split.from_labels([0, 3], {}).labels.tolist() == [0, 3]
