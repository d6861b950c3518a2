"""MMRec folders: `NAME.inter` with fixed integer ids, `NAME_feat.npy` aligned by row."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from graphrec.data.readers.columns import parse_labels, parse_timestamps
from graphrec.data.readers.files import read_table
from graphrec.data.source import Source
from modalities import FeatureStore, Modality
from modalities._base.errors import InputError

KINDS: Mapping[str, Modality] = {
    **{"image": "image", "visual": "image", "v": "image", "img": "image"},
    **{"text": "text", "t": "text", "txt": "text"},
    **{"audio": "audio", "a": "audio"},
}
"""Kind of a modality by the NAME of its `NAME_feat.npy`; any other is "other"."""

_COLUMNS = {"userID": "user", "itemID": "item", "rating": "rating", "timestamp": "timestamp"}
_SPARSE_IDS = 100


def read_mmrec(
    path: Path | str, *, nonfinite: Literal["error", "missing", "zero"] = "error"
) -> Source:
    """Read an MMRec folder.

    - `NAME.inter`: tab-separated with a header; `userID` and `itemID` are row numbers from 0;
      `x_label` (0 train, 1 valid, 2 test), `rating` and `timestamp` are optional, other columns
      ignored. Users and items number the largest id + 1 over the whole file, so that ids
      without interactions keep their place.
    - `NAME_feat.npy`: floats [items, d], row i belongs to itemID i. The name gives the modality;
      its kind is image for image, visual and v; text for text and t; audio for audio; else other.
      Rows MMRec filled with the mean of all pictures are taken as they are.
    - `items.tsv` or `items.csv` with a column `itemID`: optional texts.

    Args:
        path: the folder, or its `.inter` file where it has several.
        nonfinite: what to do with feature rows holding NaN or infinity: refuse them, make them
            missing, or set the values to zero.

    Returns:
        A source whose ids are the row numbers as strings.

    Raises:
        InputError: a file is missing, damaged or pickled; a column is missing; ids are not whole
            numbers from 0; or a feature file has another number of rows than there are items.

    Source: MMRec, 2023, arXiv 2302.03497; its files as its loader reads them.
    """
    file = _inter_file(Path(path))
    frame, notes = _read_inter(file)
    n_users, n_items = _count(frame, "user", file), _count(frame, "item", file)
    item_ids = [str(row) for row in range(n_items)]
    features = {}
    for array_file in sorted(file.parent.glob("*_feat.npy")):
        name = array_file.name.removesuffix("_feat.npy")
        values = _read_rows(array_file, n_items)
        features[name] = FeatureStore.from_arrays(
            values,
            item_ids,
            spec={"source": "given", "format": "mmrec", "name": name},
            modality=KINDS.get(name.lower(), "other"),
            nonfinite=nonfinite,
        )
    items = _read_items(file.parent, n_items, notes)
    return Source(
        name=file.stem,
        interactions=frame.with_columns(pl.col("user", "item").cast(pl.String)),
        items=items,
        features=features,
        item_ids=item_ids,
        user_ids=[str(row) for row in range(n_users)],
        notes=notes,
    )


def _inter_file(path: Path) -> Path:
    if path.is_file():
        return path
    if not path.is_dir():
        raise InputError(f"folder '{path}' does not exist")
    files = sorted(path.glob("*.inter"))
    if not files:
        raise InputError(f"folder '{path}' holds no '*.inter' file")
    named = [file for file in files if file.stem == path.name]
    if len(files) > 1 and not named:
        names = ", ".join(file.name for file in files)
        raise InputError(f"folder '{path}' holds several interaction files ({names}); give one")
    return (named or files)[0]


def _read_inter(file: Path) -> tuple[pl.DataFrame, dict[str, Any]]:
    table = read_table(file, separator="\t")
    for name in ("userID", "itemID"):
        if name not in table.columns:
            raise InputError(
                f"'{file}' has no column '{name}'; its columns: {', '.join(table.columns)}. "
                "Expected a tab-separated MMRec file with userID, itemID and x_label"
            )
    if table.is_empty():
        raise InputError(f"'{file}' holds no interactions")
    notes: dict[str, Any] = {"format": "mmrec", "rows": len(table)}
    parsed: dict[str, pl.Series] = {}
    for name, part in _COLUMNS.items():
        if name not in table.columns:
            continue
        if part in ("user", "item"):
            parsed[part] = _row_numbers(table[name], file)
        elif part == "rating":
            parsed[part] = table[name].cast(pl.Float32, strict=False).fill_nan(None)
        else:
            parsed[part], notes["timestamp_unit"] = parse_timestamps(table[name], str(file))
    if "x_label" in table.columns:
        parsed["label"] = parse_labels(table["x_label"], str(file))
    for part in ("timestamp", "label"):
        if part in parsed and parsed[part].null_count():
            raise InputError(f"'{file}' has {parsed[part].null_count():,} rows without a {part}")
    return pl.DataFrame([series.alias(part) for part, series in parsed.items()]), notes


def _row_numbers(column: pl.Series, file: Path) -> pl.Series:
    numbers: pl.Series = column.cast(pl.Int64, strict=False)
    bad = numbers.is_null() | (numbers < 0)
    if bad.any():
        row = int(bad.arg_true()[0])
        raise InputError(
            f"'{file}' has {int(bad.sum()):,} values of {column.name} that are not whole numbers "
            f"from 0 (the first: '{column[row]}' in line {row + 2}); import external ids as a "
            "plain table instead"
        )
    return numbers


def _count(frame: pl.DataFrame, part: str, file: Path) -> int:
    count = int(frame.select(pl.col(part).max()).item()) + 1
    if count > 1_000_000 and count > _SPARSE_IDS * len(frame):
        raise InputError(
            f"'{file}' has {len(frame):,} interactions but its largest {part} id is "
            f"{count - 1:,}: these are no row numbers; import them as a plain table instead"
        )
    return count


def _read_rows(file: Path, n_items: int) -> NDArray[Any]:
    try:
        values: NDArray[Any] = np.lib.format.open_memmap(file, mode="r")
    except (OSError, ValueError, EOFError) as error:
        if "object" in str(error).lower():
            raise InputError(
                f"'{file}' holds a pickled object array, which is not read for safety; save it "
                "again as plain floats: numpy.save(file, array.astype('float32'))"
            ) from None
        raise InputError(f"'{file}' is not a readable npy file: {error}") from None
    if values.ndim != 2 or values.dtype.kind not in "fiu":
        raise InputError(
            f"'{file}' must hold numbers of shape [items, d], got {values.dtype} of shape "
            f"{list(values.shape)}"
        )
    if len(values) != n_items:
        raise InputError(
            f"'{file}' has {len(values):,} rows, but the interactions name {n_items:,} items "
            f"(largest itemID + 1); row i must belong to itemID i"
        )
    return values


def _read_items(folder: Path, n_items: int, notes: dict[str, Any]) -> pl.DataFrame | None:
    file = next((f for n in ("items.tsv", "items.csv") if (f := folder / n).is_file()), None)
    if file is None:
        return None
    table = read_table(file, separator="\t" if file.suffix == ".tsv" else ",")
    if "itemID" not in table.columns:
        raise InputError(
            f"'{file}' has no column 'itemID'; its columns: {', '.join(table.columns)}"
        )
    table = table.with_columns(_row_numbers(table["itemID"], file)).rename({"itemID": "item_id"})
    known = table.filter(pl.col("item_id") < n_items)
    notes["items_without_row"] = len(table) - len(known)
    texts = [name for name in known.columns if name not in ("item_id", "images", "image_urls")]
    return known.select(pl.col("item_id").cast(pl.String), *texts)
