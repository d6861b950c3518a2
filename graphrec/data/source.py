"""What every reader returns: raw interactions, item table and features under external ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from modalities import FeatureStore
from modalities._base.errors import InputError

INTERACTION_TYPES: Mapping[str, Any] = {
    "user": pl.String,
    "item": pl.String,
    "rating": pl.Float32,
    "timestamp": pl.Int64,
    "label": pl.Int8,
}
"""The columns an interaction table may have, and their types."""


@dataclass(frozen=True, eq=False)
class Source:
    """A data set as its files give it, before filters, contiguous ids and splits.

    Args:
        name: for people.
        interactions: one row per interaction, in file order: `user` and `item` (strings) and,
            where known, `rating` (float32, may be null), `timestamp` (int64, seconds since
            1970) and `label` (int8: 0 train, 1 valid, 2 test).
        items: one row per known item, or None: `item_id` (string, unique), text columns
            (strings, null where missing), and optionally `images` (list of absolute picture
            paths) and `image_urls` (list of addresses).
        features: one feature store per named modality, aligned by item id.
        item_ids: all items in the order the format fixes (row numbers), or None: the order of
            first appearance.
        user_ids: likewise for users.
        notes: what was read, dropped and why; JSON values.

    Raises:
        InputError: a table lacks a column, has one of the wrong type, or repeats an item id.

    Example:
        >>> frame = pl.DataFrame({"user": ["u", "v"], "item": ["a", "a"]})
        >>> Source("tiny", frame).items is None
        True
    """

    name: str
    interactions: pl.DataFrame
    items: pl.DataFrame | None = None
    features: Mapping[str, FeatureStore] = field(default_factory=dict)
    item_ids: Sequence[str] | None = None
    user_ids: Sequence[str] | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_interactions(self.name, self.interactions)
        if self.items is not None:
            check_items(self.name, self.items)


def check_items(name: str, items: pl.DataFrame) -> None:
    """Check that an item table has unique string ids and only text and list columns.

    Raises:
        InputError: it has not.
    """
    if items.schema.get("item_id") != pl.String:
        raise InputError(f"the item table of '{name}' needs a string column 'item_id'")
    repeated = len(items) - items["item_id"].n_unique()
    if repeated:
        first = items.filter(pl.col("item_id").is_duplicated())["item_id"][0]
        raise InputError(
            f"the item table of '{name}' has {repeated:,} repeated item ids (the first: "
            f"'{first}'); keep one row per item"
        )
    lists = {"images", "image_urls"}
    for column, dtype in items.schema.items():
        wanted = pl.List(pl.String) if column in lists else pl.String
        if dtype != wanted:
            raise InputError(
                f"column '{column}' of the item table of '{name}' must be {wanted}, got {dtype}"
            )


def _check_interactions(name: str, frame: pl.DataFrame) -> None:
    for column in ("user", "item"):
        if column not in frame.columns:
            raise InputError(f"the interactions of '{name}' lack the column '{column}'")
    for column, dtype in frame.schema.items():
        wanted = INTERACTION_TYPES.get(column)
        if wanted is None:
            known = ", ".join(INTERACTION_TYPES)
            raise InputError(
                f"the interactions of '{name}' have a column '{column}'; known: {known}"
            )
        if dtype != wanted:
            raise InputError(
                f"column '{column}' of the interactions of '{name}' must be {wanted}, got {dtype}"
            )
        if column != "rating" and frame[column].null_count():
            raise InputError(
                f"column '{column}' of the interactions of '{name}' has "
                f"{frame[column].null_count():,} missing values; drop those rows first"
            )
