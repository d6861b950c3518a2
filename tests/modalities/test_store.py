from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from modalities import FeatureStore
from modalities._base.errors import InputError
from modalities._base.files import atomic_folder


def values(n: int = 10, d: int = 3) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=(n, d)).astype(np.float32)


def ids(n: int = 10) -> list[str]:
    return [f"i{k}" for k in range(n)]


@pytest.fixture
def store() -> FeatureStore:
    present = np.ones(10, dtype=bool)
    present[4] = False
    return FeatureStore.from_arrays(values(), ids(), present=present, modality="text")


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("rows_per_part", [3, 5, 100])
def test_round_trip_in_parts(tmp_path: Path, dtype: Any, rows_per_part: int) -> None:
    given = values().astype(dtype)
    store = FeatureStore.from_arrays(given, ids(), modality="image", spec={"encoder": "x", "a": 1})
    store.save(tmp_path / "s", rows_per_part=rows_per_part)
    back = FeatureStore.load(tmp_path / "s")
    assert len(list((tmp_path / "s").glob("part-*.safetensors"))) == -(-10 // rows_per_part)
    np.testing.assert_array_equal(back.values(), given)
    np.testing.assert_array_equal(back.rows(np.array([9, 0, 4, 4])), given[[9, 0, 4, 4]])
    assert back.dtype == dtype
    assert back.item_ids == ids()
    assert back.modality == "image"
    assert back.spec == {"encoder": "x", "a": 1}
    assert back.feature_id == store.feature_id
    assert all(isinstance(part, np.memmap) for part in back.parts)


def test_absent_rows_are_zero_and_stay_absent(store: FeatureStore, tmp_path: Path) -> None:
    assert not store.values()[4].any()
    store.save(tmp_path / "s")
    back = FeatureStore.load(tmp_path / "s")
    assert back.present.tolist() == store.present.tolist()
    assert back.coverage == 0.9


def test_other_number_types_become_float32() -> None:
    store = FeatureStore.from_arrays(values().astype(np.float64), ids())
    assert store.dtype == np.float32
    assert FeatureStore.from_arrays(np.ones((2, 2), dtype=int), ["a", "b"]).dtype == np.float32


def test_select_aligns_by_id(store: FeatureStore) -> None:
    chosen = store.select(["i9", "new", "i4", "i0"])
    np.testing.assert_array_equal(chosen.values()[[0, 3]], values()[[9, 0]])
    assert chosen.present.tolist() == [True, False, False, True]
    assert chosen.errors[1] == "missing"


def test_identity_follows_content_spec_and_presence(store: FeatureStore) -> None:
    same = FeatureStore.from_arrays(values(), ids(), present=store.present, modality="text")
    assert same.feature_id == store.feature_id
    changed = values()
    changed[2, 0] += 1
    others = [
        FeatureStore.from_arrays(changed, ids(), present=store.present, modality="text"),
        FeatureStore.from_arrays(values(), ids(), modality="text"),
        FeatureStore.from_arrays(values(), ids(), present=store.present, modality="image"),
        FeatureStore.from_arrays(
            values(), ids(), present=store.present, modality="text", spec={"encoder": "other"}
        ),
    ]
    assert len({store.feature_id, *(other.feature_id for other in others)}) == 5


def test_rows_that_are_not_finite() -> None:
    bad = values()
    bad[1, 0], bad[7, 2] = np.nan, np.inf
    with pytest.raises(InputError, match="2 of 10 feature rows hold NaN or infinity"):
        FeatureStore.from_arrays(bad, ids())
    missing = FeatureStore.from_arrays(bad, ids(), nonfinite="missing")
    assert np.flatnonzero(~missing.present).tolist() == [1, 7]
    assert np.isfinite(missing.values()).all()
    zero = FeatureStore.from_arrays(bad, ids(), nonfinite="zero")
    assert zero.present.all()
    assert zero.values()[1, 0] == 0
    assert zero.values()[1, 1] == bad[1, 1]


@pytest.mark.parametrize(
    ("matrix", "names", "message"),
    [
        (values(9), ids(), "9 rows for 10 items"),
        (values(), ["a"] * 10, r"9 item id\(s\) occur more than once"),
        (values()[0], ids(), "numeric matrix"),
        (np.array([["x"]], dtype=object), ["a"], "numeric matrix"),
    ],
)
def test_wrong_shapes(matrix: Any, names: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        FeatureStore.from_arrays(matrix, names)


@pytest.fixture
def saved(store: FeatureStore, tmp_path: Path) -> Path:
    store.save(tmp_path / "s", rows_per_part=4)
    return tmp_path / "s"


def test_a_missing_part(saved: Path) -> None:
    (saved / "part-000001.safetensors").unlink()
    with pytest.raises(InputError, match=r"part-000001\.safetensors' is missing"):
        FeatureStore.load(saved)


@pytest.mark.parametrize("kept", [0, 5, 60, 150])
def test_a_part_cut_short(saved: Path, kept: int) -> None:
    part = saved / "part-000000.safetensors"
    part.write_bytes(part.read_bytes()[:kept])
    with pytest.raises(InputError, match=r"part-000000\.safetensors' is damaged"):
        FeatureStore.load(saved)


def test_a_part_of_another_shape(saved: Path) -> None:
    (saved / "part-000002.safetensors").replace(saved / "part-000000.safetensors")
    with pytest.raises(InputError, match="expected"):
        FeatureStore.load(saved)


def test_items_that_do_not_belong(saved: Path) -> None:
    table = pl.read_parquet(saved / "items.parquet")
    table.head(5).write_parquet(saved / "items.parquet")
    with pytest.raises(InputError, match="lists 5 items, its spec says 10"):
        FeatureStore.load(saved)
    table.with_columns(pl.col("item_id") + "x").write_parquet(saved / "items.parquet")
    with pytest.raises(InputError, match="changed after it was written"):
        FeatureStore.load(saved)


def test_a_later_version_and_no_store(saved: Path, tmp_path: Path) -> None:
    spec = json.loads((saved / "spec.json").read_text())
    (saved / "spec.json").write_text(json.dumps({**spec, "version": 2}))
    with pytest.raises(InputError, match="format version 2"):
        FeatureStore.load(saved)
    with pytest.raises(InputError, match="does not exist"):
        FeatureStore.load(tmp_path / "nowhere")


def test_saving_is_all_or_nothing(
    store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.numpy.save_file", full)
    with pytest.raises(OSError, match="No space left"):
        store.save(tmp_path / "s")
    assert list(tmp_path.iterdir()) == []


def test_a_taken_folder(saved: Path, store: FeatureStore) -> None:
    with pytest.raises(InputError, match="already exists"):
        store.save(saved)


def test_atomic_folder_cleans_up(tmp_path: Path) -> None:
    def fail() -> None:
        with atomic_folder(tmp_path / "a") as folder:
            (folder / "x").write_text("half")
            raise OSError

    with pytest.raises(OSError, match=r"^$"):
        fail()
    assert list(tmp_path.iterdir()) == []
