"""One Amazon metadata line of any schema, turned into one row of an item table."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import polars as pl

from modalities.content import clean_text

ITEM_SCHEMA: Mapping[str, Any] = {
    "item_id": pl.String,
    "title": pl.String,
    "description": pl.String,
    "features": pl.String,
    "brand": pl.String,
    "categories": pl.String,
    "price": pl.String,
    "image_urls": pl.List(pl.String),
}
"""The columns of an Amazon item table."""

_CUT_TAG = re.compile(r"<[a-zA-Z][\w-]*(\s+[\w-]+=[^<>]*|\s*)$")
_PRICE = re.compile(r"\$?\d[\d,]*(\.\d+)?( ?- ?\$?\d[\d,]*(\.\d+)?)?")
_SCRIPT = "getTime()"
_RESOLUTIONS = ("hi_res", "large", "thumb")


def item_row(item_id: str, line: Mapping[str, Any]) -> dict[str, Any]:
    """The row of one metadata line; texts are cleaned, empty ones become None.

    The dumps of 2018 have texts that are a tag cut off (`<span class="a-size-medium"`), a script
    or a style sheet: these count as empty.

    - description and features: the parts of a list are joined by a space.
    - brand: `brand` (2014, 2018), else `store` (2023).
    - categories: the names of a path are joined by " > ", the paths of 2014 by " | ".
    - price: kept when it reads like a price.
    - image_urls: http(s) addresses, the largest listed size of each picture; in 2023 the main
      picture first.

    Args:
        item_id: the id of the item.
        line: the parsed line.

    Example:
        >>> row = item_row("a", {"title": "Salt &amp; <b>Pepper</b>", "category": ["Home", "Food"]})
        >>> row["title"], row["categories"], row["brand"]
        ('Salt & Pepper', 'Home > Food', None)
    """
    price = _joined(line.get("price"))
    return {
        "item_id": item_id,
        "title": _joined(line.get("title")),
        "description": _joined(line.get("description")),
        "features": _joined(line.get("features") or line.get("feature")),
        "brand": _joined(line.get("brand")) or _joined(line.get("store")),
        "categories": _categories(line.get("categories") or line.get("category")),
        "price": price if price and _PRICE.fullmatch(price) else None,
        "image_urls": _image_urls(line),
    }


def _parts(value: Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    scalars = [str(v) for v in values if isinstance(v, (str, int, float)) and v == v]
    cleaned = (_CUT_TAG.sub("", clean_text(text)).strip() for text in scalars)
    return [text for text in cleaned if text and _SCRIPT not in text]


def _joined(value: Any) -> str | None:
    return " ".join(_parts(value)) or None


def _categories(value: Any) -> str | None:
    paths = (
        value if isinstance(value, list) and any(isinstance(v, list) for v in value) else [value]
    )
    joined = [" > ".join(_parts(path)) for path in paths]
    return " | ".join(path for path in joined if path) or None


def _image_urls(line: Mapping[str, Any]) -> list[str]:
    if line.get("images"):
        found = _of_2023(line["images"])
    else:
        names = ("imageURLHighRes", "imageURL", "image", "imUrl")
        found = next((_listed(line[name]) for name in names if line.get(name)), [])
    urls = (url for url in found if isinstance(url, str))
    return list(dict.fromkeys(url for url in urls if url.startswith(("http://", "https://"))))


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _of_2023(images: Any) -> list[Any]:
    if isinstance(images, dict):
        columns = {name: _listed(values) for name, values in images.items()}
        longest = max(map(len, columns.values()), default=0)
        images = [
            {name: values[i] for name, values in columns.items() if i < len(values)}
            for i in range(longest)
        ]
    pictures = [picture for picture in _listed(images) if isinstance(picture, dict)]
    pictures.sort(key=lambda picture: picture.get("variant") != "MAIN")
    plain = [picture for picture in _listed(images) if isinstance(picture, str)]
    largest = (next((p[r] for r in _RESOLUTIONS if p.get(r)), None) for p in pictures)
    return [*largest, *plain]
