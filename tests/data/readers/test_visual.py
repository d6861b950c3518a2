"""Binary picture features."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from graphrec.data.readers import read_visual_features, visual
from modalities._base.errors import InputError

IDS = [f"B{n:09d}" for n in range(7)]


def records(dim: int) -> tuple[bytes, np.ndarray]:
    values = np.random.default_rng(0).normal(size=(len(IDS), dim)).astype(np.float32)
    rows = (i.encode() + struct.pack(f"<{dim}f", *row) for i, row in zip(IDS, values, strict=True))
    return b"".join(rows), values


@pytest.mark.parametrize("zipped", [False, True])
def test_wanted_rows_only_in_the_order_asked(
    tmp_path: Path, zipped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(visual, "_RECORDS", 3)
    data, values = records(4096)
    file = tmp_path / "image_features_Toys.b"
    file.write_bytes(gzip.compress(data, 1) if zipped else data)
    store = read_visual_features(file, [IDS[5], "absent", IDS[0]])
    assert (store.modality, store.dim, store.item_ids) == (
        "image",
        4096,
        [IDS[5], "absent", IDS[0]],
    )
    assert store.present.tolist() == [True, False, True]
    np.testing.assert_array_equal(store.values()[[0, 2]], values[[5, 0]])
    assert not store.values()[1].any()


def test_first_record_of_an_id_counts(tmp_path: Path) -> None:
    data, values = records(3)
    file = tmp_path / "f.b"
    file.write_bytes(data + IDS[2].encode() + bytes(12))
    store = read_visual_features(file, IDS, dim=3)
    np.testing.assert_array_equal(store.values(), values)


def test_nonfinite_rows(tmp_path: Path) -> None:
    file = tmp_path / "f.b"
    file.write_bytes(IDS[0].encode() + struct.pack("<2f", 1, np.inf) + IDS[1].encode() + bytes(8))
    with pytest.raises(InputError, match="1"):
        read_visual_features(file, IDS, dim=2)
    store = read_visual_features(file, IDS, dim=2, nonfinite="missing")
    assert store.present.tolist() == [False, True] + [False] * 5


def test_bad_files(tmp_path: Path) -> None:
    data, _ = records(3)
    file = tmp_path / "f.b"
    with pytest.raises(InputError, match="does not exist"):
        read_visual_features(file, IDS)
    file.write_bytes(b"")
    with pytest.raises(InputError, match="is empty"):
        read_visual_features(file, IDS)
    file.write_bytes(data[:-1])
    with pytest.raises(InputError, match="no whole number of records of 22 bytes"):
        read_visual_features(file, IDS, dim=3)
    file.write_bytes(gzip.compress(data[:-1]))
    with pytest.raises(InputError, match="no whole number of records"):
        read_visual_features(file, IDS, dim=3)
    file.write_bytes(gzip.compress(data)[:-9])
    with pytest.raises(InputError, match="is truncated"):
        read_visual_features(file, IDS, dim=3)
    file.write_bytes(data)
    with pytest.raises(InputError, match="none of the 2 items"):
        read_visual_features(file, ["x", "y"], dim=3)
