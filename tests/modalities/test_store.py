from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

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
    maps = Path("/proc/self/maps").read_text()
    assert all(str(file) in maps for file in (tmp_path / "s").glob("part-*"))
    assert not any(part.flags.owndata or part.flags.writeable for part in back.parts)


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
    assert chosen.errors == [None, "missing", "missing", None]
    assert chosen.digests[3] == store.digests[0]
    assert store.select(list(store.item_ids)) is store
    with pytest.raises(InputError, match=r"1 item id\(s\) occur more than once"):
        store.select(["i0", "i1", "i0"])


def test_select_from_disk_equals_select_in_memory(store: FeatureStore, tmp_path: Path) -> None:
    store.save(tmp_path / "s", rows_per_part=3)
    wanted = ["i8", "none", "i2", "i4"]
    here, there = store.select(wanted), FeatureStore.load(tmp_path / "s").select(wanted)
    np.testing.assert_array_equal(there.values(), here.values())
    assert there.feature_id == here.feature_id
    assert there.path is None


def test_rows_out_of_range(store: FeatureStore) -> None:
    assert store.rows([]).shape == (0, 3)
    for wrong in (-1, 10):
        with pytest.raises(IndexError, match="of 10"):
            store.rows([0, wrong])


def test_rows_reads_only_the_parts_it_needs(store: FeatureStore, tmp_path: Path) -> None:
    store.save(tmp_path / "s", rows_per_part=4)
    back = FeatureStore.load(tmp_path / "s")
    (tmp_path / "s" / "part-000002.safetensors").unlink()
    np.testing.assert_array_equal(back.rows([5, 0]), store.values()[[5, 0]])
    with pytest.raises(InputError, match="changed while the store was in use"):
        back.rows([9])


def test_no_file_stays_open(store: FeatureStore, tmp_path: Path) -> None:
    store.save(tmp_path / "s", rows_per_part=1)
    before = len(os.listdir("/proc/self/fd"))
    back = FeatureStore.load(tmp_path / "s")
    assert back.rows(np.arange(10)).shape == (10, 3)
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_layout_on_disk(store: FeatureStore, tmp_path: Path) -> None:
    store.save(tmp_path / "s", rows_per_part=4)
    assert sorted(path.name for path in (tmp_path / "s").iterdir()) == [
        "items.parquet",
        "part-000000.safetensors",
        "part-000001.safetensors",
        "part-000002.safetensors",
        "spec.json",
    ]
    spec = json.loads((tmp_path / "s" / "spec.json").read_text())
    assert spec == {
        "format": "graphrec.features",
        "version": 1,
        "feature_id": store.feature_id,
        "modality": "text",
        "dim": 3,
        "dtype": "float32",
        "count": 10,
        "rows_per_part": 4,
        "spec": {"encoder": "precomputed"},
        "made": {},
        "checksums": [
            hashlib.blake2b((tmp_path / "s" / name).read_bytes(), digest_size=16).hexdigest()
            for name in sorted(p.name for p in (tmp_path / "s").glob("part-*"))
        ],
    }
    last = load_file(tmp_path / "s" / "part-000002.safetensors")
    np.testing.assert_array_equal(last["features"], values()[8:])
    assert last["present"].tolist() == [True, True]
    table = pl.read_parquet(tmp_path / "s" / "items.parquet")
    assert table.columns == ["row", "item_id", "present", "error", "digest"]
    assert table["row"].to_list() == list(range(10))
    assert table.row(4) == (4, "i4", False, "missing", None)
    assert table["digest"].null_count() == 1


def test_an_empty_store_round_trips(tmp_path: Path) -> None:
    FeatureStore.from_arrays(np.zeros((0, 4), np.float32), []).save(tmp_path / "s")
    back = FeatureStore.load(tmp_path / "s")
    assert (len(back), back.dim, back.coverage) == (0, 4, 0.0)
    assert back.values().shape == (0, 4)


def test_a_loaded_store_saves_the_same_in_other_parts(store: FeatureStore, tmp_path: Path) -> None:
    store.save(tmp_path / "a", rows_per_part=3)
    FeatureStore.load(tmp_path / "a").save(tmp_path / "b", rows_per_part=7)
    back = FeatureStore.load(tmp_path / "b")
    np.testing.assert_array_equal(back.values(), store.values())
    assert back.feature_id == store.feature_id


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
    absent = np.arange(10) != 1
    bad[1, 0], bad[7, 2] = np.nan, np.inf
    with pytest.raises(InputError, match="2 of 10 feature rows hold NaN or infinity"):
        FeatureStore.from_arrays(bad, ids())
    missing = FeatureStore.from_arrays(bad, ids(), nonfinite="missing")
    assert np.flatnonzero(~missing.present).tolist() == [1, 7]
    assert np.isfinite(missing.values()).all()
    assert [missing.errors[1], missing.errors[0]] == ["not-finite", None]
    assert (missing.digests[1], missing.digests[0] != "") == ("", True)
    zero = FeatureStore.from_arrays(bad, ids(), nonfinite="zero")
    assert zero.present.all()
    assert zero.values()[1, 0] == 0
    assert zero.values()[1, 1] == bad[1, 1]
    with pytest.raises(InputError, match="1 of 10 feature rows"):
        FeatureStore.from_arrays(bad, ids(), present=absent)
    assert np.isnan(bad[1, 0])


@pytest.mark.parametrize(
    ("matrix", "names", "message"),
    [
        (values(9), ids(), "9 rows for 10 items"),
        (values(), ["a"] * 10, r"9 item id\(s\) occur more than once"),
        (values()[0], ids(), "numeric matrix"),
        (np.array([["x"]], dtype=object), ["a"], "numeric matrix"),
        (values(2), ["a", 7], "must be strings, got 7 of type int"),
    ],
)
def test_wrong_shapes(matrix: Any, names: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        FeatureStore.from_arrays(matrix, names)


@pytest.mark.parametrize("name", ["present", "digests", "errors"])
def test_columns_of_another_length(name: str) -> None:
    column: Any = {"present": np.ones(9, bool), "digests": ["x"] * 9, "errors": [None] * 9}[name]
    with pytest.raises(InputError, match=f"'{name}' has 9 entries for 10 rows"):
        FeatureStore.from_arrays(values(), ids(), **{name: column})


def test_digests_of_inputs_make_the_identity() -> None:
    one = FeatureStore.from_arrays(values(), ids(), digests=ids())
    same_inputs = FeatureStore.from_arrays(values() * 2, ids(), digests=ids())
    other = FeatureStore.from_arrays(values(), ids(), digests=[*ids(9), "changed"])
    assert one.feature_id == same_inputs.feature_id
    assert one.feature_id != other.feature_id


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


def test_no_parts_of_no_rows(store: FeatureStore, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="rows_per_part must be at least 1"):
        store.save(tmp_path / "s", rows_per_part=0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("cut", [1, 9, 20])
def test_a_part_without_its_last_bytes(saved: Path, cut: int) -> None:
    part = saved / "part-000001.safetensors"
    part.write_bytes(part.read_bytes()[:-cut])
    with pytest.raises(InputError, match=r"part-000001\.safetensors' is damaged: expected"):
        FeatureStore.load(saved)


def test_a_part_with_garbage_at_its_start(saved: Path) -> None:
    part = saved / "part-000000.safetensors"
    data = part.read_bytes()
    for head in (b"\xff" * 8, b"\x02" + bytes(7) + b"[]", b"\x04" + bytes(7) + b"null"):
        part.write_bytes(head + data[len(head) :])
        with pytest.raises(InputError, match=r"part-000000\.safetensors' is damaged"):
            FeatureStore.load(saved)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"present": np.ones(4, bool)}, "no tensor 'features'"),
        ({"features": np.ones((4, 3), np.float32)}, "no tensor 'present'"),
        (
            {"features": np.ones((4, 3), np.float16), "present": np.ones(4, bool)},
            r"expected 'features' as F32 \[4, 3\], got F16",
        ),
        (
            {"features": np.ones((4, 3), np.float32), "present": np.zeros(4, bool)},
            "mask of present rows differs",
        ),
    ],
)
def test_a_part_with_other_tensors(saved: Path, tensors: dict[str, Any], message: str) -> None:
    save_file(tensors, saved / "part-000000.safetensors")
    with pytest.raises(InputError, match=message):
        FeatureStore.load(saved)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("modality", "smell"),
        ("dtype", "float64"),
        ("dtype", None),
        ("dim", -1),
        ("dim", "3"),
        ("rows_per_part", 0),
        ("count", None),
        ("spec", []),
    ],
)
def test_impossible_values_in_the_spec(saved: Path, key: str, value: object) -> None:
    spec = json.loads((saved / "spec.json").read_text())
    (saved / "spec.json").write_text(json.dumps({**spec, key: value}))
    with pytest.raises(InputError, match=rf"spec\.json' is damaged: '{key}'"):
        FeatureStore.load(saved)


@pytest.mark.parametrize("kept", [0, 3, 100, 400])
def test_a_list_of_items_cut_short(saved: Path, kept: int) -> None:
    table = saved / "items.parquet"
    table.write_bytes(table.read_bytes()[:kept])
    with pytest.raises(InputError, match=r"items\.parquet' is damaged"):
        FeatureStore.load(saved)


def test_a_list_of_items_on_which_the_reader_panics(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Polars panics, outside `Exception`, on some flipped bytes."""

    def panic(path: Path) -> None:
        raise pl.exceptions.PanicException("called `Result::unwrap()` on an `Err` value")

    monkeypatch.setattr(pl, "read_parquet", panic)
    with pytest.raises(InputError, match=r"items\.parquet' is damaged: called"):
        FeatureStore.load(saved)


def test_a_list_of_items_that_is_missing(saved: Path) -> None:
    (saved / "items.parquet").unlink()
    with pytest.raises(InputError, match=r"items\.parquet' is missing"):
        FeatureStore.load(saved)


def test_a_list_of_items_with_other_columns(saved: Path) -> None:
    path = saved / "items.parquet"
    table = pl.read_parquet(path)
    table.drop("error").write_parquet(path)
    with pytest.raises(InputError, match="expected columns"):
        FeatureStore.load(saved)
    table.with_columns(pl.lit("i0").alias("item_id")).write_parquet(path)
    with pytest.raises(InputError, match=r"9 item id\(s\) occur more than once"):
        FeatureStore.load(saved)
    table.with_columns(pl.lit(None, pl.Boolean).alias("present")).write_parquet(path)
    with pytest.raises(InputError, match="no mark of presence"):
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
    (saved / "spec.json").write_text(json.dumps({**spec, "format": "other"}))
    with pytest.raises(InputError, match=r"not a graphrec\.features manifest"):
        FeatureStore.load(saved)
    with pytest.raises(InputError, match="does not exist"):
        FeatureStore.load(tmp_path / "nowhere")


@pytest.mark.parametrize("failing_at", [0, 2])
def test_a_full_disk_leaves_nothing(
    store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing_at: int
) -> None:
    written: list[Path] = []
    write = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if len(written) == failing_at:
            write(path, data[: len(data) // 2])
            raise OSError(28, "No space left on device")
        written.append(path)
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        store.save(tmp_path / "s", rows_per_part=4)
    assert len(written) == failing_at
    assert list(tmp_path.iterdir()) == []


def test_an_exception_after_the_parts_leaves_nothing(
    store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr("modalities.store.write_json", broken)
    with pytest.raises(RuntimeError, match="broken"):
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


@pytest.mark.parametrize("rows_per_part", [1, 3, 4, 10, 50])
def test_rows_in_any_order_and_in_a_row(tmp_path: Path, rows_per_part: int) -> None:
    given = values().astype(np.float32)
    FeatureStore.from_arrays(given, ids()).save(tmp_path / "s", rows_per_part=rows_per_part)
    store = FeatureStore.load(tmp_path / "s")
    random = np.random.default_rng(0)
    for first in range(10):
        for last in range(first + 1, 11):
            np.testing.assert_array_equal(store.rows(np.arange(first, last)), given[first:last])
    for _ in range(50):
        wanted = random.integers(0, 10, random.integers(0, 20))
        np.testing.assert_array_equal(store.rows(wanted), given[wanted])
