"""The format found by looking."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from graphrec.data.readers import read_source
from graphrec.data.readers.recognise import recognise
from modalities._base.errors import InputError

FILES = {
    "mmrec/a.inter": "userID\titemID\tx_label\n0\t0\t0\n",
    "recbole/a.inter": "user_id:token\titem_id:token\n0\t0\n",
    "parts/a.train.inter": "user_id:token\titem_id:token\n0\t0\n",
    "tables/interactions.tsv": "user\titem\n0\t0\n",
    "loose.csv": "user,item\n0,0\n",
    "reviews.json": json.dumps({"user_id": "0", "asin": "0"}),
}
KINDS = {
    **{"mmrec": "mmrec", "mmrec/a.inter": "mmrec", "recbole": "recbole", "parts": "recbole"},
    **{"recbole/a.inter": "recbole", "tables": "tables", "loose.csv": "tables"},
    **{"reviews.json": "amazon"},
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize(("place", "kind"), KINDS.items())
def test_each_format_is_recognised_and_read(root: Path, place: str, kind: str) -> None:
    assert recognise(root / place) == kind
    source = read_source(root / place, name="mine")
    assert source.interactions.select("user", "item").rows() == [("0", "0")]
    assert source.name == "mine"
    assert source.notes["format"] == kind


def test_frames_and_item_files(root: Path) -> None:
    assert read_source(pl.DataFrame({"user": ["u"], "item": ["i"]})).name == "frame"
    (root / "meta.json").write_text(json.dumps({"asin": "0", "title": "T"}))
    source = read_source(root / "reviews.json", items=root / "meta.json")
    assert source.items is not None
    assert source.items["title"].to_list() == ["T"]


def test_options_that_do_not_fit_are_refused(root: Path) -> None:
    with pytest.raises(InputError, match="read as mmrec, which takes no option images"):
        read_source(root / "mmrec", images=root)
    with pytest.raises(InputError, match="read as amazon, which takes no option columns"):
        read_source(root / "reviews.json", columns={"user": "u"})


def test_what_is_not_recognised(root: Path) -> None:
    with pytest.raises(InputError, match="nowhere' does not exist"):
        read_source(root / "nowhere")
    with pytest.raises(InputError, match=r"is not recognised; expected a folder with NAME.inter"):
        read_source(root)
    (root / "x.bin").write_text("")
    with pytest.raises(InputError, match=r"x.bin' is not recognised"):
        read_source(root / "x.bin")
    (root / "tables" / "manifest.json").write_text("{}")
    with pytest.raises(InputError, match="load it as a dataset"):
        read_source(root / "tables")
