"""What a feature store is like: coverage, repeated rows, zero rows, norms."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modalities.store import FeatureStore

_BLOCK = 2048


@dataclass(frozen=True)
class FeatureStatistics:
    """A feature store in figures; all but `items` are about present rows.

    Args:
        items: rows of the store.
        present: rows that are there.
        dim: length of a row.
        distinct_rows: how many different rows there are.
        duplicate_rows: rows equal to at least one other.
        largest_group: size of the largest group of equal rows.
        zero_rows: rows of zeros only.
        norm_min: least Euclidean norm.
        norm_median: median norm.
        norm_max: greatest norm.
    """

    items: int
    present: int
    dim: int
    distinct_rows: int
    duplicate_rows: int
    largest_group: int
    zero_rows: int
    norm_min: float
    norm_median: float
    norm_max: float

    @property
    def coverage(self) -> float:
        """Share of items that have the modality."""
        return self.present / self.items if self.items else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**asdict(self), "coverage": self.coverage}


def feature_statistics(store: FeatureStore) -> FeatureStatistics:
    """Look through a store block by block; it is never held in memory as a whole.

    Rows are equal when all their values are, 0 and -0 being the same.

    Example:
        >>> rows = np.array([[3.0, 4.0], [3.0, 4.0], [0.0, 0.0]], dtype=np.float32)
        >>> found = feature_statistics(FeatureStore.from_arrays(rows, ["a", "b", "c"]))
        >>> found.distinct_rows, found.duplicate_rows, found.zero_rows, found.norm_max
        (2, 2, 1, 5.0)
    """
    groups: Counter[bytes] = Counter()
    norms = [np.zeros(0)]
    for block in _blocks(store):
        groups.update(hashlib.blake2b(row, digest_size=16).digest() for row in block + 0)
        norms.append(np.linalg.norm(block.astype(np.float64), axis=1))
    lengths = np.concatenate(norms)
    low, middle, high = np.percentile(lengths, [0, 50, 100]) if len(lengths) else (0.0, 0.0, 0.0)
    return FeatureStatistics(
        items=len(store),
        present=len(lengths),
        dim=store.dim,
        distinct_rows=len(groups),
        duplicate_rows=sum(size for size in groups.values() if size > 1),
        largest_group=max(groups.values(), default=0),
        zero_rows=int((lengths == 0).sum()),
        norm_min=float(low),
        norm_median=float(middle),
        norm_max=float(high),
    )


def _blocks(store: FeatureStore) -> Iterator[NDArray[Any]]:
    rows = np.flatnonzero(store.present)
    for start in range(0, len(rows), _BLOCK):
        yield store.rows(rows[start : start + _BLOCK])
