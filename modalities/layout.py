"""What lies beside the parts of a feature store: `spec.json` and `items.parquet`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import polars as pl

from modalities._base.errors import InputError
from modalities._base.files import read_manifest
from modalities.protocol import Modality

FORMAT = "graphrec.features"
VERSION = 1
COLUMNS = {
    "row": pl.Int64,
    "item_id": pl.String,
    "present": pl.Boolean,
    "error": pl.String,
    "digest": pl.String,
}
"""Columns of `items.parquet`."""


def check_ids(item_ids: Sequence[str]) -> None:
    """Raise `InputError` unless the ids are strings and none is repeated."""
    other = next((i for i in item_ids if not isinstance(i, str)), None)
    if other is not None:
        raise InputError(f"item ids must be strings, got {other!r} of type {type(other).__name__}")
    repeated = len(item_ids) - len(set(item_ids))
    if repeated:
        raise InputError(f"{repeated} item id(s) occur more than once; ids must be unique")


def read_spec(path: Path) -> dict[str, Any]:
    """Read `spec.json`.

    Raises:
        InputError: the file is missing, of another format or version, or a value is impossible.
    """
    spec = read_manifest(path, FORMAT, VERSION)
    valid = {
        "modality": spec.get("modality") in get_args(Modality),
        "dtype": spec.get("dtype") in ("float16", "float32"),
        "dim": _whole(spec.get("dim"), 0),
        "count": _whole(spec.get("count"), 0),
        "rows_per_part": _whole(spec.get("rows_per_part"), 1),
        "spec": isinstance(spec.get("spec"), dict),
    }
    for name, fine in valid.items():
        if not fine:
            raise InputError(f"'{path}' is damaged: '{name}' is {spec.get(name)!r}")
    return spec


def _whole(value: object, least: int) -> bool:
    return isinstance(value, int) and value >= least


def read_items(path: Path) -> pl.DataFrame:
    """Read `items.parquet`: one line per row, in row order.

    Raises:
        InputError: the file is missing or damaged, or an item is named twice.
    """
    try:
        table = pl.read_parquet(path)
    except FileNotFoundError:
        raise InputError(f"'{path}' is missing; the feature store is incomplete") from None
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise InputError(f"'{path}' is damaged: {error}") from None
    found = {name: table.schema.get(name) for name in COLUMNS}
    if found != COLUMNS:
        raise InputError(f"'{path}' is damaged: expected columns {COLUMNS}, got {found}")
    if table.select("item_id", "present").null_count().sum_horizontal().item():
        raise InputError(f"'{path}' is damaged: an item has no id or no mark of presence")
    check_ids(table["item_id"].to_list())
    return table
