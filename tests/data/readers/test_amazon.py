"""Raw Amazon files of the three schemas, and their defects."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from graphrec.data.readers import amazon, read_amazon
from graphrec.data.readers.amazon_items import item_row
from graphrec.data.readers.json_lines import Tally, blocks
from modalities._base.errors import InputError

REVIEWS: dict[str, list[dict[str, Any]]] = {
    "2014": [
        {"reviewerID": "U1", "asin": "0001", "overall": 5.0, "unixReviewTime": 1390435200},
        {"reviewerID": "U2", "asin": "0002", "overall": 1.0, "unixReviewTime": 1390435201},
    ],
    "2018": [
        {
            "reviewerID": "U1",
            "asin": "0001",
            "overall": 5,
            "unixReviewTime": 1390435200,
            "vote": "3",
        },
        {"reviewerID": "U2", "asin": "0002", "overall": 1.0, "unixReviewTime": 1390435201},
    ],
    "2023": [
        {
            **{"user_id": "U1", "parent_asin": "0001", "asin": "variant", "rating": 5.0},
            **{"timestamp": 1390435200123, "images": [{"hi_res": "http://e.org/x"}]},
        },
        {"user_id": "U2", "asin": "0002", "rating": 1, "timestamp": "1390435201999"},
    ],
}
EXPECTED = [("U1", "0001", 5.0, 1390435200), ("U2", "0002", 1.0, 1390435201)]

METADATA: dict[str, list[Any]] = {
    "2014": [
        {
            **{"asin": "0001", "title": "Salt &amp; Pepper", "description": "Two <b>mills</b>"},
            **{"categories": [["Home", "Kitchen"], ["Gifts"]], "brand": "M&eacute;lange"},
            **{"price": 9.99, "imUrl": "http://e.org/a.jpg", "related": {"also_bought": ["0002"]}},
        }
    ],
    "2018": [
        {
            **{"asin": "0001", "title": "Salt &amp; Pepper", "description": ["Two", "mills<br>"]},
            **{"category": ["Home", "Kitchen"], "brand": "Mélange", "feature": ["big", "red"]},
            **{"price": "$9.99", "image": ["http://e.org/t.jpg"], "rank": [], "details": {}},
            **{"imageURL": ["http://e.org/m.jpg"], "imageURLHighRes": ["http://e.org/a.jpg"]},
        }
    ],
    "2023": [
        {
            **{"parent_asin": "0001", "title": "Salt & Pepper", "description": ["Two mills"]},
            **{"categories": ["Home", "Kitchen"], "store": "Mélange", "features": ["big", "red"]},
            **{"price": 9.99, "details": {"Brand": "x"}, "bought_together": None},
            "images": [
                {"thumb": "http://e.org/t.jpg", "large": "http://e.org/b.jpg", "hi_res": None},
                {"hi_res": "http://e.org/a.jpg", "large": "http://e.org/l.jpg", "variant": "MAIN"},
            ],
        }
    ],
}
ROWS: dict[str, dict[str, Any]] = {
    "2014": {
        **{"features": None, "categories": "Home > Kitchen | Gifts", "price": "9.99"},
        "image_urls": ["http://e.org/a.jpg"],
    },
    "2018": {
        **{"features": "big red", "categories": "Home > Kitchen", "price": "$9.99"},
        "image_urls": ["http://e.org/a.jpg"],
    },
    "2023": {
        **{"features": "big red", "categories": "Home > Kitchen", "price": "9.99"},
        "image_urls": ["http://e.org/a.jpg", "http://e.org/b.jpg"],
    },
}
SAME = {"item_id": "0001", "title": "Salt & Pepper", "description": "Two mills", "brand": "Mélange"}


def save(path: Path, lines: list[Any], *, python: bool = False) -> Path:
    text = "".join(
        (line if isinstance(line, str) else repr(line) if python else json.dumps(line)) + "\n"
        for line in lines
    )
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.mark.parametrize("suffix", [".json", ".json.gz", ".jsonl"])
@pytest.mark.parametrize("year", ["2014", "2018", "2023"])
def test_three_schemas_give_the_same(tmp_path: Path, year: str, suffix: str) -> None:
    reviews = save(tmp_path / f"reviews_Kitchen_5{suffix}", REVIEWS[year])
    metadata = save(tmp_path / f"meta{suffix}", METADATA[year], python=year == "2014")
    source = read_amazon(reviews, metadata)
    assert source.name == "Kitchen_5"
    assert source.interactions.rows() == EXPECTED
    assert source.interactions.columns == ["user", "item", "rating", "timestamp"]
    assert source.items is not None
    assert source.items.rows(named=True) == [SAME | ROWS[year]]
    assert source.notes["metadata"]["items_without_metadata"] == 1


def test_several_files_of_mixed_schemas_in_order(tmp_path: Path) -> None:
    files = [save(tmp_path / f"{year}.json", REVIEWS[year]) for year in ("2023", "2014")]
    source = read_amazon(files)
    assert source.interactions.rows() == EXPECTED * 2
    assert source.items is None
    assert [note["lines"] for note in source.notes["reviews"]] == [2, 2]


def test_blocks_are_whole_lines_whatever_their_size(tmp_path: Path) -> None:
    lines = [json.dumps({"n": n, "text": "x" * (n % 17)}) for n in range(200)]
    plain = tmp_path / "a.json"
    plain.write_bytes("\r\n".join(lines).encode() + b"\n\n{}")
    for size in (1, 7, 64, 1000, 10**6):
        tally = Tally(plain)
        objects = [value for block in blocks(plain, size) for value in block.objects(tally)]
        assert [value["n"] for value in objects[:-1]] == list(range(200))
        assert objects[-1] == {}
        assert tally.lines == 201


def test_small_blocks_give_the_same_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reviews = save(tmp_path / "r.json", REVIEWS["2018"] * 50 + ["not json"] + REVIEWS["2023"] * 50)
    whole = read_amazon(reviews)
    monkeypatch.setattr(amazon, "blocks", lambda path: blocks(path, 100))
    parts = read_amazon(reviews)
    assert parts.interactions.equals(whole.interactions)
    assert parts.notes == whole.notes
    assert len(whole.interactions) == 200


def test_malformed_lines_in_the_middle_of_a_gzip(tmp_path: Path) -> None:
    good = REVIEWS["2018"]
    bad = ['{"reviewerID": "U3", "asin"', "[1, 2]", "__import__('os')"]
    reviews = save(tmp_path / "r.json.gz", [good[0], bad[0], "", bad[1], good[1], bad[2]])
    source = read_amazon(reviews)
    assert source.interactions.rows() == EXPECTED
    (note,) = source.notes["reviews"]
    assert note == {
        **{"file": "r.json.gz", "lines": 5, "malformed": 3, "first_malformed_lines": [2, 4, 6]}
    }
    with pytest.raises(InputError, match=r"line 2 of '.*r.json.gz' is no JSON object"):
        read_amazon(reviews, strict=True)
    metadata = save(tmp_path / "m.json.gz", [METADATA["2018"][0], "{'asin': "])
    source = read_amazon(reviews, metadata)
    assert source.notes["metadata"]["files"][0]["first_malformed_lines"] == [2]
    clean = save(tmp_path / "c.json", good)
    with pytest.raises(InputError, match=r"line 2 of '.*m.json.gz'"):
        read_amazon(clean, metadata, strict=True)


def test_incomplete_reviews_are_counted(tmp_path: Path) -> None:
    extra = [{"reviewerID": "U"}, {"reviewerID": "", "asin": "1"}, {"reviewerID": "U", "asin": "1"}]
    source = read_amazon(save(tmp_path / "r.json", REVIEWS["2014"] + extra))
    assert source.interactions.rows() == EXPECTED
    assert source.notes["incomplete"] == 3


def test_reviews_without_time_or_rating_have_no_such_column(tmp_path: Path) -> None:
    bare = [{"user_id": "U", "asin": "1"}]
    assert read_amazon(save(tmp_path / "r.json", bare)).interactions.rows() == [("U", "1")]


@pytest.mark.parametrize("keep", [0.3, 0.9])
@pytest.mark.parametrize("which", ["reviews", "metadata"])
def test_truncated_gzip_is_always_an_error(tmp_path: Path, keep: float, which: str) -> None:
    reviews = save(tmp_path / "reviews.json.gz", REVIEWS["2018"] * 500)
    metadata = save(tmp_path / "metadata.json.gz", METADATA["2018"] * 500)
    file = tmp_path / f"{which}.json.gz"
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(InputError, match=f"gzip file '.*{which}.json.gz' is truncated"):
        read_amazon(reviews, metadata)


def test_damaged_empty_and_missing_files(tmp_path: Path) -> None:
    file = tmp_path / "r.json.gz"
    with pytest.raises(InputError, match="does not exist"):
        read_amazon(file)
    file.write_bytes(b"")
    with pytest.raises(InputError, match="is empty"):
        read_amazon(file)
    data = bytearray(gzip.compress(b"".join(json.dumps(r).encode() for r in REVIEWS["2018"]) * 9))
    data[-6] ^= 255
    file.write_bytes(bytes(data))
    with pytest.raises(InputError, match="is damaged"):
        read_amazon(file)
    with pytest.raises(InputError, match="at least one file"):
        read_amazon([])


def test_swapped_and_foreign_files(tmp_path: Path) -> None:
    reviews = save(tmp_path / "r.json", REVIEWS["2014"])
    metadata = save(tmp_path / "m.json", METADATA["2014"])
    with pytest.raises(InputError, match=r"m.json' holds no reviews in 1 lines.*swapped"):
        read_amazon(metadata, reviews)
    with pytest.raises(InputError, match=r"r.json' holds reviews, not metadata.*swapped"):
        read_amazon(reviews, reviews)
    broken = save(tmp_path / "b.json", [*REVIEWS["2014"], "oops"])
    with pytest.raises(InputError, match=r"b.json' holds reviews, not metadata"):
        read_amazon(reviews, broken)
    other = save(tmp_path / "o.json", [{"a": 1}, "oops"])
    with pytest.raises(InputError, match=r"o.json' holds no metadata in 2 lines \(1 of them"):
        read_amazon(reviews, other)


def test_fullest_metadata_line_wins_then_the_first(tmp_path: Path) -> None:
    reviews = save(tmp_path / "r.json", REVIEWS["2018"])
    lines = [
        {"asin": "0001", "title": "short"},
        {"asin": "0002", "title": "first"},
        {"asin": "9999", "title": "nobody reviewed"},
        {"asin": "0001", "title": "full", "brand": "B"},
        {"asin": "0001", "title": "full again", "description": ["D"], "feature": ["&nbsp;"]},
        {"asin": "0002", "title": "second"},
    ]
    files = [save(tmp_path / "m1.json", lines[:2]), save(tmp_path / "m2.json", lines[2:])]
    source = read_amazon(reviews, files)
    assert source.items is not None
    assert dict(source.items.select("item_id", "title").rows()) == {"0002": "first", "0001": "full"}
    notes = source.notes["metadata"]
    assert (notes["lines_of_reviewed_items"], notes["duplicate_lines"]) == (5, 3)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ({"image": ["http://e.org/1", "ftp://e.org/2", 5, "http://e.org/1"]}, ["http://e.org/1"]),
        ({"imageURL": [], "image": ["http://e.org/1"]}, ["http://e.org/1"]),
        ({"imUrl": "https://e.org/1"}, ["https://e.org/1"]),
        ({"images": []}, []),
        ({"images": [{"thumb": "http://e.org/t"}]}, ["http://e.org/t"]),
        (
            {"images": {"hi_res": [None, "http://e.org/h"], "large": ["http://e.org/l", None]}},
            ["http://e.org/l", "http://e.org/h"],
        ),
    ],
)
def test_picture_addresses(line: dict[str, Any], expected: list[str]) -> None:
    assert item_row("a", line)["image_urls"] == expected


@pytest.mark.parametrize(
    ("line", "field", "expected"),
    [
        ({"title": '<span class="a-size-medium a-color-secondary"'}, "title", None),
        ({"title": "Salt <"}, "title", "Salt <"),
        ({"title": "var aPageStart = (new Date()).getTime();"}, "title", None),
        ({"title": "bad \ud83d surrogate"}, "title", "bad surrogate"),
        ({"description": None}, "description", None),
        ({"description": ["", "  <p></p> "]}, "description", None),
        ({"price": ".a-box-inner{background-color:#fff}"}, "price", None),
        ({"price": "$1,299.00 - $2,000.50"}, "price", "$1,299.00 - $2,000.50"),
        ({"price": float("nan")}, "price", None),
        ({"brand": "", "store": "S"}, "brand", "S"),
        ({"categories": ["A", "B"]}, "categories", "A > B"),
        ({"categories": [[]]}, "categories", None),
        ({"category": "Books"}, "categories", "Books"),
        ({"details": {"x": 1}, "features": {"x": 1}}, "features", None),
    ],
)
def test_texts(line: dict[str, Any], field: str, expected: str | None) -> None:
    assert item_row("a", line)[field] == expected


def test_real_files_against_a_plain_count(real_data: Path) -> None:
    folder = real_data / "amazon2018"
    review_file = folder / "Magazine_Subscriptions_5.json.gz"
    meta_file = folder / "meta_Magazine_Subscriptions.json.gz"
    source = read_amazon(review_file, meta_file)
    with gzip.open(review_file, "rt", encoding="utf-8") as stream:
        reviews = [json.loads(line) for line in stream]
    assert source.interactions.rows() == [
        (r["reviewerID"], r["asin"], r["overall"], r["unixReviewTime"]) for r in reviews
    ]
    assert len(reviews) == 2_375
    assert source.interactions.select(pl.col("user", "item").n_unique()).row(0) == (348, 157)
    with gzip.open(meta_file, "rt", encoding="utf-8") as stream:
        metadata = [json.loads(line) for line in stream]
    assert len(metadata) == 3_385
    assert len({line["asin"] for line in metadata}) == 2_320
    reviewed = {review["asin"] for review in reviews}
    lines = Counter(line["asin"] for line in metadata if line["asin"] in reviewed)
    pictured = {m["asin"] for m in metadata if m["image"] and m["asin"] in reviewed}
    notes = source.notes["metadata"]
    assert notes["files"][0] == {"file": meta_file.name, "lines": 3_385, "malformed": 0}
    assert notes["lines_of_reviewed_items"] == lines.total()
    assert notes["duplicate_lines"] == lines.total() - len(lines)
    assert notes["items_without_metadata"] == len(reviewed - set(lines))
    assert source.items is not None
    assert set(source.items["item_id"]) == set(lines)
    assert notes["items_with_picture_url"] == len(pictured)
    for row in source.items.rows(named=True):
        brands = {m["brand"].replace("&amp;", "&") for m in metadata if m["asin"] == row["item_id"]}
        assert row["brand"] is None or row["brand"] in brands
        texts = " ".join(value for value in row.values() if isinstance(value, str))
        assert "<" not in texts
        assert "&amp;" not in texts
