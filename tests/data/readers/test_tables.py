"""Plain tables, frames and picture folders."""

from __future__ import annotations

import csv
import gzip
from datetime import datetime, timezone
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from graphrec.data.images import picture_stem
from graphrec.data.readers import read_tables
from modalities._base.errors import InputError

EVENTS = pl.DataFrame(
    {
        "user_id": ["u1", "u2", "u1"],
        "item_id": ["007", "a.b", "008"],
        "timestamp": ["10", "20", "30"],
        "split": ["train", "test", "valid"],
        "unused": ["x", "y", "z"],
    }
)
EXPECTED = [("u1", "007", 10, 0), ("u2", "a.b", 20, 2), ("u1", "008", 30, 1)]
ITEMS = pl.DataFrame({"item_id": ["007", "a.b"], "title": ["Bond", "dots, and commas"]})


def write(frame: pl.DataFrame, path: Path) -> Path:
    separator = "\t" if ".tsv" in path.name else ","
    if path.suffix == ".parquet":
        frame.write_parquet(path)
    elif path.suffix == ".gz":
        path.write_bytes(gzip.compress(frame.write_csv(separator=separator).encode()))
    else:
        frame.write_csv(path, separator=separator)
    return path


@pytest.mark.parametrize("name", ["e.csv", "e.tsv", "e.parquet", "e.csv.gz", "e.tsv.gz", "E.CSV"])
def test_files_keep_ids_as_text(tmp_path: Path, name: str) -> None:
    source = read_tables(write(EVENTS, tmp_path / name))
    assert source.interactions.select("user", "item", "timestamp", "label").rows() == EXPECTED
    assert source.name == name[0]


def test_frames_of_both_libraries() -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is optional")
    for frame in (EVENTS, EVENTS.lazy(), pandas.DataFrame(EVENTS.to_dict(as_series=False))):
        source = read_tables(frame)
        assert source.interactions.select("user", "item", "timestamp", "label").rows() == EXPECTED
    gaps = pandas.DataFrame({"user": [1, None, 3], "item": [4, 5, 6], "rating": [1.0, 2.0, None]})
    source = read_tables(gaps)
    assert source.interactions.rows() == [("1", "4", 1.0), ("3", "6", None)]
    assert source.notes["missing"] == {"user": 1, "rating": 1}


def test_anything_else_is_refused() -> None:
    with pytest.raises(
        InputError, match="must be a file, a Polars frame or a pandas frame, got list"
    ):
        read_tables([1, 2])  # type: ignore[arg-type]


def test_a_repeated_column_is_refused(tmp_path: Path) -> None:
    (tmp_path / "e.csv").write_text("user,item,user\na,b,c\n")
    with pytest.raises(InputError, match=r"e.csv' has two columns named 'user'; rename one"):
        read_tables(tmp_path / "e.csv")


def test_nameless_columns_and_names_like_those_of_polars_are_read(tmp_path: Path) -> None:
    (tmp_path / "e.csv").write_text("user,item,,,note,note_duplicated_0\na,b,,,c,d\n")
    assert read_tables(tmp_path / "e.csv").interactions.select("user", "item").rows() == [
        ("a", "b")
    ]


def test_integer_ids_merge_spellings() -> None:
    frame = pl.DataFrame({"user": ["01", "1"], "item": ["7", "007"]})
    assert read_tables(frame, integer_ids=True).interactions["user"].to_list() == ["1", "1"]
    assert read_tables(frame).interactions["user"].to_list() == ["01", "1"]


def test_columns_given_for_both_tables() -> None:
    events = pl.DataFrame({"uid": ["u"], "sku": ["s"], "item": ["ignored"]})
    items = pl.DataFrame({"code": ["s"], "item_id": ["other"], "title": ["T"]})
    columns = {"user": "uid", "item": "sku", "item_id": "code"}
    source = read_tables(events, items=items, columns=columns)
    assert source.interactions.rows() == [("u", "s")]
    assert source.items is not None
    assert source.items.rows(named=True) == [
        {"item_id": "s", "item_id_given": "other", "title": "T"}
    ]
    same = read_tables(
        events, items=items.rename({"code": "sku"}), columns=columns | {"item_id": "sku"}
    )
    assert same.items is not None
    assert same.items["item_id"].to_list() == ["s"]


def test_item_table_keeps_every_column_as_text() -> None:
    items = pl.DataFrame(
        {
            "id": [1, 2, None],
            "title": ["a", "", "c"],
            "price": [1.5, None, 2.0],
            "tags": [["x", "y"], [], ["z"]],
            "size": [{"w": 1}, None, {"w": 3}],
            "codes": [[1, 2], [3], []],
            "image_url": ["https://e.org/1,2.jpg|http://e.org/b.png", None, "none"],
        }
    )
    events = pl.DataFrame({"user": ["u", "v"], "item": ["1", "9"]})
    source = read_tables(events, items=items)
    assert source.items is not None
    assert source.items.rows(named=True) == [
        {
            **{"item_id": "1", "title": "a", "price": "1.5", "tags": "x y", "size": '{"w":1}'},
            "codes": "[1,2]",
            "image_urls": ["https://e.org/1,2.jpg", "http://e.org/b.png"],
        },
        {
            **{"item_id": "2", "title": None, "price": None, "tags": None, "size": None},
            "codes": "[3]",
            "image_urls": [],
        },
    ]
    assert source.notes["items"] == {
        **{"rows": 3, "without_id": 1, "without_interactions": 1, "interacted_without_row": 1}
    }


def test_repeated_item_ids_are_counted() -> None:
    items = pl.DataFrame({"item_id": ["a", "b", "b", "b"]})
    with pytest.raises(InputError, match=r"has 2 repeated item ids in column 'item_id'.*'b'"):
        read_tables(EVENTS, items=items)


def test_empty_item_table_and_missing_id_column() -> None:
    with pytest.raises(InputError, match="'items' holds no rows"):
        read_tables(EVENTS, items=ITEMS[:0])
    with pytest.raises(InputError, match=r"no column for the item_id ids.*Its columns: title"):
        read_tables(EVENTS, items=ITEMS.select("title"))
    with pytest.raises(InputError, match="no column 'sku'"):
        read_tables(EVENTS, items=ITEMS, columns={"item_id": "sku"})


def make_folder(folder: Path) -> Path:
    (folder / "images" / "sub").mkdir(parents=True)
    write(EVENTS, folder / "interactions.csv")
    write(ITEMS, folder / "items.csv")
    for name in ("007.jpg", "a.b.PNG", "a.jpg", "sub/008.webp", "notes.txt"):
        (folder / "images" / name).write_bytes(b"")
    return folder


def test_folder_is_recognised_with_pictures_by_whole_stem(tmp_path: Path) -> None:
    source = read_tables(make_folder(tmp_path / "shop"))
    assert source.name == "shop"
    assert source.items is not None
    root = (tmp_path / "shop" / "images").resolve()
    assert dict(source.items.select("item_id", "images").rows()) == {
        "007": [str(root / "007.jpg")],
        "a.b": [str(root / "a.b.PNG")],
    }
    assert source.notes["pictures"] == {
        **{"files": 4, "items_with_picture": 2, "files_without_item": 2}
    }


def test_pictures_without_item_table_and_with_safe_names(tmp_path: Path) -> None:
    odd = "../a b"
    events = pl.DataFrame({"user": ["u", "v"], "item": [odd, "plain"]})
    for name in (picture_stem(odd), f"{picture_stem(odd)}@10", f"{picture_stem(odd)}@2"):
        (tmp_path / f"{name}.jpg").write_bytes(b"")
    source = read_tables(events, images=tmp_path)
    assert source.items is not None
    names = [[Path(p).stem for p in paths] for paths in source.items["images"].to_list()]
    stem = picture_stem(odd)
    assert names == [[stem, f"{stem}@2", f"{stem}@10"], []]
    with pytest.raises(InputError, match=r"folder of pictures .* does not exist"):
        read_tables(events, images=tmp_path / "none")


def test_listed_picture_paths(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "1.jpg").write_bytes(b"")
    write(EVENTS, tmp_path / "e.csv")
    items = ITEMS.with_columns(image_path=pl.Series(["p/1.jpg|p/2.jpg", None]))
    source = read_tables(tmp_path / "e.csv", items=write(items, tmp_path / "i.csv"))
    assert source.items is not None
    assert source.items["images"].to_list() == [[str(tmp_path.resolve() / "p" / "1.jpg")], []]
    assert source.notes["items"]["pictures"] == {"listed": 2, "missing": 1}


def test_quoted_csv_and_tsv(tmp_path: Path) -> None:
    items = pl.DataFrame({"item_id": ["007"], "title": ['say "hi",\nthen\tgo']})
    plain = write(items, tmp_path / "i.csv")
    quoted = tmp_path / "i.tsv"
    quoted.write_text(items.write_csv(separator="\t", quote_style="always"))
    for file in (plain, quoted):
        source = read_tables(EVENTS, items=file)
        assert source.items is not None
        assert source.items.equals(items)
    (tmp_path / "raw.tsv").write_text('item_id\ttitle\n007\t"5 inch\n')
    source = read_tables(EVENTS, items=tmp_path / "raw.tsv")
    assert source.items is not None
    assert source.items["title"].to_list() == ['"5 inch']


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("e.csv", b"", "is empty"),
        ("e.csv", b"user,item\n", "holds no rows"),
        ("e.csv", b"user,item\n1,2\n1,2,3,4\n", "cannot read .*e.csv"),
        ("e.csv", b"user,item\n\xff\xfe,2\n", "cannot read .*e.csv"),
        ("e.parquet", b"nonsense", "cannot read .*e.parquet"),
        ("e.csv.gz", gzip.compress(b"user,item\n1,2\n" * 999)[:-20], "is truncated"),
        ("e.csv.gz", b"user,item\n1,2\n", "is damaged"),
        ("e.xlsx", b"PK", "unknown kind; give CSV, TSV or Parquet"),
        ("e.csv", b"customer,item\n1,2\n", "no column for the user ids"),
    ],
)
def test_bad_files(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_tables(tmp_path / name)


def test_missing_and_ambiguous_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing.csv' does not exist"):
        read_tables(tmp_path / "nothing.csv")
    with pytest.raises(InputError, match=r"holds no interactions.csv"):
        read_tables(tmp_path)
    write(EVENTS, tmp_path / "interactions.csv")
    write(EVENTS, tmp_path / "interactions.parquet")
    with pytest.raises(InputError, match=r"\(interactions.csv, interactions.parquet\)"):
        read_tables(tmp_path)


def test_real_fashion_folder(real_data: Path) -> None:
    source = read_tables(real_data / "hm")
    with (real_data / "hm" / "interactions.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert source.interactions["user"].to_list() == [row["user_id"] for row in rows]
    assert source.interactions["item"].to_list() == [row["item_id"] for row in rows]
    zone = timezone.utc
    days = {row["date"] for row in rows}
    seconds = {
        day: int(datetime.fromisoformat(day).replace(tzinfo=zone).timestamp()) for day in days
    }
    assert source.interactions["timestamp"].to_list() == [seconds[row["date"]] for row in rows]
    with (real_data / "hm" / "items.csv").open(newline="") as stream:
        items = {row["item_id"]: row for row in csv.DictReader(stream)}
    assert source.items is not None
    assert len(source.items) == len(items) == 3_186
    for row in source.items.rows(named=True):
        (picture,) = row.pop("images")
        assert Path(picture) == real_data.resolve() / "hm" / "images" / f"{row['item_id']}.jpg"
        assert {k: v or "" for k, v in row.items()} == items[row["item_id"]]


def test_pictures_of_nobody_show_both_names(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "images" / "photo-1.png")
    (tmp_path / "i.csv").write_text("user_id,item_id\na,0108\nb,0109\n")
    (tmp_path / "items.csv").write_text("item_id,title\n0108,x\n0109,y\n")
    with pytest.raises(InputError, match=r"it has 'photo-1.png', ..., and the items are '0108'"):
        read_tables(tmp_path / "i.csv", items=tmp_path / "items.csv", images=tmp_path / "images")
