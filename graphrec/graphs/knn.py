"""Frozen item-item graphs: exact cosine k nearest neighbours of item features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor

from graphrec.data.randomness import generator
from graphrec.data.train_view import TrainView
from graphrec.graphs.building import builder
from graphrec.graphs.graph import Graph
from graphrec.graphs.normalise import inverse_power, normalise
from modalities._base.errors import InputError, UnknownNameError

Weights = Literal["binary", "cosine"]
KnnNorm = Literal["rowdeg_both", "symmetric", "row", "none"]
Ties = Literal["hash", "index"]

_RESOLUTION = 1e-6
_LEAST = 1e-30
_HASH_BITS = 31
_INVALID = torch.iinfo(torch.int64).min


def cosine_neighbours(
    values: Tensor,
    present: Tensor | None = None,
    k: int = 10,
    *,
    include_self: bool = True,
    ties: Ties = "hash",
    block_size: int = 256,
    n_known: int | None = None,
    transductive: bool = False,
) -> tuple[Tensor, Tensor]:
    """The k nearest rows of each row by cosine, exactly, in row blocks.

    Self comes first, then cosine descending. Cosines equal to 1e-6 count as tied and are ordered
    by a fixed hash of (row, column), so that the result depends on neither block size nor device
    and rows with many duplicates do not become hubs. A row that is absent, zero or not finite
    has no neighbours and is nobody's.

    Args:
        values: features, shape [I, d].
        present: bool [I]; default: all.
        k: neighbours per row, self included.
        include_self: count the row itself as its first neighbour; without it the k others.
        ties: `"hash"`, or `"index"` for the lower column first.
        block_size: rows per block; memory is O(block_size * I).
        n_known: rows from this one on are new: they have neighbours among the known rows, but are
            nobody's; None: no row is new.
        transductive: new rows may be neighbours of new rows.

    Returns:
        Neighbours, int64 [I, k], -1 where a row has fewer; and their cosines, float64 [I, k],
        0 at those places.

    Example:
        >>> neighbours, _ = cosine_neighbours(torch.tensor([[1.0, 0], [1, 0.1], [0, 1]]), k=2)
        >>> neighbours
        tensor([[0, 1],
                [1, 0],
                [2, 1]])
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    unit, valid = _unit_rows(values, present)
    n, device = len(unit), unit.device
    neighbours = torch.full((n, k), -1, dtype=torch.long, device=device)
    cosines = torch.zeros((n, k), dtype=torch.float64, device=device)
    candidates = valid.nonzero().squeeze(1)
    columns = unit[candidates]
    order = _tie_order(n, ties, device, n_known)
    new = candidates >= (n if n_known is None else n_known)
    for rows in candidates.split(block_size):
        cosine = unit[rows] @ columns.T
        key = _sort_key(cosine, *order, rows, candidates)
        if n_known is not None:
            barred = new & (rows < n_known).unsqueeze(1) if transductive else new.expand_as(key)
            key.masked_fill_(barred, _INVALID)
        own = torch.searchsorted(candidates, rows).unsqueeze(1)
        key.scatter_(1, own, torch.iinfo(torch.int64).max if include_self else _INVALID)
        best, place = key.topk(min(k, len(candidates)), dim=1)
        kept = best != _INVALID
        width = place.shape[1]
        neighbours[rows, :width] = torch.where(kept, candidates[place], -1)
        cosines[rows, :width] = cosine.gather(1, place) * kept
    return neighbours, cosines


@builder(reads=("features",))
def knn_graph(
    train: TrainView,
    modality: str,
    k: int = 10,
    weights: Weights = "binary",
    include_self: bool = True,
    norm: KnnNorm = "rowdeg_both",
    ties: Ties = "hash",
) -> Graph:
    r"""The kNN graph of one modality: a directed edge i -> j for each neighbour j of i.

    Args:
        train: gives the features.
        modality: their name.
        k: neighbours per item, the item itself included.
        weights: `"binary"` (1) or `"cosine"`.
        include_self: keep the item as its own first neighbour.
        norm: `"rowdeg_both"` divides w_ij by sqrt(r_i r_j) with *row* sums r on both ends, as
            the published code does (with binary weights every edge becomes 1/k);
            `"symmetric"` uses row and column sums, so that hubs are damped; `"row"`; `"none"`.
        ties: see `cosine_neighbours`.

    Returns:
        A graph of shape [I, I]; items without the modality have an empty row and column.

    Source: LATTICE, 2021, arXiv 2104.09036 (`"cosine"`); FREEDOM, 2023, arXiv 2211.06924.

    Raises:
        InputError: k is above the number of items.
    """
    check_k(k, train.n_items)
    features = train.features[modality]
    neighbours, cosines = cosine_neighbours(
        features.values,
        features.present,
        k,
        include_self=include_self,
        ties=ties,
        n_known=train.n_known,
        transductive=train.transductive,
    )
    return Graph.from_scipy(_knn_matrix(neighbours, cosines, weights, norm, train.n_known))


@builder(reads=("features",))
def mixed_knn_graph(
    train: TrainView,
    modality_weights: Mapping[str, float],
    k: int = 10,
    weights: Weights = "binary",
    include_self: bool = True,
    norm: KnnNorm = "rowdeg_both",
    ties: Ties = "hash",
) -> Graph:
    r"""The weighted mean of several modalities' kNN graphs.

    S_ij = sum_m w_im S^m_ij with w_im = w_m / sum over the modalities item i has; an item with
    none has an empty row. With every modality present this is sum_m w_m S^m.

    Args:
        train: gives the features.
        modality_weights: weight w_m of each modality, by name; see `default_modality_weights`.
        k: as in `knn_graph`, like the rest, for each modality.
        weights: `"binary"` or `"cosine"`.
        include_self: keep the item as its own first neighbour.
        norm: of each modality's graph.
        ties: see `cosine_neighbours`.
    """
    mixed: sp.csr_array | None = None
    total = np.zeros(train.n_items)
    for modality, weight in modality_weights.items():
        single = train.graph(knn_graph, modality, k, weights, include_self, norm, ties)
        matrix = single.to_scipy().astype(np.float64)
        has_edges = np.diff(matrix.indptr) > 0
        total += weight * has_edges
        mixed = weight * matrix if mixed is None else mixed + weight * matrix
    if mixed is None:
        raise ValueError("a mixed kNN graph needs at least one modality")
    scale = inverse_power(total, 1.0)
    return Graph.from_scipy(sp.dia_array((scale[None], [0]), shape=mixed.shape) @ mixed)


def check_k(k: int, n_items: int) -> None:
    """Raise `InputError` unless an item can have k neighbours, itself included."""
    if k > n_items:
        raise InputError(
            f"k={k} neighbours were asked for and the catalogue has {n_items} items; "
            f"choose k from 1 to {n_items}"
        )


def default_modality_weights(kinds: Mapping[str, str]) -> dict[str, float]:
    """Weights of modalities by kind: images share 0.1 and the rest 0.9 when both exist.

    Args:
        kinds: kind of each modality, by name, in the order of use.

    Example:
        >>> default_modality_weights({"photo": "image", "text": "text"})
        {'photo': 0.1, 'text': 0.9}
        >>> default_modality_weights({"audio": "audio", "text": "text"})
        {'audio': 0.5, 'text': 0.5}
    """
    images = [name for name, kind in kinds.items() if kind == "image"]
    if not images or len(images) == len(kinds):
        return {name: 1.0 / len(kinds) for name in kinds}
    others = len(kinds) - len(images)
    return {name: 0.1 / len(images) if name in images else 0.9 / others for name in kinds}


def checked_modality_weights(
    weights: Mapping[str, float] | None, names: Sequence[str], kinds: Mapping[str, str]
) -> dict[str, float]:
    """The weights given, checked against the modalities in use, or the defaults.

    Raises:
        UnknownNameError: a weight for a modality that is not in use.
        InputError: a weight is negative, not a number or out of float32's reach, or all are zero.
    """
    if weights is None:
        return default_modality_weights({name: kinds[name] for name in names})
    for name in weights:
        if name not in names:
            raise UnknownNameError("modality", name, names)
    shares = {name: float(weights.get(name, 0.0)) for name in names}
    sane = all(share == 0 or _LEAST <= share <= 1 / _LEAST for share in shares.values())
    if not sane or not any(shares.values()):
        raise InputError(
            f"modality weights must be 0 or more, and one above 0 (between {_LEAST:g} and "
            f"{1 / _LEAST:g}); got {dict(weights)}"
        )
    return shares


def modality_shares(train: TrainView, weights: Mapping[str, float] | None) -> dict[str, float]:
    """`checked_modality_weights` for the modalities of the training data."""
    kinds = {name: features.kind for name, features in train.features.items()}
    return checked_modality_weights(weights, list(kinds), kinds)


def _unit_rows(values: Tensor, present: Tensor | None) -> tuple[Tensor, Tensor]:
    rows = values.double()
    norms = rows.norm(dim=1)
    valid = (norms > 0) & norms.isfinite()
    if present is not None:
        valid &= present.to(valid.device)
    return torch.where(valid.unsqueeze(1), rows / norms.unsqueeze(1), 0.0), valid


def _tie_order(
    n: int, ties: Ties, device: torch.device, n_known: int | None
) -> tuple[Tensor, Tensor]:
    """Marks of rows and of columns; those of known rows do not depend on how many are new."""
    if ties == "index":
        column = 2**_HASH_BITS - 1 - torch.arange(n, device=device)
        return torch.zeros(n, dtype=torch.long, device=device), column
    random = generator(0, "knn ties")
    known = n if n_known is None else n_known
    sizes = (known, n - known)
    drawn = [torch.randint(2**_HASH_BITS, (2, size), generator=random) for size in sizes]
    marks = torch.cat(drawn, 1).to(device)
    return marks[0], marks[1]


def _sort_key(
    cosine: Tensor,
    row_mark: Tensor,
    column_mark: Tensor,
    rows: Tensor,
    columns: Tensor,
) -> Tensor:
    # The irrational offset keeps rational cosines (0.5, 1/128, ...) off the rounding boundary.
    level = (cosine / _RESOLUTION + 0.61803398875).floor_().long()
    mark = row_mark[rows].unsqueeze(1) ^ column_mark[columns]
    return level.bitwise_left_shift_(_HASH_BITS).add_(mark)


def _knn_matrix(
    neighbours: Tensor,
    cosines: Tensor,
    weights: Weights,
    norm: KnnNorm,
    n_known: int | None = None,
) -> sp.csr_array:
    """The normalised adjacency; edges of new rows do not count in the degrees of known columns."""
    n = len(neighbours)
    kept = (neighbours >= 0).cpu().numpy()
    rows: NDArray[np.int64] = np.nonzero(kept)[0]
    columns = neighbours.cpu().numpy()[kept]
    data = np.ones(len(rows)) if weights == "binary" else cosines.cpu().numpy()[kept]
    matrix = sp.csr_array((data, (rows, columns)), shape=(n, n))
    if norm != "rowdeg_both":
        columns = None
        if n_known is not None:
            columns = np.asarray(matrix.sum(axis=0)).ravel()
            columns[:n_known] = np.asarray(matrix[:n_known].sum(axis=0)).ravel()[:n_known]
        return normalise(matrix, norm, columns=columns)
    scale = inverse_power(np.asarray(matrix.sum(axis=1)).ravel(), 0.5)
    return sp.csr_array((data * scale[rows] * scale[columns], (rows, columns)), shape=(n, n))
