"""Columns recognised by name and parsed."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from typing import Any

import polars as pl
import pytest

from graphrec.data.readers.columns import (
    choose_columns,
    parse_ids,
    parse_interactions,
    parse_labels,
    parse_timestamps,
)
from modalities._base.errors import InputError, UnknownNameError


@pytest.mark.parametrize("user", ["user", "user_id", "userID", "USER_ID", "reviewerID"])
@pytest.mark.parametrize("item", ["item", "item_id", "itemID", "parent_asin", "asin"])
def test_names_are_recognised(user: str, item: str) -> None:
    present = ["noise", item, user, "Date", "Rating", "split"]
    assert choose_columns(present, None, "t") == {
        **{"user": user, "item": item, "timestamp": "Date", "rating": "Rating", "label": "split"}
    }


def test_given_names_win_and_are_not_used_twice() -> None:
    present = ["user", "customer", "item_id", "asin", "time", "date"]
    given = {"user": "customer", "item": "asin", "timestamp": "date"}
    assert choose_columns(present, given, "t") == given
    assert choose_columns(present, {"timestamp": ""}, "t") == {"user": "user", "item": "item_id"}
    with pytest.raises(InputError, match="no column for the item ids"):
        choose_columns(["user", "item"], {"user": "item"}, "t")


def test_parent_asin_is_preferred_to_asin() -> None:
    assert choose_columns(["asin", "parent_asin", "user_id"], None, "t")["item"] == "parent_asin"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"user": "uuid"},
            r"'t' has no column 'uuid'; did you mean 'uid'\? Its columns: uid, item",
        ),
        (None, r"'t' has no column for the user ids.* Its columns: uid, item. Name it with user="),
    ],
)
def test_missing_columns_are_named(given: dict[str, str] | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        choose_columns(["uid", "item"], given, "t")


def test_unknown_part() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'user'"):
        choose_columns(["a", "b"], {"users": "a"}, "t")


def test_ids_stay_as_they_are() -> None:
    assert parse_ids(pl.Series(["0012", " x", "", "NaN", "null", None])).to_list() == [
        *("0012", " x", None, None, None, None)
    ]
    assert parse_ids(pl.Series([12, None])).to_list() == ["12", None]
    assert parse_ids(pl.Series([12.0, float("nan")])).to_list() == ["12", None]
    assert parse_ids(pl.Series([1.5, 2.0])).to_list() == ["1.5", "2.0"]
    assert parse_ids(pl.Series(["007", "7", "7.0", "x"]), integer=True).to_list() == [
        *("7", "7", "7", None)
    ]
    assert parse_ids(pl.Series(["a", "b"], dtype=pl.Categorical)).to_list() == ["a", "b"]


def test_labels() -> None:
    names = ["train", "VALID", "test", "val", "validation", "dev", "0", " 1 ", "2", "", None]
    expected = [0, 1, 2, 1, 1, 1, 0, 1, 2, None, None]
    assert parse_labels(pl.Series(names), "t").to_list() == expected
    assert parse_labels(pl.Series([0.0, 1.0, 2.0]), "t").to_list() == [0, 1, 2]
    with pytest.raises(
        InputError, match=r"column 'split' of 't' has 2 labels .* \(the first: '3'\)"
    ):
        parse_labels(pl.Series("split", [0, 3, -1]), "t")


MOMENT = datetime(2020, 9, 16, 10, 30, 5, tzinfo=timezone.utc)
SECONDS = int(MOMENT.timestamp())
DAY = int(datetime(2020, 9, 16, tzinfo=timezone.utc).timestamp())


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2020-09-16", DAY),
        ("2020-09-16T10:30:05", SECONDS),
        ("2020-09-16 10:30:05", SECONDS),
        ("2020-09-16 10:30:05.750", SECONDS),
        ("2020-09-16T10:30:05Z", SECONDS),
        ("2020-09-16 10:30:05 Z", SECONDS),
        ("2020-09-16T12:30:05+02:00", SECONDS),
        ("2020-09-16T03:00:05.5-0730", SECONDS),
        ("2020-09-16T10:30", SECONDS - 5),
        ("2020-09-16 12:30+02:00", SECONDS - 5),
        ("20200916", DAY),
        (20200916, DAY),
        (SECONDS, SECONDS),
        (str(SECONDS), SECONDS),
        (float(SECONDS) + 0.5, SECONDS),
        (f"{SECONDS}.9", SECONDS),
        (SECONDS * 1000 + 7, SECONDS),
        (str(SECONDS * 1000), SECONDS),
        (SECONDS * 10**6, SECONDS),
        (SECONDS * 10**9, SECONDS),
        (date(2020, 9, 16), DAY),
        (datetime(2020, 9, 16, 10, 30, 5), SECONDS),
        (MOMENT.astimezone(timezone(timedelta(hours=9))), SECONDS),
    ],
)
def test_times(value: Any, expected: int) -> None:
    parsed, _ = parse_timestamps(pl.Series([value, None]), "t")
    assert parsed.dtype == pl.Int64
    assert parsed.to_list() == [expected, None]


def test_units_are_reported_and_small_numbers_are_seconds() -> None:
    units = {1: "seconds", 10**3: "milliseconds", 10**6: "microseconds", 10**9: "nanoseconds"}
    for factor, unit in units.items():
        assert parse_timestamps(pl.Series([SECONDS * factor]), "t")[1] == unit
    assert parse_timestamps(pl.Series([3, 1, 2]), "t")[0].to_list() == [3, 1, 2]
    assert parse_timestamps(pl.Series([20209916]), "t")[0].to_list() == [20209916]


def test_a_bad_time_among_good_ones_is_missing() -> None:
    assert parse_timestamps(pl.Series(["2020-09-16", "soon"]), "t")[0].to_list() == [DAY, None]
    assert parse_timestamps(pl.Series(["5", "soon"]), "t")[0].to_list() == [5, None]
    with pytest.raises(InputError, match=r"'when' of 't' holds no times .* \(the first: 'soon'\)"):
        parse_timestamps(pl.Series("when", ["soon", "late"]), "t")


def test_bad_rows_are_dropped_and_counted_or_refused() -> None:
    table = pl.DataFrame(
        {
            "u": ["a", None, "b", "c", "d"],
            "i": ["x", "x", "nan", "y", "z"],
            "t": ["2020-09-16", "2020-09-16", "2020-09-16", "", "2020-09-16"],
            "r": ["5", "4", "3", "2", "many"],
        }
    )
    columns = {"user": "u", "item": "i", "timestamp": "t", "rating": "r"}
    frame, notes = parse_interactions(table, columns, "t")
    assert frame.select("user", "item", "rating").rows() == [("a", "x", 5.0), ("d", "z", None)]
    assert notes["missing"] == {"user": 1, "item": 1, "timestamp": 1, "rating": 1}
    assert (notes["rows"], notes["dropped"]) == (5, 3)
    with pytest.raises(InputError, match="'t' has bad rows: 1 without a usable user"):
        parse_interactions(table, columns, "t", strict=True)
    with pytest.raises(InputError, match="no usable row"):
        parse_interactions(table[1:3], columns, "t")
    with pytest.raises(InputError, match="holds no rows"):
        parse_interactions(table[:0], columns, "t")
