"""Raw Amazon reviews and metadata of 2014, 2018 and 2023, streamed."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from graphrec.data.readers.amazon_items import ITEM_SCHEMA, item_row
from graphrec.data.readers.json_lines import Block, Tally, blocks
from graphrec.data.source import Source
from modalities._base.errors import InputError
from modalities._base.progress import track

_FIELDS = (
    *("user_id", "reviewerID"),
    *("parent_asin", "asin"),
    *("rating", "overall"),
    *("timestamp", "sort_timestamp", "unixReviewTime"),
)
_SCHEMA = dict.fromkeys(_FIELDS, pl.String)
_MILLISECONDS_FROM = 10**11


def read_amazon(
    reviews: Path | str | Sequence[Path | str],
    metadata: Path | str | Sequence[Path | str] = (),
    *,
    name: str | None = None,
    strict: bool = False,
    progress: bool = False,
) -> Source:
    """Read Amazon reviews and metadata: JSON lines, plain or gzip, in any public schema.

    | | 2014 | 2018 | 2023 |
    |-|-|-|-|
    | user | reviewerID | reviewerID | user_id |
    | item | asin | asin | parent_asin, else asin |
    | time | unixReviewTime (s) | unixReviewTime (s) | timestamp (ms) |
    | rating | overall | overall | rating |
    | pictures | imUrl | imageURLHighRes, imageURL, image | images: hi_res, large, thumb |
    | categories | lists of paths | category | categories |

    The schema is seen line by line, so files may be mixed. Files are read in blocks of 16 MiB;
    beyond one block only the four review columns and the metadata of reviewed items stay in
    memory. The items are those with a review; the item table has those that also have metadata:
    title, description, features, brand, categories and price with HTML entities and tags removed,
    and the listed picture addresses, nothing downloaded. Metadata of 2018 that lists pictures
    under `image` only names thumbnails (`._SX38_SY50_CR,0,0,38,50_.jpg` is 38 by 50 pixels).

    An item with several metadata lines keeps the line with the most fields that are not empty,
    the first of them on a tie (files in the order given).

    Lines that are no JSON object, and reviews without user, item or time, are skipped and
    counted in the notes.

    Args:
        reviews: one or more files.
        metadata: one or more files; none gives interactions only.
        name: of the data set; default the name of the first review file.
        strict: a malformed line is an error naming file and line.
        progress: show progress bars.

    Raises:
        InputError: a file is missing, empty, truncated or holds no reviews or metadata; or
            `strict` and a line is malformed.

    Source: McAuley et al., 2015, arXiv 1506.04757 (2014); Ni et al., 2019 (2018); Hou et al.,
        2024, arXiv 2403.03952 (2023).
    """
    review_files, meta_files = _paths(reviews), _paths(metadata)
    if not review_files:
        raise InputError("Amazon data need at least one file of reviews")
    interactions, notes = _read_reviews(review_files, strict, progress)
    items = None
    if meta_files:
        wanted = interactions["item"].unique()
        items, notes["metadata"] = _read_metadata(meta_files, wanted, strict, progress)
    return Source(
        name=name or _name(review_files[0]),
        interactions=interactions,
        items=items,
        notes={"format": "amazon", **notes},
    )


def _paths(given: Path | str | Sequence[Path | str]) -> list[Path]:
    return [Path(given)] if isinstance(given, (str, Path)) else [Path(path) for path in given]


def _name(file: Path) -> str:
    stem = file.name.split(".")[0]
    return stem.removeprefix("reviews_") or "amazon"


def _stream(path: Path, progress: bool) -> Iterator[Block]:
    return track(blocks(path), f"reading {path.name}", show=progress)


def _read_reviews(
    files: Iterable[Path], strict: bool, progress: bool
) -> tuple[pl.DataFrame, dict[str, Any]]:
    frames, tallies, fields = [], [], set()
    for path in files:
        tally = Tally(path, strict)
        seen = set()
        for block in _stream(path, progress):
            raw = _parse_reviews(block, tally)
            seen |= {name for name in _FIELDS if raw[name].null_count() < len(raw)}
            frames.append(_interactions(raw))
        if not {"user_id", "reviewerID"} & seen or not {"parent_asin", "asin"} & seen:
            raise InputError(
                f"'{path}' holds no reviews in {tally.lines:,} lines ({tally.malformed:,} of them "
                "no JSON objects): expected user_id or reviewerID, and asin or parent_asin; are "
                "reviews and metadata swapped?"
            )
        tallies.append(tally)
        fields |= seen
    frame = pl.concat(frames)
    for column, names in (("timestamp", _FIELDS[6:]), ("rating", _FIELDS[4:6])):
        if not fields & set(names):
            frame = frame.drop(column)
    kept = frame.drop_nulls([c for c in frame.columns if c != "rating"])
    if kept.is_empty():
        raise InputError("no review has a user, an item and a time")
    notes = {"reviews": [tally.notes() for tally in tallies], "incomplete": len(frame) - len(kept)}
    return kept, notes


def _parse_reviews(block: Block, tally: Tally) -> pl.DataFrame:
    try:
        raw = pl.read_ndjson(io.BytesIO(block.data), schema=_SCHEMA)
    except pl.exceptions.PolarsError:
        rows = [
            {name: _scalar(review.get(name)) for name in _FIELDS} for review in block.objects(tally)
        ]
        return pl.DataFrame(rows, schema=_SCHEMA)
    tally.lines += len(raw)
    return raw


def _scalar(value: Any) -> str | None:
    return None if value is None or isinstance(value, (list, dict)) else str(value)


def _interactions(raw: pl.DataFrame) -> pl.DataFrame:
    milliseconds = pl.coalesce(_whole("timestamp"), _whole("sort_timestamp"))
    stamped = pl.when(milliseconds >= _MILLISECONDS_FROM).then(milliseconds // 1000)
    return raw.select(
        pl.coalesce(_filled("user_id"), _filled("reviewerID")).alias("user"),
        pl.coalesce(_filled("parent_asin"), _filled("asin")).alias("item"),
        pl.coalesce("rating", "overall").cast(pl.Float32, strict=False).alias("rating"),
        pl.coalesce(stamped.otherwise(milliseconds), _whole("unixReviewTime")).alias("timestamp"),
    )


def _filled(name: str) -> pl.Expr:
    return pl.when(pl.col(name) != "").then(pl.col(name))


def _whole(name: str) -> pl.Expr:
    column = pl.col(name)
    exact = column.cast(pl.Int64, strict=False)
    return pl.coalesce(exact, column.cast(pl.Float64, strict=False).cast(pl.Int64, strict=False))


def _read_metadata(
    files: Iterable[Path], wanted: pl.Series, strict: bool, progress: bool
) -> tuple[pl.DataFrame, dict[str, Any]]:
    items = set(wanted.to_list())
    frames, tallies = [pl.DataFrame(schema=ITEM_SCHEMA)], []
    for path in files:
        tally = Tally(path, strict)
        named = reviews = 0
        for block in _stream(path, progress):
            rows = []
            for line in block.objects(tally):
                item = _scalar(line.get("parent_asin")) or _scalar(line.get("asin"))
                named += item is not None
                reviews += "user_id" in line or "reviewerID" in line
                if item is not None and item in items:
                    rows.append(item_row(item, line))
            frames.append(pl.DataFrame(rows, schema=ITEM_SCHEMA))
        if not named:
            raise InputError(
                f"'{path}' holds no metadata in {tally.lines:,} lines ({tally.malformed:,} of "
                "them no JSON objects): expected asin or parent_asin"
            )
        if reviews == tally.lines - tally.malformed:
            raise InputError(
                f"'{path}' holds reviews, not metadata: every line names a reviewer; are reviews "
                "and metadata swapped?"
            )
        tallies.append(tally)
    listed = pl.concat(frames)
    table = _fullest(listed)
    notes = {
        "files": [tally.notes() for tally in tallies],
        "lines_of_reviewed_items": len(listed),
        "duplicate_lines": len(listed) - len(table),
        "items_with_metadata": len(table),
        "items_without_metadata": len(items) - len(table),
        "items_with_picture_url": table.filter(pl.col("image_urls").list.len() > 0).height,
    }
    return table, notes


def _fullest(listed: pl.DataFrame) -> pl.DataFrame:
    texts = [pl.col(name).is_not_null() for name, t in ITEM_SCHEMA.items() if t == pl.String]
    filled = pl.sum_horizontal(*texts, pl.col("image_urls").list.len() > 0)
    best = listed.with_row_index("_row").with_columns(filled.alias("_filled"))
    best = best.sort(["_filled", "_row"], descending=[True, False])
    best = best.unique("item_id", keep="first", maintain_order=True)
    return best.sort("_row").drop("_row", "_filled")
