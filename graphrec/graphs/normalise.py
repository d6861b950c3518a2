"""Normalisations of an adjacency: symmetric, row and GCN, with one policy for empty rows."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

Norm = Literal["symmetric", "row", "gcn", "none"]


def normalise(
    matrix: Any, norm: Norm = "symmetric", *, columns: NDArray[np.float64] | None = None
) -> sp.csr_array:
    r"""Normalise a sparse adjacency by its degrees.

    With d_i = sum_j A_ij (rows) and d'_j = sum_i A_ij (columns):

    - `"symmetric"`: A_ij / sqrt(d_i d'_j); for a symmetric A this is D^-1/2 A D^-1/2
    - `"row"`: A_ij / d_i, rows sum to 1
    - `"gcn"`: symmetric normalisation of A + I (square matrices only)
    - `"none"`: A as it is

    Zero-degree policy: the inverse of a degree that is not positive is 0, so empty rows and
    columns stay empty and no NaN or infinity appears.

    Args:
        matrix: A.
        norm: one of the above.
        columns: d' of the symmetric norm, where it is not to be the sums of A.

    Source: Semi-Supervised Classification with Graph Convolutional Networks, 2017,
    arXiv 1609.02907 (`"gcn"`).

    Example:
        >>> normalise(sp.csr_array([[0.0, 1.0], [0.0, 0.0]]), "row").toarray()
        array([[0., 1.],
               [0., 0.]])
    """
    csr = sp.csr_array(matrix, dtype=np.float64)
    if norm == "none":
        return csr
    if norm == "gcn":
        csr = sp.csr_array(csr + sp.eye_array(csr.shape[0], format="csr"))
    rows = np.asarray(csr.sum(axis=1)).ravel()
    if norm == "row":
        return _scale(csr, inverse_power(rows, 1.0), np.ones(csr.shape[1]))
    if columns is None:
        columns = np.asarray(csr.sum(axis=0)).ravel()
    return _scale(csr, inverse_power(rows, 0.5), inverse_power(columns, 0.5))


def inverse_power(degrees: NDArray[np.float64], power: float) -> NDArray[np.float64]:
    """Degrees ** -power, and 0 where the degree is not positive."""
    result = np.zeros_like(degrees)
    positive = degrees > 0
    result[positive] = degrees[positive] ** -power
    return result


def _scale(
    matrix: sp.csr_array, left: NDArray[np.float64], right: NDArray[np.float64]
) -> sp.csr_array:
    scaled = sp.dia_array((left[None], [0]), shape=(len(left), len(left))) @ matrix
    return sp.csr_array(scaled @ sp.dia_array((right[None], [0]), shape=(len(right), len(right))))
