"""Item tables: the id column found, everything else kept as text, pictures as lists."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from graphrec.data.readers.columns import KNOWN_NAMES, describe_missing, parse_ids
from graphrec.data.readers.pictures import (
    ADDRESS_COLUMNS,
    PATH_COLUMNS,
    as_text,
    listed_pictures,
    split_addresses,
)
from modalities._base.errors import InputError

_FREE_NAMES = {name: f"{name}_given" for name in ("item_id", "images", "image_urls")}


def parse_items(
    table: pl.DataFrame,
    where: str,
    *,
    given: str | None,
    like: str,
    integer_ids: bool,
    root: Path,
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Turn a raw table into the item table of a `Source`.

    Args:
        table: the raw table.
        where: the table, for messages.
        given: name of the id column, if said.
        like: name of the item column of the interactions, looked for next; then the known names.
        integer_ids: read ids as whole numbers.
        root: where relative picture paths start.

    Returns:
        `item_id`, the text columns, and `image_urls` and `images` where listed; and notes:
        `rows`, `without_id` (dropped), `pictures`.

    Raises:
        InputError: the table is empty, has no id column, or repeats an id.
    """
    if table.is_empty():
        raise InputError(f"'{where}' holds no rows")
    key = _id_column(table, given, like, where)
    ids = parse_ids(table[key], integer_ids).alias("item_id")
    _check_unique(ids.drop_nulls(), key, where)
    notes: dict[str, Any] = {"rows": len(table), "without_id": ids.null_count()}
    lists: dict[str, pl.Series] = {}
    texts: list[pl.Series] = []
    for column in table.get_columns():
        if column.name == key:
            continue
        if column.name.lower() in ADDRESS_COLUMNS and "image_urls" not in lists:
            lists["image_urls"] = split_addresses(column).alias("image_urls")
        elif column.name.lower() in PATH_COLUMNS and "images" not in lists:
            lists["images"], notes["pictures"] = listed_pictures(column, root)
        else:
            texts.append(column.alias(_FREE_NAMES.get(column.name, column.name)))
    columns = [ids, *as_text(texts), *lists.values()]
    return pl.DataFrame(columns).drop_nulls("item_id"), notes


def _id_column(table: pl.DataFrame, given: str | None, like: str, where: str) -> str:
    if given is not None and given not in table.columns:
        raise InputError(describe_missing("item_id", given, table.columns, where))
    lowered = {name.lower(): name for name in reversed(table.columns)}
    exact = [name for name in (given, like) if name in table.columns]
    known = [lowered[name] for name in (*KNOWN_NAMES["item"], "id") if name in lowered]
    found = next(iter([*exact, *known]), None)
    if found is None:
        raise InputError(describe_missing("item_id", None, table.columns, where))
    return found


def _check_unique(ids: pl.Series, key: str, where: str) -> None:
    repeated = len(ids) - ids.n_unique()
    if repeated:
        first = ids.filter(ids.is_duplicated())[0]
        raise InputError(
            f"'{where}' has {repeated:,} repeated item ids in column '{key}' (the first: "
            f"'{first}'); keep one row per item"
        )
