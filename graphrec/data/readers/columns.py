"""Columns of raw tables: recognised by name, parsed to the types of a `Source`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from modalities._base.errors import InputError, UnknownNameError, nearest

KNOWN_NAMES: Mapping[str, tuple[str, ...]] = {
    "user": ("user", "user_id", "userid", "reviewerid"),
    "item": ("item", "item_id", "itemid", "parent_asin", "asin"),
    "timestamp": ("timestamp", "date", "datetime", "time", "unixreviewtime"),
    "rating": ("rating", "overall"),
    "label": ("x_label", "split"),
}
"""Names each column is recognised by, in order of preference; upper and lower case are equal."""

LABELS: Mapping[str, int] = {
    **{"0": 0, "train": 0, "training": 0},
    **{"1": 1, "valid": 1, "val": 1, "validation": 1, "dev": 1},
    **{"2": 2, "test": 2, "testing": 2},
}
"""Names of the parts of a split, in lower case."""

_REQUIRED = ("user", "item")
_UNITS = ((1e11, "seconds", 1), (1e14, "milliseconds", 10**3), (1e17, "microseconds", 10**6))


def choose_columns(
    present: Sequence[str], given: Mapping[str, str] | None, where: str
) -> dict[str, str]:
    """Say which column of a table plays which part.

    Args:
        present: the names of the table's columns.
        given: part (`user`, `item`, `rating`, `timestamp`, `label`) to column name; these must
            exist. Parts not given are recognised by `KNOWN_NAMES`; an empty name leaves an
            optional part out.
        where: the table, for messages.

    Returns:
        Part to column name, `user` and `item` always among them.

    Raises:
        UnknownNameError: a part is none of these.
        InputError: a given column, or one for `user` or `item`, is not there.

    Example:
        >>> choose_columns(["UserID", "sku", "Date"], {"item": "sku"}, "sales.csv")
        {'user': 'UserID', 'item': 'sku', 'timestamp': 'Date'}
    """
    given = given or {}
    for part in given:
        if part not in KNOWN_NAMES:
            raise UnknownNameError("column part", part, KNOWN_NAMES)
    chosen: dict[str, str] = {}
    lowered = {name.lower(): name for name in reversed(present)}
    for part, names in KNOWN_NAMES.items():
        if part in given:
            if not given[part] and part not in _REQUIRED:
                continue
            if given[part] not in present:
                raise InputError(describe_missing(part, given[part], present, where))
            chosen[part] = given[part]
            continue
        found = [lowered[name] for name in names if name in lowered]
        found = [name for name in found if name not in given.values()]
        if found:
            chosen[part] = found[0]
        elif part in _REQUIRED:
            raise InputError(describe_missing(part, None, present, where))
    return chosen


def describe_missing(part: str, name: str | None, present: Sequence[str], where: str) -> str:
    """The message for a column that is not there, with the nearest of those that are.

    Example:
        >>> describe_missing("user", "usr", ["user", "item"], "t.csv")
        "'t.csv' has no column 'usr'; did you mean 'user'? Its columns: user, item"
    """
    wanted = f"column '{name}'" if name else f"column for the {part} ids"
    near = nearest((name or part).lower(), [c.lower() for c in present])
    hint = next((c for c in present if near and c.lower() == near), None)
    suggestion = f"; did you mean '{hint}'?" if hint else "."
    way_out = "" if name else f". Name it with {part}=COLUMN"
    return f"'{where}' has no {wanted}{suggestion} Its columns: {', '.join(present)}{way_out}"


def parse_interactions(
    table: pl.DataFrame,
    columns: Mapping[str, str],
    where: str,
    *,
    integer_ids: bool = False,
    strict: bool = False,
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Turn the chosen columns of a raw table into interactions.

    Rows without user, item, timestamp or label are dropped and counted; a rating that is no
    number becomes null and is counted.

    Args:
        table: the raw table.
        columns: part to column name, from `choose_columns`.
        where: the table, for messages.
        integer_ids: read ids as whole numbers, so that "007" and "7" are one id.
        strict: any bad value is an error.

    Returns:
        Interactions in file order, and notes: `rows` and, per kind of bad value, a count.

    Raises:
        InputError: the table is empty, no row is usable, or `strict` and a value is bad.
    """
    if table.is_empty():
        raise InputError(f"'{where}' holds no rows")
    notes: dict[str, Any] = {"rows": len(table)}
    parsed: dict[str, pl.Series] = {}
    for part, name in columns.items():
        column = table[name]
        if part in _REQUIRED:
            parsed[part] = parse_ids(column, integer_ids)
        elif part == "rating":
            parsed[part] = column.cast(pl.Float32, strict=False).fill_nan(None)
        elif part == "timestamp":
            parsed[part], notes["timestamp_unit"] = parse_timestamps(column, where)
        else:
            parsed[part] = parse_labels(column, where)
    bad = {part: series.null_count() for part, series in parsed.items() if series.null_count()}
    counts = ", ".join(f"{n:,} without a usable {part}" for part, n in bad.items())
    if bad and strict:
        raise InputError(f"'{where}' has bad rows: {counts}")
    if bad:
        notes["missing"] = bad
    frame = pl.DataFrame([series.alias(part) for part, series in parsed.items()])
    kept = frame.drop_nulls([part for part in parsed if part != "rating"])
    if kept.is_empty():
        raise InputError(f"'{where}' has no usable row: {counts}")
    return kept, {**notes, "dropped": len(frame) - len(kept)}


def parse_ids(column: pl.Series, integer: bool = False) -> pl.Series:
    """Ids as strings, null where missing.

    Missing are null, NaN, the empty string, and the words nan and null. Whole numbers stored as
    floats lose their ".0".

    Args:
        column: strings or numbers.
        integer: whole numbers only, without leading zeros; anything else counts as missing.

    Example:
        >>> parse_ids(pl.Series(["007", "", "nan"])).to_list()
        ['007', None, None]
        >>> parse_ids(pl.Series([7.0, None])).to_list()
        ['7', None]
    """
    if column.dtype.is_float():
        whole = column.drop_nulls().drop_nans()
        if (whole == whole.floor()).all():
            column = column.fill_nan(None).cast(pl.Int64)
    text = column.cast(pl.String)
    if integer:
        whole = text.str.replace(r"\.0+$", "").cast(pl.Int64, strict=False)
        return pl.Series(whole.cast(pl.String))
    x = pl.col("x")
    missing = x.str.to_lowercase().is_in(["", "nan", "null"])
    kept = text.to_frame("x").select(pl.when(~missing).then(x))
    return pl.Series(kept.to_series())


def parse_labels(column: pl.Series, where: str) -> pl.Series:
    """Parts of a split as int8: 0 train, 1 valid, 2 test; numbers or names (`LABELS`).

    Raises:
        InputError: a value is none of these.

    Example:
        >>> parse_labels(pl.Series(["train", "Test", None]), "t").to_list()
        [0, 2, None]
    """
    text = column.cast(pl.String).str.strip_chars().str.to_lowercase()
    text = text.str.replace(r"\.0+$", "").replace("", None)
    unknown = text.drop_nulls().filter(~text.drop_nulls().is_in(list(LABELS)))
    if len(unknown):
        raise InputError(
            f"column '{column.name}' of '{where}' has {len(unknown):,} labels that are not 0, 1, "
            f"2 or train, valid, test (the first: '{unknown[0]}'); if it is no split, name "
            "another column"
        )
    return pl.Series(text.replace_strict(LABELS, default=None, return_dtype=pl.Int8))


def parse_timestamps(column: pl.Series, where: str) -> tuple[pl.Series, str]:
    """Times as whole seconds since 1970-01-01 UTC, null where missing, and the unit found.

    Understood are dates and datetimes of a typed table; ISO 8601 text (`2020-09-16`,
    `2020-09-16 10:30`, `2020-09-16T10:30:00.5+02:00`; without an offset UTC); eight digits
    that are calendar days (`20200916`); and numbers since 1970, whose unit follows from the
    median size: below 1e11 seconds, below 1e14 milliseconds, below 1e17 microseconds, else
    nanoseconds. Fractions of seconds are cut.

    Raises:
        InputError: there are values, and not one is a time.

    Example:
        >>> parse_timestamps(pl.Series(["1970-01-02", None]), "t")[0].to_list()
        [86400, None]
    """
    if column.dtype in (pl.Date, pl.Datetime):
        moment = column.cast(pl.Datetime("us")) if column.dtype == pl.Date else column
        return moment.dt.epoch("s"), "date"
    if column.dtype.is_numeric():
        return _numbers(column)
    text = column.cast(pl.String).str.strip_chars().replace("", None)
    moments, numbers = _iso(text), text.cast(pl.Float64, strict=False)
    if numbers.null_count() <= moments.null_count() and numbers.null_count() < len(text):
        return _numbers(text)
    if moments.null_count() == len(text) > text.null_count():
        example = text.drop_nulls()[0]
        raise InputError(
            f"column '{column.name}' of '{where}' holds no times that can be read (the first: "
            f"'{example}'); expected ISO dates such as 2020-09-16, or seconds since 1970; leave "
            "it out with an empty name for timestamp"
        )
    return moments, "date"


def _numbers(column: pl.Series) -> tuple[pl.Series, str]:
    exact = column.cast(pl.Int64, strict=False)
    if exact.null_count() > column.null_count() or column.dtype.is_float():
        exact = column.cast(pl.Float64, strict=False).floor().cast(pl.Int64, strict=False)
    values = exact.drop_nulls()
    if len(values) and values.is_between(1900_00_00, 2100_00_00).all():
        days = exact.cast(pl.String).str.to_date("%Y%m%d", strict=False)
        if days.null_count() == exact.null_count():
            return days.cast(pl.Datetime("us")).dt.epoch("s"), "date"
    size = values.abs().median()
    typical = float(size) if isinstance(size, (int, float)) else 0.0
    for limit, unit, divisor in _UNITS:
        if typical < limit:
            return exact // divisor, unit
    return exact // 10**9, "nanoseconds"


def _iso(text: pl.Series) -> pl.Series:
    normal = text.str.replace(r"^(\d{4}-\d\d-\d\d) ", "${1}T").str.replace(r" ?[zZ]$", "+0000")
    normal = normal.str.replace(r"([+-]\d\d):?(\d\d)$", "${1}${2}")
    x = pl.col("x")
    local = [x.str.to_datetime(f, strict=False, time_unit="us") for f in _LOCAL]
    zoned = [x.str.to_datetime(f, strict=False, time_unit="us", time_zone="UTC") for f in _ZONED]
    day = x.str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime("us"))
    every = [e.dt.epoch("s") for e in (day, *local, *zoned)]
    return normal.to_frame("x").select(pl.coalesce(every)).to_series()


_LOCAL = ("%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M")
_ZONED = ("%Y-%m-%dT%H:%M:%S%.f%z", "%Y-%m-%dT%H:%M%z")
