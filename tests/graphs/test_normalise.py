from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from graphrec.graphs import normalise
from graphrec.graphs.normalise import Norm


@pytest.fixture
def dense() -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    return np.array([[0.0, 2, 1], [1, 0, 0], [0, 0, 0]])


def reference(matrix: np.ndarray, norm: str) -> np.ndarray:
    if norm == "gcn":
        matrix = matrix + np.eye(len(matrix))
    result = np.zeros_like(matrix)
    for i in range(len(matrix)):
        for j in range(len(matrix)):
            if matrix[i, j]:
                row, column = matrix[i].sum(), matrix[:, j].sum()
                result[i, j] = matrix[i, j] / (row if norm == "row" else np.sqrt(row * column))
    return result


@pytest.mark.parametrize("norm", ["symmetric", "row", "gcn"])
def test_against_loops(dense: np.ndarray, norm: Norm) -> None:
    result = normalise(sp.csr_array(dense), norm).toarray()
    np.testing.assert_allclose(result, reference(dense, norm))
    assert np.isfinite(result).all()


def test_none_changes_nothing(dense: np.ndarray) -> None:
    np.testing.assert_array_equal(normalise(sp.csr_array(dense), "none").toarray(), dense)
