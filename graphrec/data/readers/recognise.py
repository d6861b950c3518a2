"""The format of a folder, file or frame, found by looking at it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from graphrec.data.readers.amazon import read_amazon
from graphrec.data.readers.files import TABLE_SUFFIXES, Table, table_suffix
from graphrec.data.readers.mmrec import read_mmrec
from graphrec.data.readers.recbole import is_atomic, read_recbole
from graphrec.data.readers.tables import find_table, read_tables
from graphrec.data.source import Source
from modalities import Nonfinite
from modalities._base.errors import InputError

_JSON_SUFFIXES = (".json", ".jsonl", ".ndjson")


def read_source(
    path: Table,
    *,
    items: Table | None = None,
    images: Path | str | None = None,
    columns: Mapping[str, str] | None = None,
    integer_ids: bool = False,
    name: str | None = None,
    strict: bool = False,
    nonfinite: Nonfinite = "error",
) -> Source:
    """Read a folder, file or frame of any format there is a reader for.

    | what | reader |
    |-|-|
    | a frame; CSV, TSV or Parquet; a folder with `interactions.*` | `read_tables` |
    | a folder with `*.inter`, or that file, its header `field:type` | `read_recbole` |
    | a folder with `*.inter`, or that file, its header otherwise | `read_mmrec` |
    | JSON lines of reviews (`items`: of metadata) | `read_amazon` |

    Args:
        path: folder, file or frame.
        items: item table; with tables and JSON lines only.
        images: folder of pictures; with tables only.
        columns: part to column name; with tables and atomic files only.
        integer_ids: read ids as whole numbers; with tables only.
        name: of the data set; default from the file names.
        strict: bad rows are errors.
        nonfinite: what to do with feature rows holding NaN or infinity: `error`, `missing` or
            `zero`; with MMRec folders only.

    Raises:
        InputError: nothing is there, the format is not recognised, an option does not fit it, or
            its reader refuses the content.
    """
    kind = recognise(path)
    if kind == "tables":
        return read_tables(
            path,
            items=items,
            images=images,
            columns=columns,
            integer_ids=integer_ids,
            name=name,
            strict=strict,
        )
    assert isinstance(path, (str, Path))
    options = {"items": items, "images": images, "columns": columns, "integer_ids": integer_ids}
    allowed = {"mmrec": (), "recbole": ("columns",), "amazon": ("items",)}[kind]
    for option, value in options.items():
        if value and option not in allowed:
            raise InputError(f"'{path}' is read as {kind}, which takes no option {option}")
    if kind == "recbole":
        source = read_recbole(path, columns=columns, strict=strict)
    elif kind == "mmrec":
        source = read_mmrec(path, nonfinite=nonfinite)
    else:
        source = read_amazon(path, [items] if isinstance(items, (str, Path)) else [], strict=strict)
    return replace(source, name=name or source.name)


def recognise(path: Table) -> str:
    """The format of a folder, file or frame: `tables`, `mmrec`, `recbole` or `amazon`.

    Raises:
        InputError: nothing is there, or it is none of these.
    """
    if not isinstance(path, (str, Path)):
        return "tables"
    place = Path(path)
    if not place.exists():
        raise InputError(f"'{place}' does not exist")
    kind = _of_folder(place) if place.is_dir() else _of_file(place)
    if kind is None:
        raise InputError(
            f"the format of '{place}' is not recognised; expected a folder with NAME.inter "
            "(MMRec, RecBole) or interactions.csv|tsv|parquet, or a CSV, TSV, Parquet or .inter "
            "file, or JSON lines of Amazon reviews"
        )
    return kind


def _of_folder(folder: Path) -> str | None:
    if (folder / "manifest.json").is_file():
        raise InputError(f"'{folder}' holds a manifest.json: load it as a dataset, not as a source")
    found = sorted(folder.glob("*.inter"))
    if found:
        return _of_file(found[0])
    return "tables" if find_table(folder, "interactions") else None


def _of_file(file: Path) -> str | None:
    suffix = table_suffix(file)
    if suffix == ".inter":
        return "recbole" if is_atomic(file) else "mmrec"
    if suffix in TABLE_SUFFIXES:
        return "tables"
    return "amazon" if suffix in _JSON_SUFFIXES else None
