"""RecBole atomic files: `NAME.inter`, `NAME.item`, headers `field:type`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from graphrec.data.readers.columns import (
    choose_columns,
    describe_missing,
    parse_ids,
    parse_interactions,
)
from graphrec.data.readers.files import read_table
from graphrec.data.readers.pictures import as_text
from graphrec.data.source import Source
from modalities._base.errors import InputError

TYPES = ("token", "float", "token_seq", "float_seq")
"""The field types of atomic files."""

_PARTS = ("train", "valid", "test")


def read_recbole(
    path: Path | str, *, columns: Mapping[str, str] | None = None, strict: bool = False
) -> Source:
    """Read a folder of RecBole atomic files.

    Files are tab-separated with a header of `field:type`, type token, float, token_seq or
    float_seq. Read are `NAME.inter` and, where present, `NAME.item`, whose fields become text
    columns as written. `NAME.train.inter`, `NAME.valid.inter` and `NAME.test.inter` in place of
    `NAME.inter` give the labels of the split. Other atomic files (`.user`, `.kg`, ...) are named
    in the notes and not read. A field `label` is RecBole's click label and is ignored.

    Args:
        path: the folder, or its `.inter` file where it has several.
        columns: part (`user`, `item`, `rating`, `timestamp`) to field name, without the type;
            default: recognised, as in `read_tables`.
        strict: a row with a missing or unreadable value is an error; otherwise it is dropped
            and counted.

    Raises:
        InputError: a file or field is missing, a header has no types, item ids repeat, or
            `strict` and a row is bad.

    Source: RecBole, 2021, arXiv 2011.01731.
    """
    files = _inter_files(Path(path))
    folder, name = files[0].parent, files[0].name.split(".")[0]
    frames, rows = [], []
    for file in files:
        table = _read_atomic(file)
        chosen = choose_columns(table.columns, columns, str(file))
        frame, notes = parse_interactions(table, chosen, str(file), strict=strict)
        part = file.name.split(".")[-2] if len(files) > 1 else ""
        if part in _PARTS:
            frame = frame.with_columns(pl.lit(_PARTS.index(part), dtype=pl.Int8).alias("label"))
        frames.append(frame)
        rows.append({"file": file.name, "columns": chosen, **notes})
    items = _read_items(folder / f"{name}.item", frames[0], chosen["item"])
    others = [
        f.name for f in sorted(folder.glob(f"{name}.*")) if f.suffix not in (".inter", ".item")
    ]
    return Source(
        name=name,
        interactions=pl.concat(frames),
        items=items,
        notes={"format": "recbole", "files": rows, "not_read": others},
    )


def is_atomic(file: Path) -> bool:
    """Whether the first line of a text file reads like `field:type`."""
    with file.open("rb") as stream:
        header = stream.readline(65536).decode("utf-8", "replace").strip().split("\t")
    return all(field.rpartition(":")[2] in TYPES for field in header)


def _inter_files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InputError(f"folder '{path}' does not exist")
    found = sorted(path.glob("*.inter"))
    whole = [file for file in found if file.name.count(".") == 1]
    if len(whole) > 1:
        named = [file for file in whole if file.stem == path.name]
        if not named:
            names = ", ".join(file.name for file in whole)
            raise InputError(f"folder '{path}' holds several data sets ({names}); give one file")
        whole = named
    if whole:
        return whole
    split = {tuple(file.name.split(".")[-2:]): file for file in found}
    parts = [split[part, "inter"] for part in _PARTS if (part, "inter") in split]
    if len(parts) != len(found) or not parts:
        raise InputError(
            f"folder '{path}' holds no NAME.inter, nor NAME.train.inter, NAME.valid.inter and "
            "NAME.test.inter of one data set"
        )
    return parts


def _read_atomic(file: Path) -> pl.DataFrame:
    table = read_table(file, separator="\t")
    fields = [column.rpartition(":") for column in table.columns]
    wrong = [column for column, f in zip(table.columns, fields) if f[2] not in TYPES or not f[0]]
    if wrong:
        raise InputError(
            f"the header of '{file}' has fields without a type ({', '.join(wrong)}); expected "
            f"field:type with type {', '.join(TYPES)}"
        )
    renamed = {column: field[0] for column, field in zip(table.columns, fields)}
    return table.rename(renamed)


def _read_items(file: Path, interactions: pl.DataFrame, key: str) -> pl.DataFrame | None:
    if not file.is_file():
        return None
    table = _read_atomic(file)
    if key not in table.columns:
        raise InputError(describe_missing("item", key, table.columns, str(file)))
    texts = [column for column in table.get_columns() if column.name not in (key, "item_id")]
    ids: Any = parse_ids(table[key]).alias("item_id")
    return pl.DataFrame([ids, *as_text(texts)]).drop_nulls("item_id")
