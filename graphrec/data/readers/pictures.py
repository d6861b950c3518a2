"""Pictures on disk matched to items."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from graphrec.data.images import picture_stem
from modalities._base.errors import InputError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"})
"""What counts as a picture, by suffix in lower case."""

ADDRESS_COLUMNS = frozenset({"image_url", "image_urls", "imageurl", "imageurls", "imurl"})
"""Columns of item tables that hold addresses of pictures, in lower case."""

PATH_COLUMNS = frozenset({"images", "image_path", "image_paths"})
"""Columns of item tables that hold paths of pictures, in lower case."""

_ADDRESS = r"https?://[^\s|;\"']+"
_NUMBERED = re.compile(r"(.+)@(\d+)")


def match_pictures(items: pl.DataFrame, folder: Path) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Add the column `images`: the pictures of each item, found by file name.

    A picture belongs to the item whose id is the file name without its last suffix (ids may hold
    dots), or for which `download_images` would choose that name; a further `@2`, `@3`, ... numbers
    the pictures of one item. Subfolders are searched too; of several files of one name the first
    in order of path is taken.

    Args:
        items: a table with `item_id`.
        folder: where the pictures lie.

    Returns:
        The table, with absolute paths, and notes: `files`, `items_with_picture`, and
        `files_without_item`.

    Raises:
        InputError: the folder does not exist, or its pictures are of no item.
    """
    if not folder.is_dir():
        raise InputError(f"folder of pictures '{folder}' does not exist")
    root = folder.resolve()
    files = sorted(f for f in root.rglob("*") if f.suffix.lower() in SUFFIXES and f.is_file())
    by_stem = {file.stem: file for file in reversed(files)}
    numbered: dict[str, list[tuple[int, str]]] = {}
    for stem in by_stem:
        if match := _NUMBERED.fullmatch(stem):
            numbered.setdefault(match[1], []).append((int(match[2]), stem))
    found: list[list[str]] = []
    used: set[str] = set()
    for item in items["item_id"].to_list():
        stems = next(
            (s for n in (item, picture_stem(item)) if (s := _stems(n, by_stem, numbered))), []
        )
        used.update(stems)
        found.append([str(by_stem[stem]) for stem in stems])
    if files and not used and len(items):
        raise InputError(
            f"no picture in '{folder}' is of any item: it has {_shown(f.name for f in files)}, "
            f"and the items are {_shown(items['item_id'])}; name pictures ITEM_ID.jpg"
        )
    notes = {
        "files": len(files),
        "items_with_picture": sum(map(bool, found)),
        "files_without_item": sum(file.stem not in used for file in files),
    }
    return items.with_columns(pl.Series("images", found, dtype=pl.List(pl.String))), notes


def _shown(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in islice(names, 3)) + ", ..."


def _stems(
    name: str, by_stem: Mapping[str, Path], numbered: Mapping[str, list[tuple[int, str]]]
) -> list[str]:
    first = [name] if name in by_stem else []
    return first + [stem for _, stem in sorted(numbered.get(name, []))]


def listed_pictures(column: pl.Series, folder: Path) -> tuple[pl.Series, dict[str, Any]]:
    """Paths listed in a table, as lists of the absolute paths of files that exist.

    Args:
        column: a path per row, several separated by |, or a list of paths.
        folder: where relative paths start.

    Returns:
        The lists, and notes: `listed` and `missing` files.
    """
    lists = column if isinstance(column.dtype, pl.List) else column.cast(pl.String).str.split("|")
    root = folder.resolve()
    found: list[list[str]] = []
    notes = {"listed": 0, "missing": 0}
    for names in lists.to_list():
        paths = [root / name.strip() for name in names or [] if name and name.strip()]
        kept = [str(path) for path in paths if path.is_file()]
        notes["listed"] += len(paths)
        notes["missing"] += len(paths) - len(kept)
        found.append(kept)
    return pl.Series("images", found, dtype=pl.List(pl.String)), notes


def split_addresses(column: pl.Series) -> pl.Series:
    """Addresses as lists of strings; a text cell may hold several, separated by space, | or ;.

    Example:
        >>> split_addresses(pl.Series(["http://a/1.jpg|http://a/2.jpg", None])).to_list()
        [['http://a/1.jpg', 'http://a/2.jpg'], []]
    """
    if isinstance(column.dtype, pl.List):
        listed = column.cast(pl.List(pl.String)).to_list()
        kept = [[url for url in urls or [] if url] for urls in listed]
        return pl.Series(column.name, kept, dtype=pl.List(pl.String))
    text = column.cast(pl.String).fill_null("").str.replace_all(",http", " http", literal=True)
    found: pl.Series = text.str.extract_all(_ADDRESS)
    return found


def as_text(columns: Iterable[pl.Series]) -> list[pl.Series]:
    """Columns of any type as strings, empty text null.

    Lists of strings are joined by a space, other nested values become JSON.
    """
    texts = []
    for column in columns:
        if column.dtype == pl.List(pl.String):
            text = column.list.join(" ", ignore_nulls=True)
        elif column.dtype.is_nested():
            json = pl.struct("x").struct.json_encode().str.strip_prefix('{"x":')
            json = pl.when(pl.col("x").is_not_null()).then(json.str.head(-1))
            text = column.to_frame("x").select(json).to_series()
        else:
            text = column.cast(pl.String)
        texts.append(text.replace("", None).alias(column.name))
    return texts
