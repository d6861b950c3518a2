"""Plain tables: CSV, TSV, Parquet, pandas or Polars frames, with an optional picture folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from graphrec.data.readers.columns import choose_columns, parse_interactions
from graphrec.data.readers.files import TABLE_SUFFIXES, Table, load_table, table_stem, table_suffix
from graphrec.data.readers.item_tables import parse_items
from graphrec.data.readers.pictures import match_pictures
from graphrec.data.source import Source
from modalities._base.errors import InputError


def read_tables(
    interactions: Table,
    *,
    items: Table | None = None,
    images: Path | str | None = None,
    columns: Mapping[str, str] | None = None,
    integer_ids: bool = False,
    name: str | None = None,
    strict: bool = False,
) -> Source:
    """Read interactions from a table or frame, with an optional item table and pictures.

    A folder that holds `interactions.*` is read with its `items.*` and `images/`. Columns not
    given are recognised by name, see `columns.KNOWN_NAMES`; times are understood as in
    `columns.parse_timestamps`. Cells of text files stay text, so an id such as 0111565001 keeps
    its zeros; TSV files are read without quoting unless their header is quoted.

    The item table keeps all its columns as text; a column such as `image_url` becomes the list
    `image_urls`, and `image_path` the list `images` (paths relative to `images`, else to the
    table). Otherwise pictures are matched by file name: `images/ITEM_ID.jpg`.

    Args:
        interactions: file, folder or frame.
        items: file or frame.
        images: folder of pictures.
        columns: part to column name: `user`, `item`, `rating`, `timestamp`, `label`, and
            `item_id` for the item table (default: as in the interactions, or recognised).
        integer_ids: read ids as whole numbers, so that "007" and "7" are one id.
        name: of the data set; default the name of the file or folder.
        strict: a row with a missing or unreadable value is an error; otherwise it is dropped
            and counted.

    Raises:
        InputError: a file or column is missing, a table is empty, item ids repeat, or `strict`
            and a row is bad.

    Example:
        >>> frame = pl.DataFrame({"user_id": [1], "item_id": ["a"], "date": ["2020-01-01"]})
        >>> read_tables(frame).interactions.columns
        ['user', 'item', 'timestamp']
    """
    given = dict(columns or {})
    title = name or _title(interactions)
    if isinstance(interactions, (str, Path)) and Path(interactions).is_dir():
        interactions, items, images = _folder(Path(interactions), items, images)
    table, where = load_table(interactions, "interactions")
    item_name = given.pop("item_id", None)
    chosen = choose_columns(table.columns, given, where)
    frame, counts = parse_interactions(table, chosen, where, integer_ids=integer_ids, strict=strict)
    notes: dict[str, Any] = {"format": "tables", "columns": chosen, **counts}
    known = None
    if items is not None:
        raw, place = load_table(items, "items")
        root = Path(images or (Path(items).parent if isinstance(items, (str, Path)) else "."))
        known, notes["items"] = parse_items(
            raw, place, given=item_name, like=chosen["item"], integer_ids=integer_ids, root=root
        )
        notes["items"] |= _overlap(frame["item"], known["item_id"])
    if images is not None:
        if known is None:
            known = frame.select(pl.col("item").unique(maintain_order=True).alias("item_id"))
        if "images" not in known.columns:
            known, notes["pictures"] = match_pictures(known, Path(images))
    return Source(title, frame, known, notes=notes)


def find_table(folder: Path, stem: str) -> Path | None:
    """The table `stem.*` of a folder, or None.

    Raises:
        InputError: there are several.
    """
    found = [
        file
        for file in sorted(folder.iterdir())
        if table_suffix(file) in TABLE_SUFFIXES and table_stem(file) == stem
    ]
    if len(found) > 1:
        names = ", ".join(file.name for file in found)
        raise InputError(f"folder '{folder}' holds several tables of {stem} ({names}); give one")
    return found[0] if found else None


def _folder(
    folder: Path, items: Table | None, images: Path | str | None
) -> tuple[Path, Table | None, Path | str | None]:
    found = find_table(folder, "interactions")
    if found is None:
        raise InputError(
            f"folder '{folder}' holds no interactions.csv, .tsv or .parquet; give the file itself"
        )
    if items is None:
        items = find_table(folder, "items")
    if images is None and (folder / "images").is_dir():
        images = folder / "images"
    return found, items, images


def _title(interactions: Table) -> str:
    if not isinstance(interactions, (str, Path)):
        return "frame"
    path = Path(interactions)
    return path.resolve().name if path.is_dir() else table_stem(path)


def _overlap(interacted: pl.Series, listed: pl.Series) -> dict[str, int]:
    known = interacted.unique()
    return {
        "without_interactions": int((~listed.is_in(known.implode())).sum()),
        "interacted_without_row": int((~known.is_in(listed.implode())).sum()),
    }
