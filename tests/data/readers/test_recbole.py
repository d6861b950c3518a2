"""RecBole atomic files."""

from __future__ import annotations

from pathlib import Path

import pytest

from graphrec.data.readers import read_recbole
from modalities._base.errors import InputError

INTER = (
    "user_id:token\titem_id:token\trating:float\ttimestamp:float\tlabel:float\n"
    "01\t242\t3\t881250949\t1\nu2\t302\t3.5\t891717742.0\t0\n"
)
ITEM = 'item_id:token\ttitle:token_seq\tyear:float\tvec:float_seq\n242\tKolya ("1996")\t1996\t1 2\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "ml"
    place.mkdir()
    (place / "ml.inter").write_text(INTER)
    return place


def test_interactions_and_items(folder: Path) -> None:
    (folder / "ml.item").write_text(ITEM)
    (folder / "ml.user").write_text("user_id:token\tage:token\n01\t24\n")
    source = read_recbole(folder)
    assert source.name == "ml"
    assert source.interactions.columns == ["user", "item", "timestamp", "rating"]
    assert source.interactions.rows() == [
        ("01", "242", 881250949, 3.0),
        ("u2", "302", 891717742, 3.5),
    ]
    assert source.items is not None
    assert source.items.rows() == [("242", 'Kolya ("1996")', "1996", "1 2")]
    assert source.notes["not_read"] == ["ml.user"]


def test_other_field_names(folder: Path) -> None:
    (folder / "ml.inter").write_text("uid:token\tsong:token\nu\ts\n")
    assert read_recbole(folder, columns={"user": "uid", "item": "song"}).interactions.rows() == [
        ("u", "s")
    ]
    with pytest.raises(InputError, match=r"no column for the user ids.* Its columns: uid, song"):
        read_recbole(folder)


def test_split_files_give_labels(folder: Path) -> None:
    (folder / "ml.inter").unlink()
    header = "user_id:token\titem_id:token\n"
    for part, rows in {"train": "u\ta\nu\tb\n", "valid": "u\tc\n", "test": "u\td\n"}.items():
        (folder / f"ml.{part}.inter").write_text(header + rows)
    source = read_recbole(folder)
    assert source.interactions.rows() == [
        ("u", "a", 0),
        ("u", "b", 0),
        ("u", "c", 1),
        ("u", "d", 2),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("user_id:token\titem_id\nu\ti\n", r"fields without a type \(item_id\)"),
        ("user_id:token\titem_id:word\nu\ti\n", r"fields without a type \(item_id:word\)"),
        ("user_id:token\titem_id:token\n", "holds no rows"),
        ("", "is empty"),
    ],
)
def test_bad_interactions(folder: Path, text: str, message: str) -> None:
    (folder / "ml.inter").write_text(text)
    with pytest.raises(InputError, match=message):
        read_recbole(folder)


def test_bad_items_and_missing_files(tmp_path: Path, folder: Path) -> None:
    (folder / "ml.item").write_text("movie:token\n1\n")
    with pytest.raises(InputError, match=r"no column 'item_id'.*Its columns: movie"):
        read_recbole(folder)
    (folder / "ml.item").write_text("item_id:token\n1\n1\n")
    with pytest.raises(InputError, match="1 repeated item ids"):
        read_recbole(folder)
    with pytest.raises(InputError, match=r"holds no NAME.inter"):
        read_recbole(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        read_recbole(tmp_path / "nowhere")


def test_bad_rows(folder: Path) -> None:
    (folder / "ml.inter").write_text(INTER + "\t5\t1\t5\t1\n")
    assert len(read_recbole(folder).interactions) == 2
    with pytest.raises(InputError, match="1 without a usable user"):
        read_recbole(folder, strict=True)
