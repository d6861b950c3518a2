from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from modalities import FeatureStore, feature_statistics


def test_figures_of_a_hand_made_store(tmp_path: Path) -> None:
    rows = np.array(
        [[3, 4], [0, 0], [3, 4], [6, 8], [-0.0, 0.0], [9, 9], [3, 4], [5, 12]], dtype=np.float32
    )
    present = np.array([True, True, True, True, True, False, True, True])
    store = FeatureStore.from_arrays(rows, list("abcdefgh"), present=present)
    store.save(tmp_path / "s", rows_per_part=3)
    for found in (feature_statistics(store), feature_statistics(FeatureStore.load(tmp_path / "s"))):
        assert (found.items, found.present, found.dim) == (8, 7, 2)
        assert (found.distinct_rows, found.duplicate_rows, found.largest_group) == (4, 5, 3)
        assert found.zero_rows == 2
        assert (found.norm_min, found.norm_median, found.norm_max) == (0.0, 5.0, 13.0)
        assert found.coverage == 7 / 8


def test_groups_agree_with_numpy_across_blocks() -> None:
    random = np.random.default_rng(0)
    rows = random.normal(size=(40, 6)).astype(np.float16)[random.integers(0, 40, 5000)]
    found = feature_statistics(FeatureStore.from_arrays(rows, [str(n) for n in range(5000)]))
    _, counts = np.unique(rows, axis=0, return_counts=True)
    assert found.distinct_rows == len(counts)
    assert found.largest_group == counts.max()
    assert found.duplicate_rows == counts[counts > 1].sum()
    norms = np.linalg.norm(rows.astype(float), axis=1)
    assert found.norm_median == pytest.approx(np.median(norms))


def test_a_store_of_absent_rows() -> None:
    store = FeatureStore.from_arrays(np.ones((2, 3)), ["a", "b"], present=np.zeros(2, bool))
    found = feature_statistics(store)
    assert (found.present, found.distinct_rows, found.largest_group) == (0, 0, 0)
    assert found.to_dict()["norm_max"] == 0


def test_repeated_rows_of_real_features(real_data: Path) -> None:
    rows = np.load(real_data / "sports" / "text_feat.npy", allow_pickle=False)
    found = feature_statistics(FeatureStore.from_arrays(rows, [str(n) for n in range(len(rows))]))
    assert (found.items, found.distinct_rows, found.largest_group) == (18_357, 6_016, 230)
