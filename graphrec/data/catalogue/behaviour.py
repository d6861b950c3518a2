r"""Synthetic users: who would take what, and when.

User u takes item i in proportion to

.. math::
    \exp(b_i + \log \sum_{n \in N(u)} \exp(\sum_t w_t L^t_{n, t(i)}) + w_c C_{g(u), i})

- b, popularity: a power law over a random order of the items; new items are equally popular
- N(u), the user's interests: each interest n likes (L = 1) a few values of every trait t. Colour
  and pattern show in the pictures; style, use, brand and material are told by the texts; the
  family is in both. An item that is liked in many ways at once is taken far more often
- C, pure co-occurrence: each user belongs to a hidden circle g, and each circle adores a few items
  that have nothing in common
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from graphrec.data.catalogue.randomness import stream
from graphrec.data.catalogue.traits import (
    BRAND_NAMES,
    COLOUR_NAMES,
    FAMILY_NAMES,
    MATERIAL_NAMES,
    PATTERN_NAMES,
    STYLE_NAMES,
    USE_NAMES,
    Traits,
)
from graphrec.data.splits import make_split


class Taste(NamedTuple):
    """How a trait matters: an interest likes `liked` of its `values`, with this weight."""

    values: int
    liked: int
    weight: float


# Tuned on seed 0 so that LightGCN clearly beats Popularity, FREEDOM beats LightGCN, and either
# modality alone helps.
TASTES: Mapping[str, Taste] = {
    "family": Taste(len(FAMILY_NAMES), 2, 3.8),
    "colour": Taste(len(COLOUR_NAMES), 2, 3.0),
    "pattern": Taste(len(PATTERN_NAMES), 2, 1.8),
    "style": Taste(len(STYLE_NAMES), 2, 2.5),
    "use": Taste(len(USE_NAMES), 2, 1.2),
    "brand": Taste(len(BRAND_NAMES), 4, 2.2),
    "material": Taste(len(MATERIAL_NAMES), 8, 1.2),
}
INTERESTS = 2500
PER_USER = 2
CIRCLES = 40
ADORED = 25
CIRCLE_WEIGHT = 3.0
POPULARITY_EXPONENT = 0.75
POPULARITY_OFFSET = 12.0
NEW_ITEM_SHARE = 0.08
MEAN_EXTRA = 5.0

OPENED = 1_672_531_200
LAUNCHED = 1_698_796_800
CLOSED = 1_703_980_800
_BLOCK = 500


class Events(NamedTuple):
    """Interactions ordered by time: arrays [E]."""

    users: NDArray[np.int64]
    items: NDArray[np.int64]
    timestamps: NDArray[np.int64]
    labels: NDArray[np.int8]


class Inclinations:
    """How much each user inclines to each item, before chance.

    Args:
        traits: of all items.
        n_users: number of users.
        random: draws interests, circles and popularity.

    Attributes:
        circle: each user's circle, int64 [U].
        adored: items each circle adores, bool [circles, I].
        interests: each user's interests, int64 [U, PER_USER].
    """

    def __init__(self, traits: Traits, n_users: int, random: np.random.Generator) -> None:
        popularity = _popularity(len(traits), random)
        self._popularity = np.where(traits.new, popularity.mean(), popularity)
        self.adored = _chosen(CIRCLES, len(traits), min(ADORED, len(traits)), random)
        self.circle = random.integers(CIRCLES, size=n_users)
        self._suits = np.exp(_tastes(traits, random))
        self.interests = random.integers(INTERESTS, size=(n_users, PER_USER))

    def of(self, users: slice) -> NDArray[np.float64]:
        """Log-odds [n, I] of some users for all items."""
        suits = sum(self._suits[self.interests[users, n]] for n in range(PER_USER))
        circle = CIRCLE_WEIGHT * self.adored[self.circle[users]]
        return np.asarray(self._popularity + np.log(suits) + circle)


def draw_events(traits: Traits, n_users: int, seed: int) -> Events:
    """Draw all interactions with their split.

    Every user has at least 5. The last fifth, as `make_split("user-time")` counts it, is held out
    and lies after `LAUNCHED`, when the new items came out; training lies before.
    """
    random = stream(seed, "behaviour")
    inclinations = Inclinations(traits, n_users, random)
    counts = 5 + np.minimum(random.negative_binomial(1, 1 / (1 + MEAN_EXTRA), n_users), 55)
    wants_new = random.random(n_users) < NEW_ITEM_SHARE
    picked = []
    for start in range(0, n_users, _BLOCK):
        block = slice(start, min(start + _BLOCK, n_users))
        score = inclinations.of(block)
        score += random.gumbel(size=score.shape)
        picked.append(_best(score, traits.new, counts[block], wants_new[block]))
    users = np.repeat(np.arange(n_users), counts)
    return _in_time(users, np.concatenate(picked), counts, traits.new, random)


def _tastes(traits: Traits, random: np.random.Generator) -> NDArray[np.float64]:
    """How well each item suits each interest, [interests, items]."""
    suits = np.zeros((INTERESTS, len(traits)))
    for name, taste in TASTES.items():
        likes = _chosen(INTERESTS, taste.values, taste.liked, random)
        suits += taste.weight * likes[:, getattr(traits, name)]
    return suits


def _popularity(n_items: int, random: np.random.Generator) -> NDArray[np.float64]:
    rank = random.permutation(n_items)
    return np.asarray(-POPULARITY_EXPONENT * np.log(rank + POPULARITY_OFFSET))


def _chosen(rows: int, columns: int, each: int, random: np.random.Generator) -> NDArray[np.bool_]:
    """Bool [rows, columns] with `each` random True per row."""
    place = random.random((rows, columns)).argsort(axis=1).argsort(axis=1)
    return np.asarray(place < each)


def _best(
    score: NDArray[np.float64],
    new: NDArray[np.bool_],
    counts: NDArray[np.int64],
    wants_new: NDArray[np.bool_],
) -> NDArray[np.int64]:
    """Each user's items: the best old ones, the last of them replaced by the best new one."""
    old = np.where(new, -np.inf, score)
    order = np.argsort(-old, axis=1, kind="stable")[:, : counts.max()]
    latest = np.where(new, score, -np.inf).argmax(axis=1)
    last = counts - 1
    order[wants_new, last[wants_new]] = latest[wants_new]
    return order[np.arange(order.shape[1]) < counts[:, None]]


def _in_time(
    users: NDArray[np.int64],
    items: NDArray[np.int64],
    counts: NDArray[np.int64],
    new: NDArray[np.bool_],
    random: np.random.Generator,
) -> Events:
    """Give each user's items a random order, new ones a held-out place, and times to match."""
    last = np.cumsum(counts) - 1
    held = np.where(counts < 10, 2, counts // 5)
    items = items[np.lexsort((random.random(len(items)), users))]
    place = np.flatnonzero(new[items])
    wanted = last[users[place]] - random.integers(held[users[place]])
    items[place], items[wanted] = items[wanted], items[place]
    late = np.arange(len(items)) > (last - held)[users]
    early_times = random.integers(OPENED, LAUNCHED, len(items))
    times = np.where(late, random.integers(LAUNCHED, CLOSED, len(items)), early_times)
    times = times[np.lexsort((times, users))]
    log = np.argsort(times, kind="stable")
    users, items, times = users[log], items[log], times[log]
    labels = make_split("user-time", users, items, times).labels
    return Events(users, items, times, labels)
