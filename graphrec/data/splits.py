"""Splits: which interactions train, which select (valid), which measure (test)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from modalities._base.errors import InputError, UnknownNameError
from modalities._base.identity import digest

TRAIN, VALID, TEST, SUPPORT, DROPPED = 0, 1, 2, 3, -1

COLD_METHODS = ("cold-item", "cold-user")
METHODS = (
    "given",
    "user-random",
    "user-time",
    "global-time",
    "leave-one-out",
    "k-fold",
    *COLD_METHODS,
)

Rounding = Literal["mmrec", "lattice"]
Order = Literal["random", "time"]
_ROUNDINGS = ("mmrec", "lattice")
_ORDERS = ("random", "time")

_LABELS = {
    4: "0 (train), 1 (valid), 2 (test) or -1 (dropped)",
    5: "0 (train), 1 (valid), 2 (test), 3 (support) or -1 (dropped)",
}
_OPTIONS = {
    "user-random": ("rounding",),
    "user-time": ("rounding",),
    "global-time": ("fractions",),
    "k-fold": ("folds", "fold"),
    "cold-item": ("share", "by", "rounding"),
    "cold-user": ("share", "by", "rounding"),
}

_NO_TRAINING = "user has no training interaction"
_AS_GIVEN = "labelled -1 in the source"


@dataclass(frozen=True, eq=False)
class Split:
    """One label per interaction, how the labels were made, and what they amount to.

    Args:
        labels: int8 [E]: 0 train, 1 valid, 2 test, 3 support (history of a cold user, shown when
            that user is measured and never trained on), -1 dropped.
        spec: `method`, `seed` (None where nothing was drawn) and `options`; JSON values.
        counts: interactions per part (`train`, `valid`, `test`), `dropped` by reason, `users` with
            a `valid` or a `test` interaction or with nothing held out (`all_train`), and
            `cold_items`: distinct items of `valid` and of `test` that never occur in training.
    """

    labels: NDArray[np.int8]
    spec: Mapping[str, Any]
    counts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def split_id(self) -> str:
        """Identity of the labels and the spec."""
        return digest(self.labels, dict(self.spec))

    @classmethod
    def from_labels(
        cls, labels: ArrayLike, spec: Mapping[str, Any], counts: Mapping[str, Any] | None = None
    ) -> Split:
        """A split from stored labels.

        Raises:
            InputError: a label is none of -1, 0, 1, 2, 3.
        """
        return cls(_checked_labels(labels), dict(spec), dict(counts or {}))


def check_split_options(method: str, given: Sequence[str]) -> None:
    """Raise `InputError` when an option has no meaning for a method of splitting.

    Example:
        >>> check_split_options("k-fold", ["seed", "fold"])
    """
    valid = ("seed", *_OPTIONS.get(method, ()))
    for name in given:
        if name not in valid:
            raise InputError(
                f"split '{method}' has no option {name}; its options: {', '.join(valid)}"
            )


def make_split(
    method: str,
    users: ArrayLike,
    items: ArrayLike,
    timestamps: ArrayLike | None = None,
    *,
    labels: ArrayLike | None = None,
    seed: int = 0,
    rounding: Rounding = "mmrec",
    fractions: Sequence[float] = (0.8, 0.1, 0.1),
    folds: int = 5,
    fold: int = 0,
    share: float = 0.2,
    by: Order = "random",
) -> Split:
    """Label every interaction train, valid, test or dropped.

    - `given`: `labels` as they are.
    - `user-random`: 8:1:1 within each user, at random. A user with n interactions keeps n - 2
      for training and gives one each to valid and test when n < 10; else h = floor(n / 5) are
      held out and halved, the odd one going to test (`rounding="mmrec"`) or to valid
      (`"lattice"`). The draw of an interaction depends only on the seed, its user and its item,
      so neither the order of the rows nor other users matter.
    - `user-time`: the same numbers, each user's earliest for training, latest for test.
    - `global-time`: the earliest 80 % of all interactions train, the next 10 % are valid, the
      rest test (`fractions`). Held-out interactions of users without training ones are dropped;
      items without training interactions stay and are counted.
    - `leave-one-out`: each user's last interaction is test, the last but one valid; in time
      order, or without timestamps in random order.

    - `k-fold`: each user's interactions fall at random into `folds` parts of sizes that differ by
      one at most; part `fold` is test, the next one valid, the others train. Over all values of
      `fold` every interaction is test once, except those of users with fewer than 3.
    - `cold-item`: a `share` of the items is cold: half of them, drawn at random or (`by="time"`)
      the items that appear last, have all their interactions in test, the other half (appearing
      just before) in valid. The interactions of warm items are split as by `user-random` or
      `user-time`.
    - `cold-user`: a `share` of the users with 2 or more interactions is cold, half of them
      measured in valid, half in test (`by="time"`: the users who appear last). A tenth of a cold
      user's interactions, one at least, is the query that is measured, and the rest the support
      that is shown for it: at random, or the last ones. Warm users are split as above.

    In the per-user methods a user with fewer than 3 interactions is all training. Equal
    timestamps keep file order.

    Args:
        method: one of the above.
        users: int [E], from 0.
        items: int [E], from 0.
        timestamps: int [E], or None.
        labels: int [E] of -1, 0, 1, 2, for `given`.
        seed: of the random methods.
        rounding: of `user-random` and `user-time`.
        fractions: train, valid, test, for `global-time`.
        folds: how many, at least 3, for `k-fold`.
        fold: which one is test, from 0.
        share: of items or users that are cold, above 0 and below 1.
        by: `random` or `time`, for the cold methods.

    Raises:
        InputError: `given` without labels, a time split without timestamps, wrong values.
        UnknownNameError: an unknown method, rounding or order.

    Source: 8:1:1 per user with `mmrec` rounding: MMRec, 2023, arXiv 2302.03497; with `lattice`
    rounding: LATTICE, 2021, arXiv 2104.09036.

    Example:
        >>> split = make_split("leave-one-out", [0, 0, 0, 1], [5, 6, 7, 5], [30, 10, 20, 1])
        >>> split.labels.tolist(), split.counts["users"]["all_train"]
        ([2, 0, 1, 0], 1)
    """
    users, items = _indices("users", users), _indices("items", items)
    if len(users) != len(items):
        raise InputError(f"{len(users)} users but {len(items)} items; give one pair per row")
    if method not in METHODS:
        raise UnknownNameError("split method", method, METHODS)
    if rounding not in _ROUNDINGS:
        raise UnknownNameError("rounding", rounding, _ROUNDINGS)
    times = None if timestamps is None else _checked_times(timestamps, len(users))
    drawn: int | None = None
    options: dict[str, Any] = {}
    dropped: dict[str, int] = {}
    if method == "given":
        made = _given(labels, len(users))
        dropped = {_AS_GIVEN: int((made == DROPPED).sum())}
    elif method == "global-time":
        options = {"fractions": _checked_fractions(fractions)}
        made = _global_time(users, _required(times, method), options["fractions"])
        dropped = {_NO_TRAINING: int((made == DROPPED).sum())}
    elif method in COLD_METHODS:
        if by not in _ORDERS:
            raise UnknownNameError("by", by, _ORDERS)
        drawn = seed if by == "random" else None
        options = {"share": _checked_share(share), "by": by, "rounding": rounding}
        keys = (
            _draws(seed, users, items) if by == "random" else _required(times, f"{method}, by time")
        )
        made = _cold(method, users, items, keys, share, seed if by == "random" else None, rounding)
    elif method == "k-fold":
        drawn, options = seed, {"folds": folds, "fold": fold}
        made = _k_fold(users, _draws(seed, users, items), folds, fold)
    else:
        random = method == "user-random" or (method == "leave-one-out" and times is None)
        if random:
            drawn, keys = seed, _draws(seed, users, items)
        else:
            keys = _required(times, method)
        if method == "leave-one-out":
            options = {"order": "random" if random else "time"}
            made = _label_tails(users, keys, *_leave_one_out_sizes(np.bincount(users)))
        else:
            options = {"rounding": rounding}
            made = _label_tails(users, keys, *_tail_sizes(np.bincount(users), rounding))
    spec = {"method": method, "seed": drawn, "options": options}
    return Split(made, spec, _counts(made, users, items, dropped))


def _given(labels: ArrayLike | None, n: int) -> NDArray[np.int8]:
    if labels is None:
        others = ", ".join(name for name in METHODS if name != "given")
        raise InputError(
            "split 'given' needs labels (a column x_label or split with 0 train, 1 valid, 2 test), "
            f"and these interactions have none; choose another method: {others}"
        )
    made = _checked_labels(labels, (TRAIN, VALID, TEST, DROPPED))
    if len(made) != n:
        raise InputError(f"{len(made)} labels for {n} interactions; give one per interaction")
    return made


def _global_time(
    users: NDArray[np.int64], times: NDArray[Any], fractions: list[float]
) -> NDArray[np.int8]:
    n = len(users)
    first_valid, first_test = (round(n * share) for share in np.cumsum(fractions)[:2].tolist())
    labels = np.empty(n, np.int8)
    order = np.argsort(times, kind="stable")
    labels[order[:first_valid]] = TRAIN
    labels[order[first_valid:first_test]] = VALID
    labels[order[first_test:]] = TEST
    trained = np.zeros(users.max(initial=-1) + 1, bool)
    trained[users[labels == TRAIN]] = True
    labels[~trained[users]] = DROPPED
    return labels


def _k_fold(
    users: NDArray[np.int64], keys: NDArray[Any], folds: int, fold: int
) -> NDArray[np.int8]:
    if folds < 3 or not 0 <= fold < folds:
        raise InputError(
            f"k-fold needs at least 3 folds and a fold from 0 to folds - 1, got folds={folds}, "
            f"fold={fold}"
        )
    order = np.lexsort((keys, users))
    counts = np.bincount(users)
    starts = np.cumsum(counts) - counts
    owner = users[order]
    # Where a user's first part lies depends on the user, so that small users fill all folds.
    part = (np.arange(len(users)) - starts[owner] + owner) % folds
    labels = np.full(len(users), TRAIN, np.int8)
    few = counts[owner] < 3
    labels[order] = np.where(part == fold, TEST, np.where(part == (fold + 1) % folds, VALID, TRAIN))
    labels[order[few]] = TRAIN
    return labels


def _cold(
    method: str,
    users: NDArray[np.int64],
    items: NDArray[np.int64],
    keys: NDArray[Any],
    share: float,
    seed: int | None,
    rounding: Rounding,
) -> NDArray[np.int8]:
    """Everything of cold items is held out; of cold users, part is shown and part is asked."""
    members = items if method == "cold-item" else users
    counts = np.bincount(members)
    able = np.nonzero(counts >= (1 if method == "cold-item" else 2))[0]
    if seed is None:
        rank = np.full(len(counts), np.inf)
        np.minimum.at(rank, members, keys.astype(np.float64))
    else:
        rank = _draws(seed, np.arange(len(counts)), np.zeros(len(counts), np.int64))
    able = able[np.argsort(rank[able], kind="stable")]
    n_cold = round(share * len(able))
    if n_cold < 2 or n_cold == len(able):
        raise InputError(
            f"a share of {share} makes {n_cold} of {len(able)} {method[5:]}s cold; "
            "choose a share that leaves at least 2 cold and one warm"
        )
    part = np.zeros(len(counts), np.int8)
    part[able[-n_cold:]] = VALID
    part[able[-((n_cold + 1) // 2) :]] = TEST
    labels = part[members]
    warm = labels == TRAIN
    sizes = _tail_sizes(np.bincount(users[warm], minlength=users.max() + 1), rounding)
    labels[warm] = _label_tails(users[warm], keys[warm], *sizes)
    if method == "cold-user":
        queries = np.maximum(counts // 10, 1)
        last = _label_tails(users, keys, np.zeros_like(queries), queries)
        labels[~warm & (last != TEST)] = SUPPORT
    return labels


def _label_tails(
    users: NDArray[np.int64],
    keys: NDArray[Any],
    n_valid: NDArray[np.int64],
    n_test: NDArray[np.int64],
) -> NDArray[np.int8]:
    """Label each user's last `n_test` by key test, and the `n_valid` before them valid."""
    order = np.lexsort((keys, users))
    owner = users[order]
    ends = np.cumsum(np.bincount(users, minlength=len(n_test)))
    from_end = ends[owner] - np.arange(len(users))  # 1 for the last of its user
    labels = np.empty(len(users), np.int8)
    held = np.where(from_end <= (n_valid + n_test)[owner], VALID, TRAIN)
    labels[order] = np.where(from_end <= n_test[owner], TEST, held)
    return labels


def _tail_sizes(
    n: NDArray[np.int64], rounding: Rounding
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    held = np.where(n < 10, 2, n // 5)
    held[n < 3] = 0
    smaller = held // 2
    valid, test = (smaller, held - smaller) if rounding == "mmrec" else (held - smaller, smaller)
    return valid, test


def _leave_one_out_sizes(n: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    one = (n >= 3).astype(np.int64)
    return one, one


def _draws(seed: int, users: NDArray[np.int64], items: NDArray[np.int64]) -> NDArray[np.uint64]:
    """A pseudo-random 64-bit number per (seed, user, item)."""
    if seed < 0:
        raise InputError(f"the seed of a split must not be negative, got {seed}")
    key = np.random.SeedSequence(seed).generate_state(2, np.uint64)
    return _mix(_mix(users.astype(np.uint64) + key[0]) ^ (items.astype(np.uint64) + key[1]))


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The SplitMix64 generator's output for state x (Steele et al., 2014)."""
    x = x * np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: NDArray[np.uint64] = x ^ (x >> np.uint64(31))
    return mixed


def _counts(
    labels: NDArray[np.int8],
    users: NDArray[np.int64],
    items: NDArray[np.int64],
    dropped: dict[str, int],
) -> dict[str, Any]:
    parts = {"train": TRAIN, "valid": VALID, "test": TEST}
    trained = np.zeros(items.max(initial=-1) + 1, bool)
    trained[items[labels == TRAIN]] = True
    cold = items[~trained[items]], labels[~trained[items]]
    n = np.bincount(users)
    in_part = {name: len(np.unique(users[labels == parts[name]])) for name in ("valid", "test")}
    return {
        **{name: int((labels == label).sum()) for name, label in parts.items()},
        **({"support": int((labels == SUPPORT).sum())} if (labels == SUPPORT).any() else {}),
        "dropped": {reason: count for reason, count in dropped.items() if count},
        "users": {**in_part, "all_train": _untouched(labels, users, n)},
        "cold_items": {
            name: len(np.unique(cold[0][cold[1] == parts[name]])) for name in ("valid", "test")
        },
    }


def _untouched(labels: NDArray[np.int8], users: NDArray[np.int64], n: NDArray[np.int64]) -> int:
    training = np.bincount(users[labels == TRAIN], minlength=len(n))
    return int(((training == n) & (n > 0)).sum())


def _indices(name: str, values: ArrayLike) -> NDArray[np.int64]:
    array = np.asarray(values)
    if array.ndim != 1 or (len(array) and array.dtype.kind not in "iu"):
        raise InputError(f"{name} must be a list of integers, got {array.dtype} {array.shape}")
    if len(array) and array.min() < 0:
        raise InputError(f"{name} must count from 0, got {array.min()}")
    return array.astype(np.int64)


def _checked_labels(
    labels: ArrayLike, known: Sequence[int] = (TRAIN, VALID, TEST, SUPPORT, DROPPED)
) -> NDArray[np.int8]:
    array = np.asarray(labels)
    wrong = ~np.isin(array, known)
    if wrong.any():
        raise InputError(
            f"labels must be {_LABELS[len(known)]}, got "
            f"{int(wrong.sum()):,} others such as {array[wrong][0]}"
        )
    return array.astype(np.int8)


def _checked_times(timestamps: ArrayLike, n: int) -> NDArray[Any]:
    times = np.asarray(timestamps)
    if len(times) != n:
        raise InputError(f"{len(times)} timestamps for {n} interactions; give one per interaction")
    unknown = int(np.isnan(times).sum()) if times.dtype.kind == "f" else 0
    if unknown:
        raise InputError(f"{unknown:,} timestamps are missing; drop those interactions first")
    return times


def _checked_share(share: float) -> float:
    if not 0 < share < 1:
        raise InputError(f"share is the part that is cold, above 0 and below 1, got {share}")
    return float(share)


def _required(times: NDArray[Any] | None, method: str) -> NDArray[Any]:
    if times is None:
        raise InputError(
            f"split '{method}' needs timestamps, and these interactions have none; name the "
            "timestamp column when importing, or choose user-random or leave-one-out"
        )
    return times


def _checked_fractions(fractions: Sequence[float]) -> list[float]:
    shares = [float(share) for share in fractions]
    if len(shares) != 3 or min(shares) < 0 or shares[0] == 0 or abs(sum(shares) - 1) > 1e-9:
        raise InputError(
            f"fractions must be three shares for train, valid and test that add up to 1 "
            f"(train above 0), got {list(fractions)}"
        )
    return shares
