"""Transforms of features: fitted on rows the caller chooses, applied to every row there is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from modalities._base.errors import InputError, UnknownNameError

Rows = NDArray[np.floating[Any]]
Vector = NDArray[np.float64]
State = Mapping[str, Vector]
"""What a transform has learnt: float64 arrays by name."""

_FILLS = ("mean", "neighbours", "zero")
# Stored features are float32 at best: a direction weaker than their rounding is none.
_ROUNDING = float(np.finfo(np.float32).eps) ** 2


@dataclass(frozen=True, eq=False)
class Table:
    """Features of all items.

    Args:
        values: [I, d]; absent rows are zero.
        present: bool [I].
        pairs: user and item of each training interaction, two integer arrays [E], for
            `impute:neighbours`; or None.
    """

    values: Rows
    present: NDArray[np.bool_]
    pairs: tuple[NDArray[np.integer[Any]], NDArray[np.integer[Any]]] | None = None

    @property
    def dim(self) -> int:
        """Length of a row."""
        return int(self.values.shape[1])


def _dim_or_none(text: str) -> int | None:
    return int(text) if text else None


class Transform:
    """Base of the transforms; `make_transform` makes them from text.

    `fit` sees the rows it may learn from and nothing else, so no other item can leak into the
    state. Arithmetic is float64, results are float32, and absent rows stay absent and zero
    (`Impute` fills them).
    """

    form: ClassVar[str]
    takes: ClassVar[tuple[Callable[[str], Any], ...]] = ()
    needs: ClassVar[int] = 0

    @property
    def name(self) -> str:
        """The text `make_transform` reads back."""
        return self.form

    @property
    def reads_pairs(self) -> bool:
        """Does `apply` look at interactions?"""
        return False

    def fit(self, rows: Rows) -> State:
        """Learn from `rows` [n, d]; nothing where there is nothing to learn.

        Raises:
            InputError: they are too few, or too much alike.
        """
        return {}

    def apply(self, state: State, table: Table) -> Table:
        """The table transformed by what `fit` has learnt."""
        raise NotImplementedError


@dataclass(frozen=True)
class L2(Transform):
    r"""x / \|x\|; zero rows stay zero.

    Example:
        >>> table = Table(np.array([[3.0, 4.0]]), np.array([True]))
        >>> L2().apply({}, table).values
        array([[0.6, 0.8]], dtype=float32)
    """

    form: ClassVar[str] = "l2"

    def apply(self, state: State, table: Table) -> Table:
        """The table with rows of length 1."""
        return _by_row(table, table.dim, _unit)


@dataclass(frozen=True)
class Center(Transform):
    """x - mu, with mu the mean of the fitted rows."""

    form: ClassVar[str] = "center"

    def fit(self, rows: Rows) -> State:
        """The mean [d]."""
        return {"mean": _mean(rows, self.name)}

    def apply(self, state: State, table: Table) -> Table:
        """The table less the mean."""
        return _by_row(table, table.dim, lambda x: x - state["mean"])


@dataclass(frozen=True)
class Pca(Transform):
    """y = V^T (x - mu): the coordinates along the D directions of largest variance.

    V are the leading eigenvectors of the covariance of the fitted rows; of each, the entry of
    largest absolute value is positive, so that signs are reproducible.

    Source: On lines and planes of closest fit, 1901, doi 10.1080/14786440109462720.

    Args:
        dim: D, at most the rank of the centred rows.

    Example:
        >>> rows = np.array([[2.0, 1.0], [4.0, 1.0]])
        >>> pca = Pca(1)
        >>> pca.apply(pca.fit(rows), Table(rows, np.array([True, True]))).values.ravel()
        array([-1.,  1.], dtype=float32)
    """

    dim: int

    form: ClassVar[str] = "pca:D"
    takes: ClassVar[tuple[Callable[[str], Any], ...]] = (int,)
    needs: ClassVar[int] = 1

    def __post_init__(self) -> None:
        _check_dim(self.dim)

    @property
    def name(self) -> str:
        """Such as `pca:128`."""
        return f"pca:{self.dim}"

    def fit(self, rows: Rows) -> State:
        """`mean` [d] and `axes` V^T [D, d]."""
        mean, _, axes = _principal(rows, self.name)
        _check_rank(self.name, self.dim, rows, len(axes))
        return {"mean": mean, "axes": axes[: self.dim]}

    def apply(self, state: State, table: Table) -> Table:
        """The table in the new coordinates, [I, D]."""
        mean, axes = state["mean"], state["axes"]
        return _by_row(table, len(axes), lambda x: (x - mean) @ axes.T)


@dataclass(frozen=True)
class Whiten(Transform):
    r"""y_j = (lambda_j + eps)^(-gamma/2) v_j^T (x - mu): principal coordinates of like scale.

    lambda_j is the variance of the fitted rows along v_j (their sum of squares over n) and eps is
    1e-3 times the mean variance of a dimension, which keeps directions of hardly any variance
    from being blown up. gamma = 1 whitens fully, 1/2 is relaxed, 0 is `Pca`. Neighbours change
    with the scale: tune the k of item graphs again.

    Source: WhitenRec, 2024, arXiv 2402.10602 (full and relaxed whitening of item texts).

    Args:
        dim: D, at most the rank of the centred rows; None: that rank. More than a fifth of the
            fitted rows is mostly noise.
        gamma: 0 to 1.
    """

    dim: int | None = None
    gamma: float = 1.0

    form: ClassVar[str] = "whiten[:D[:GAMMA]]"
    takes: ClassVar[tuple[Callable[[str], Any], ...]] = (_dim_or_none, float)

    def __post_init__(self) -> None:
        if self.dim is not None:
            _check_dim(self.dim)
        if not 0 <= self.gamma <= 1:
            raise InputError(f"gamma of 'whiten' lies between 0 and 1, got {self.gamma}")

    @property
    def name(self) -> str:
        """Such as `whiten:64:0.5`."""
        if self.gamma != 1:
            return f"whiten:{self.dim or ''}:{self.gamma}"
        return "whiten" if self.dim is None else f"whiten:{self.dim}"

    def fit(self, rows: Rows) -> State:
        """`mean` [d], `axes` [D, d] and `scale` [D]."""
        mean, variances, axes = _principal(rows, self.name)
        dim = len(axes) if self.dim is None else self.dim
        _check_rank(self.name, dim, rows, len(axes))
        floor = 1e-3 * variances.sum() / len(mean)
        scale = (variances[:dim] + floor) ** (-self.gamma / 2)
        return {"mean": mean, "axes": axes[:dim], "scale": scale}

    def apply(self, state: State, table: Table) -> Table:
        """The table whitened, [I, D]."""
        mean, axes, scale = state["mean"], state["axes"], state["scale"]
        return _by_row(table, len(axes), lambda x: (x - mean) @ axes.T * scale)


@dataclass(frozen=True)
class Cut(Transform):
    r"""x_{1..D} / \|x_{1..D}\|: the head of a Matryoshka embedding, of length 1 again.

    Source: Matryoshka Representation Learning, 2022, arXiv 2205.13147.

    Args:
        dim: D, at most the length of a row.
    """

    dim: int

    form: ClassVar[str] = "cut:D"
    takes: ClassVar[tuple[Callable[[str], Any], ...]] = (int,)
    needs: ClassVar[int] = 1

    def __post_init__(self) -> None:
        _check_dim(self.dim)

    @property
    def name(self) -> str:
        """Such as `cut:256`."""
        return f"cut:{self.dim}"

    def apply(self, state: State, table: Table) -> Table:
        """The head of each row, [I, D].

        Raises:
            InputError: rows are shorter.
        """
        if self.dim > table.dim:
            raise InputError(f"'{self.name}' cannot cut rows of length {table.dim}")
        return _by_row(table, self.dim, lambda x: _unit(x[:, : self.dim]))


@dataclass(frozen=True)
class Impute(Transform):
    """Rows for items that have none; they count as present from then on.

    - `zero`: zeros;
    - `mean`: the mean of the fitted rows;
    - `neighbours`: the mean of the present rows of all items that share a user with the item in
      the training interactions, each counted once; where there is none, as `mean`.

    Args:
        how: one of the above.

    Example:
        >>> rows = np.array([[2.0], [4.0], [0.0]])
        >>> table = Table(rows, np.array([True, True, False]))
        >>> filled = Impute("mean").apply(Impute("mean").fit(rows[:2]), table)
        >>> filled.values.ravel(), filled.present.tolist()
        (array([2., 4., 3.], dtype=float32), [True, True, True])
    """

    how: str

    form: ClassVar[str] = "impute:zero|mean|neighbours"
    takes: ClassVar[tuple[Callable[[str], Any], ...]] = (str,)
    needs: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if self.how not in _FILLS:
            raise UnknownNameError("imputation", self.how, _FILLS)

    @property
    def name(self) -> str:
        """Such as `impute:mean`."""
        return f"impute:{self.how}"

    @property
    def reads_pairs(self) -> bool:
        """Neighbours share users."""
        return self.how == "neighbours"

    def fit(self, rows: Rows) -> State:
        """The mean [d], where it may be needed."""
        return {} if self.how == "zero" else {"mean": _mean(rows, self.name)}

    def apply(self, state: State, table: Table) -> Table:
        """The table with every row present."""
        absent = np.flatnonzero(~table.present)
        values = table.values.astype(np.float32)
        if len(absent) and self.how == "mean":
            values[absent] = state["mean"]
        elif len(absent) and self.how == "neighbours":
            values[absent] = _neighbour_means(table, absent, state["mean"])
        return replace(table, values=values, present=np.ones_like(table.present))


KINDS: Mapping[str, type[Transform]] = {
    "l2": L2,
    "center": Center,
    "pca": Pca,
    "whiten": Whiten,
    "cut": Cut,
    "impute": Impute,
}
"""The transforms by name."""


def make_transform(text: str) -> Transform:
    """A transform from text.

    Args:
        text: `l2`, `center`, `pca:D`, `whiten[:D[:GAMMA]]`, `cut:D` or `impute:HOW`; or one that
            spoils features on purpose: `drop:SHARE[:SEED]`, `noise:SCALE[:SEED]`,
            `shuffle[:SEED]`, see `modalities.corruptions`.

    Raises:
        UnknownNameError: none is called so.
        InputError: arguments that it does not take.

    Example:
        >>> make_transform("whiten:64:0.5")
        Whiten(dim=64, gamma=0.5)
        >>> make_transform("pca")
        Traceback (most recent call last):
        modalities._base.errors.InputError: transform 'pca' is not of the form pca:D
    """
    from modalities.corruptions import CORRUPTIONS

    kinds = {**KINDS, **CORRUPTIONS}
    name, *arguments = text.strip().split(":")
    if name not in kinds:
        raise UnknownNameError("transform", name, kinds)
    kind = kinds[name]
    wrong = InputError(f"transform '{text}' is not of the form {kind.form}")
    if not kind.needs <= len(arguments) <= len(kind.takes):
        raise wrong
    try:
        values = [read(argument) for read, argument in zip(kind.takes, arguments)]
    except ValueError:
        raise wrong from None
    return kind(*values)


def concatenate(tables: Sequence[Table]) -> Table:
    """Rows side by side; an item is present when any part is, and an absent part is zeros.

    Example:
        >>> here = Table(np.array([[1.0], [2.0]]), np.array([True, True]))
        >>> part = Table(np.array([[3.0], [0.0]]), np.array([True, False]))
        >>> concatenate([here, part]).values.tolist()
        [[1.0, 3.0], [2.0, 0.0]]
    """
    values = np.concatenate([table.values for table in tables], axis=1)
    present = np.any([table.present for table in tables], axis=0)
    return Table(values, present, tables[0].pairs)


def _by_row(table: Table, dim: int, function: Callable[[Vector], Vector]) -> Table:
    values = np.zeros((len(table.values), dim), dtype=np.float32)
    for block in _blocks(np.flatnonzero(table.present)):
        values[block] = function(table.values[block].astype(np.float64))
    return replace(table, values=values)


def _blocks(indices: NDArray[np.intp], size: int = 4096) -> Iterator[NDArray[np.intp]]:
    for start in range(0, len(indices), size):
        yield indices[start : start + size]


def _unit(rows: Vector) -> Vector:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 0)


def _mean(rows: Rows, name: str) -> Vector:
    if len(rows) == 0:
        raise InputError(f"'{name}' has no rows to learn from: give it at least one")
    return np.asarray(rows.mean(axis=0, dtype=np.float64))


def _principal(rows: Rows, name: str) -> tuple[Vector, Vector, Vector]:
    """Mean, variances in descending order and their directions, one a row, up to the rank."""
    n, d = rows.shape
    mean = _mean(rows, name)
    if n < d:
        _, strengths, axes = np.linalg.svd(rows - mean, full_matrices=False)
        variances = strengths**2 / n
    else:
        ascending, columns = np.linalg.eigh(_covariance(rows, mean))
        variances, axes = ascending[::-1], columns.T[::-1]
    # The mean takes one direction of n rows, which rounding may hide.
    kept = (variances > variances[0] * max(n, d) * _ROUNDING) & (np.arange(len(axes)) < n - 1)
    return mean, variances[kept], _fixed_signs(axes[kept])


def _covariance(rows: Rows, mean: Vector) -> Vector:
    total = np.zeros((len(mean), len(mean)))
    for block in _blocks(np.arange(len(rows))):
        centred = rows[block] - mean
        total += centred.T @ centred
    return total / len(rows)


def _fixed_signs(axes: Vector) -> Vector:
    largest = np.abs(axes).argmax(axis=1)
    return np.asarray(axes * np.sign(axes[np.arange(len(axes)), largest])[:, None])


def _check_dim(dim: int) -> None:
    if dim < 1:
        raise InputError(f"a transform keeps at least 1 dimension, got {dim}")


def _check_rank(name: str, dim: int, rows: Rows, rank: int) -> None:
    if not 1 <= dim <= rank:
        n, d = rows.shape
        raise InputError(
            f"'{name}' asks for more directions than there are: the {n:,} rows it learns from "
            f"differ in {rank:,} of their {d:,} dimensions; choose at most {rank:,}"
        )


def _neighbour_means(table: Table, items: NDArray[np.intp], otherwise: Vector) -> Vector:
    """Rows for `items`: the mean over present items that share a user, else `otherwise`."""
    from scipy import sparse

    if table.pairs is None:
        raise InputError("'impute:neighbours' needs training interactions; there are none here")
    users, seen = (np.asarray(column) for column in table.pairs)
    shape = (int(users.max(initial=0)) + 1, len(table.values))
    matrix = sparse.csc_array((np.ones(len(users)), (users, seen)), shape=shape)
    sources = np.flatnonzero(table.present)
    having = matrix[:, sources].tocsr()
    blocks = [np.zeros((0, table.dim))]
    for block in _blocks(items, 256):
        near = (matrix[:, block].T @ having).tocsr()
        near.data[:] = 1.0
        used = np.unique(near.indices)
        sums = near[:, used] @ table.values[sources[used]].astype(np.float64)
        counts = np.diff(near.indptr)[:, None]
        blocks.append(np.where(counts > 0, sums / np.maximum(counts, 1), otherwise))
    return np.concatenate(blocks)
