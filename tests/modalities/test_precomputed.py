from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import save_file

from modalities._base.errors import InputError
from modalities.precomputed import read_precomputed
from tests.npy import write_object_array

VALUES = np.arange(12, dtype=np.float32).reshape(4, 3) + 1
IDS = ["a", "b", "c", "d"]


def test_rows_in_item_order(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", VALUES)
    store = read_precomputed(tmp_path / "x.npy", IDS, kind="text")
    np.testing.assert_array_equal(store.values(), VALUES)
    assert store.modality == "text"
    with pytest.raises(InputError, match="4 rows for 3 items"):
        read_precomputed(tmp_path / "x.npy", IDS[:3])


def test_rows_by_id(tmp_path: Path) -> None:
    wanted = ["c", "x", "a"]
    np.save(tmp_path / "x.npy", VALUES)
    (tmp_path / "ids.txt").write_text("\n".join(IDS))
    np.savez(tmp_path / "x.npz", features=VALUES, item_ids=np.array(IDS))
    table = pl.DataFrame({"asin": IDS, "vector": VALUES.tolist()})
    table.write_parquet(tmp_path / "list.parquet")
    wide = pl.DataFrame({"item_id": IDS, **{f"x{k}": VALUES[:, k] for k in range(3)}})
    wide.write_parquet(tmp_path / "wide.parquet")
    for name, options in (
        ("x.npy", {"ids": str(tmp_path / "ids.txt")}),
        ("x.npz", {}),
        ("list.parquet", {}),
        ("wide.parquet", {}),
    ):
        store = read_precomputed(tmp_path / name, wanted, **options)  # type: ignore[arg-type]
        np.testing.assert_array_equal(store.values(), [VALUES[2], [0, 0, 0], VALUES[0]])
        assert store.present.tolist() == [True, False, True]


def test_rows_of_nothing_are_absent(tmp_path: Path) -> None:
    rows: list[Any] = [[1.0, 2.0], None, [3.0, 4.0]]
    pl.DataFrame({"item_id": IDS[:3], "v": rows}).write_parquet(tmp_path / "x.parquet")
    store = read_precomputed(tmp_path / "x.parquet", IDS[:3])
    assert store.present.tolist() == [True, False, True]
    broken = VALUES.copy()
    broken[1, 2] = np.nan
    np.save(tmp_path / "x.npy", broken)
    with pytest.raises(InputError, match="1 of 4 feature rows"):
        read_precomputed(tmp_path / "x.npy", IDS)


def test_several_matrices_need_a_name(tmp_path: Path) -> None:
    save_file({"a": VALUES, "b": VALUES * 2}, tmp_path / "x.safetensors")
    with pytest.raises(InputError, match="2 matrices"):
        read_precomputed(tmp_path / "x.safetensors", IDS)
    store = read_precomputed(tmp_path / "x.safetensors", IDS, key="b")
    np.testing.assert_array_equal(store.values(), VALUES * 2)
    with pytest.raises(InputError, match="unknown matrix"):
        read_precomputed(tmp_path / "x.safetensors", IDS, key="c")


def test_what_cannot_be_read_is_one_message(tmp_path: Path) -> None:
    write_object_array(tmp_path / "o.npy", (1,))
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04")
    (tmp_path / "bad.parquet").write_bytes(b"no")
    (tmp_path / "bad.safetensors").write_bytes(b"no")
    (tmp_path / "x.csv").write_text("a")
    for name in ("o.npy", "cut.npz", "bad.parquet", "bad.safetensors"):
        with pytest.raises(InputError, match="cannot read"):
            read_precomputed(tmp_path / name, IDS)
    with pytest.raises(InputError, match=r"unknown format of vectors '.csv'"):
        read_precomputed(tmp_path / "x.csv", IDS)
    with pytest.raises(InputError, match="does not exist"):
        read_precomputed(tmp_path / "none.npy", IDS)


def test_ids_of_nobody_show_both_sides(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", features=VALUES, item_ids=np.array(["1", "2", "3", "4"]))
    with pytest.raises(InputError, match=r"it has '1', '2', '3', ..., the dataset 'a', 'b'"):
        read_precomputed(tmp_path / "x.npz", IDS)
