"""Transforms that spoil features on purpose, to see what a model makes of it.

Draws depend on the seed and the number of items alone, so a greater share of dropped rows holds
every row a smaller one dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from modalities._base.errors import InputError
from modalities.transforms import Rows, State, Table, Transform


@dataclass(frozen=True)
class Drop(Transform):
    """A share of the present rows becomes absent.

    Args:
        share: of the present rows, in [0, 1]; rounded to whole rows.
        seed: which.

    Example:
        >>> table = Table(np.ones((4, 1), np.float32), np.array([True, True, True, True]))
        >>> int(Drop(0.5).apply({}, table).present.sum())
        2
    """

    share: float
    seed: int = 0

    form: ClassVar[str] = "drop:SHARE[:SEED]"
    takes: ClassVar[tuple[Callable[[str], Any], ...]] = (float, int)
    needs: ClassVar[int] = 1

    def __post_init__(self) -> None:
        _check_share("drop", self.share)
        _check_seed("drop", self.seed)

    @property
    def name(self) -> str:
        """Such as `drop:0.3:0`."""
        return f"drop:{self.share:g}:{self.seed}"

    def apply(self, state: State, table: Table) -> Table:
        """The table with fewer rows present."""
        gone = _some(table.present, self.share, np.random.default_rng(self.seed))
        present, values = table.present.copy(), table.values.astype(np.float32)
        present[gone], values[gone] = False, 0
        return replace(table, values=values, present=present)


@dataclass(frozen=True)
class Noise(Transform):
    r"""x + SCALE s e, e standard normal, s the deviation of the fitted rows' entries.

    s is the root mean square of the entries less their columns' means, one number for all.

    Args:
        scale: of the noise; 1 is as much noise as there is signal.
        seed: of e.
    """

    scale: float
    seed: int = 0

    form: ClassVar[str] = "noise:SCALE[:SEED]"
    takes: ClassVar[tuple[Callable[[str], Any], ...]] = (float, int)
    needs: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if not 0 <= self.scale < float("inf"):
            raise InputError(f"'noise' takes a scale of 0 or more, got {self.scale:g}")
        _check_seed("noise", self.seed)

    @property
    def name(self) -> str:
        """Such as `noise:0.5:0`."""
        return f"noise:{self.scale:g}:{self.seed}"

    def fit(self, rows: Rows) -> State:
        """The deviation s, [1]."""
        if not len(rows):
            raise InputError(f"'{self.name}' has no rows to learn from")
        centred = rows.astype(np.float64) - rows.mean(0, dtype=np.float64)
        return {"deviation": np.sqrt(np.mean(centred**2, keepdims=True)).ravel()}

    def apply(self, state: State, table: Table) -> Table:
        """The table with noise on its present rows."""
        noise = np.random.default_rng(self.seed).standard_normal(table.values.shape)
        noisy = table.values + self.scale * state["deviation"] * noise
        values = np.where(table.present[:, None], noisy, 0.0).astype(np.float32)
        return replace(table, values=values)


@dataclass(frozen=True)
class Shuffle(Transform):
    """The present rows given to other items at random: content without meaning.

    Args:
        seed: of the permutation.
        share: of the present rows, in [0, 1], that change places among themselves.

    Example:
        >>> table = Table(np.arange(3.0)[:, None], np.array([True, True, True]))
        >>> sorted(Shuffle().apply({}, table).values.ravel().tolist())
        [0.0, 1.0, 2.0]
    """

    seed: int = 0
    share: float = 1.0

    form: ClassVar[str] = "shuffle[:SEED[:SHARE]]"
    takes: ClassVar[tuple[Callable[[str], Any], ...]] = (int, float)
    needs: ClassVar[int] = 0

    def __post_init__(self) -> None:
        _check_share("shuffle", self.share)
        _check_seed("shuffle", self.seed)

    @property
    def name(self) -> str:
        """Such as `shuffle:0`, or `shuffle:0:0.5` of half the rows."""
        return f"shuffle:{self.seed}" + (f":{self.share:g}" if self.share < 1 else "")

    def apply(self, state: State, table: Table) -> Table:
        """The table with present rows permuted."""
        which = np.random.default_rng([self.seed, 1])
        known = np.sort(_some(table.present, self.share, which))
        values = table.values.astype(np.float32)
        values[known] = values[np.random.default_rng(self.seed).permutation(known)]
        return replace(table, values=values)


CORRUPTIONS: Mapping[str, type[Transform]] = {"drop": Drop, "noise": Noise, "shuffle": Shuffle}
"""The corruptions by name."""
SPOILING: Mapping[str, str] = {
    "missing": "drop:{level:g}:{seed}",
    "noise": "noise:{level:g}:{seed}",
    "shuffled": "shuffle:{seed}:{level:g}",
}
"""What can be done to features more and less, and the transforms that do it."""


def spoiling(kind: str, level: float, seed: int = 0) -> str:
    """The transform that spoils features to a level, as `make_transform` reads it.

    Args:
        kind: of `SPOILING`.
        level: a share of the rows, or the scale of the noise.
        seed: of the draw.

    Example:
        >>> spoiling("missing", 0.5), spoiling("shuffled", 1)
        ('drop:0.5:0', 'shuffle:0:1')
    """
    return SPOILING[kind].format(level=level, seed=seed)


def _some(
    present: NDArray[np.bool_], share: float, random: np.random.Generator
) -> NDArray[np.intp]:
    """A share of the present rows at random; a greater share holds a smaller one."""
    order = random.permutation(len(present))
    candidates = order[present[order]]
    return candidates[: round(share * len(candidates))]


def _check_share(name: str, share: float) -> None:
    if not 0 <= share <= 1:
        raise InputError(f"'{name}' takes a share from 0 to 1, got {share:g}")


def _check_seed(name: str, seed: int) -> None:
    if seed < 0:
        raise InputError(f"the seed of '{name}' must not be negative, got {seed}")
