"""Raw tables read as text: CSV, TSV and Parquet, plain or gzip."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, Union

import polars as pl

from modalities._base.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

Table: TypeAlias = Union[Path, str, pl.DataFrame, pl.LazyFrame, "pd.DataFrame"]
"""A file, or a frame in memory."""

SEPARATORS = {".csv": ",", ".tsv": "\t", ".txt": "\t", ".inter": "\t"}
"""What separates the cells of a text table, by suffix (before `.gz`)."""

TABLE_SUFFIXES = (".csv", ".tsv", ".txt", ".parquet", ".pq")
"""Kinds of tables, each text kind also with `.gz`."""


def table_suffix(path: Path) -> str:
    """The suffix in lower case, without `.gz`.

    Example:
        >>> table_suffix(Path("a.CSV.gz"))
        '.csv'
    """
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes[-1:] == [".gz"]:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def table_stem(path: Path) -> str:
    """The file name without the suffixes of tables.

    Example:
        >>> table_stem(Path("shop.v2.csv.gz"))
        'shop.v2'
    """
    return Path(path.name[:-3] if path.name.lower().endswith(".gz") else path.name).stem


def load_table(table: Table, what: str) -> tuple[pl.DataFrame, str]:
    """A file or frame as a Polars frame, and what to call it in messages.

    Raises:
        InputError: it is neither, or the file cannot be read.
    """
    if isinstance(table, (str, Path)):
        return read_table(Path(table)), str(table)
    if isinstance(table, pl.LazyFrame):
        return table.collect(), what
    if isinstance(table, pl.DataFrame):
        return table, what
    if type(table).__module__.startswith("pandas"):
        return pl.from_pandas(table), what
    raise InputError(
        f"{what} must be a file, a Polars frame or a pandas frame, got {type(table).__name__}"
    )


def read_table(
    path: Path, *, separator: str | None = None, columns: Sequence[str] | None = None
) -> pl.DataFrame:
    """Read a table; the cells of text files stay text, so leading zeros survive.

    Args:
        path: CSV, TSV (also `.gz`) or Parquet, by suffix.
        separator: read as text with this separator, whatever the suffix.
        columns: only these; default all.

    Raises:
        InputError: the file is missing, empty, damaged, of an unknown kind or repeats a column.
    """
    if not path.is_file():
        raise InputError(f"file '{path}' does not exist")
    suffix = table_suffix(path)
    picked = list(columns) if columns is not None else None
    try:
        if separator is None and suffix in (".parquet", ".pq"):
            return pl.read_parquet(path, columns=picked)
        separator = separator or SEPARATORS.get(suffix)
        if separator is None:
            raise InputError(f"'{path}' is of an unknown kind; give CSV, TSV or Parquet")
        source = io.BytesIO(read_gzip(path)) if path.suffix.lower() == ".gz" else path
        header = _first_line(source)
        quote = '"' if separator == "," or header.startswith(b'"') else None
        table = pl.read_csv(
            source, separator=separator, columns=picked, infer_schema=False, quote_char=quote
        )
    except pl.exceptions.NoDataError:
        raise InputError(f"file '{path}' is empty") from None
    except (pl.exceptions.PolarsError, OSError, UnicodeDecodeError) as error:
        first = str(error).strip().splitlines()[0]
        raise InputError(f"cannot read '{path}': {first}") from None
    _refuse_repeated(header, separator, quote, path)
    return table


def _refuse_repeated(header: bytes, separator: str, quote: str | None, path: Path) -> None:
    """Of columns with one name Polars keeps the first and renames the others without a word."""
    line = header.decode("utf-8-sig", "replace").strip("\r\n")
    names = next(csv.reader([line], delimiter=separator)) if quote else line.split(separator)
    for name in filter(None, names):
        if names.count(name) > 1:
            raise InputError(f"'{path}' has two columns named '{name}'; rename one of them")


def _first_line(source: Path | io.BytesIO) -> bytes:
    if isinstance(source, io.BytesIO):
        line = source.readline()
        source.seek(0)
        return line
    with source.open("rb") as stream:
        return stream.readline()


def read_gzip(path: Path) -> bytes:
    """The unpacked bytes of a gzip file.

    Raises:
        InputError: it is truncated or damaged.
    """
    try:
        with gzip.open(path, "rb") as stream:
            return stream.read()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(damaged(path, error)) from None


def damaged(path: Path, error: Exception) -> str:
    """The message for a gzip file that cannot be unpacked to its end."""
    what = "is truncated" if isinstance(error, EOFError) else f"is damaged ({error})"
    return f"gzip file '{path}' {what}; get it again, its end is lost"
