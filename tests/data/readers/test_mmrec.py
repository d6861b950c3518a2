"""MMRec folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from graphrec.data.readers import read_mmrec
from modalities._base.errors import InputError
from tests.npy import write_object_array

INTER = "userID\titemID\trating\textra\tx_label\n2\t0\t5.0\tq\t0\n0\t4\t3\tq\t1\n2\t1\t1\tq\t2\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "toy"
    place.mkdir()
    (place / "toy.inter").write_text(INTER)
    return place


def save(folder: Path, name: str, values: np.ndarray) -> None:
    np.save(folder / f"{name}_feat.npy", values)


def test_reads_interactions_labels_and_fixed_ids(folder: Path) -> None:
    source = read_mmrec(folder)
    assert source.name == "toy"
    assert source.interactions.rows() == [
        ("2", "0", 5.0, 0),
        ("0", "4", 3.0, 1),
        ("2", "1", 1.0, 2),
    ]
    assert source.interactions.columns == ["user", "item", "rating", "label"]
    assert source.item_ids == ["0", "1", "2", "3", "4"]
    assert source.user_ids == ["0", "1", "2"]
    assert source.items is None
    assert source.features == {}


def test_labels_and_rating_are_optional_and_the_file_itself_can_be_given(folder: Path) -> None:
    (folder / "toy.inter").write_text("itemID\tuserID\ttimestamp\n1\t0\t1393372800\n")
    source = read_mmrec(folder / "toy.inter")
    assert source.interactions.rows() == [("0", "1", 1393372800)]


def test_features_of_any_name_with_their_kind(folder: Path) -> None:
    random = np.random.default_rng(0)
    given = {name: random.normal(size=(5, 3)) for name in ("v", "image", "text", "audio", "pose")}
    for name, values in given.items():
        save(folder, name, values)
    features = read_mmrec(folder).features
    assert {name: store.modality for name, store in features.items()} == {
        **{"v": "image", "image": "image", "text": "text", "audio": "audio", "pose": "other"}
    }
    for name, store in features.items():
        np.testing.assert_array_equal(store.values(), given[name].astype(np.float32))
        assert store.item_ids == ["0", "1", "2", "3", "4"]


def test_item_table(folder: Path) -> None:
    (folder / "items.tsv").write_text(
        'itemID\tasin\ttitle\n1\tB1\t17" wheel\n0\tB0\t\n9\tB9\tgone\n'
    )
    source = read_mmrec(folder)
    assert source.items is not None
    assert source.items.rows() == [("1", "B1", '17" wheel'), ("0", "B0", None)]
    assert source.notes["items_without_row"] == 1


def test_wrong_number_of_feature_rows_names_both(folder: Path) -> None:
    save(folder, "text", np.zeros((4, 2)))
    with pytest.raises(InputError, match=r"text_feat.npy' has 4 rows, .* name 5 items"):
        read_mmrec(folder)


def test_pickled_arrays_are_refused(folder: Path) -> None:
    write_object_array(folder / "text_feat.npy", (5,))
    with pytest.raises(InputError, match="pickled object array, which is not read for safety"):
        read_mmrec(folder)


def test_damaged_and_misshapen_arrays_are_refused(folder: Path) -> None:
    (folder / "text_feat.npy").write_bytes(b"no array")
    with pytest.raises(InputError, match="not a readable npy file"):
        read_mmrec(folder)
    save(folder, "text", np.zeros(5))
    with pytest.raises(InputError, match=r"shape \[items, d\], got float64 of shape \[5\]"):
        read_mmrec(folder)
    np.save(folder / "text_feat.npy", np.array([["a"]] * 5))
    with pytest.raises(InputError, match="must hold numbers"):
        read_mmrec(folder)


def test_nonfinite_features_are_counted_or_treated(folder: Path) -> None:
    values = np.ones((5, 2), dtype=np.float32)
    values[3, 1] = np.nan
    save(folder, "text", values)
    with pytest.raises(InputError, match="1"):
        read_mmrec(folder)
    store = read_mmrec(folder, nonfinite="missing").features["text"]
    assert store.present.tolist() == [True, True, True, False, True]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("userID\tx_label\n1\t0\n", "has no column 'itemID'; its columns: userID, x_label"),
        ("userID\titemID\n", "holds no interactions"),
        ("", "is empty"),
        ("userID\titemID\n0\t1\n0\tB00X\n", r"1 values of itemID .* 'B00X' in line 3"),
        ("userID\titemID\n0\t1\n-1\t2\n", r"1 values of userID .* '-1' in line 3"),
        ("userID\titemID\tx_label\n0\t1\t7\n", r"1 labels that are not .* \(the first: '7'\)"),
        ("userID\titemID\n0\t99999999\n", "these are no row numbers"),
    ],
)
def test_bad_interactions(folder: Path, text: str, message: str) -> None:
    (folder / "toy.inter").write_text(text)
    with pytest.raises(InputError, match=message):
        read_mmrec(folder)


def test_missing_and_ambiguous_files(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_mmrec(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"holds no '\*.inter' file"):
        read_mmrec(tmp_path)
    (folder / "other.inter").write_text(INTER)
    assert read_mmrec(folder).name == "toy"
    (folder / "toy.inter").rename(folder / "third.inter")
    with pytest.raises(InputError, match=r"several interaction files \(other.inter, third.inter\)"):
        read_mmrec(folder)


def test_real_folders(real_data: Path) -> None:
    sports = read_mmrec(real_data / "sports")
    assert (len(sports.user_ids or ()), len(sports.item_ids or ())) == (35_598, 18_357)
    assert np.bincount(sports.interactions["label"]).tolist() == [218_409, 40_029, 37_899]
    assert sports.features["text"].dim == 384
    assert sports.items is not None
    assert sports.items.row(0)[:2] == ("0", "B001EYH3AG")
    lines = (real_data / "sports" / "sports.inter").read_text().splitlines()[1:]
    expected = pl.DataFrame([line.split("\t") for line in lines], orient="row")
    assert sports.interactions["user"].to_list() == expected["column_0"].to_list()
    assert sports.interactions["item"].to_list() == expected["column_1"].to_list()
    lastfm = read_mmrec(real_data / "lastfm")
    assert {n: s.modality for n, s in lastfm.features.items()} == {"audio": "audio", "text": "text"}
    assert lastfm.interactions["rating"].null_count() == 0
