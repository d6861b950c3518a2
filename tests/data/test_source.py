"""What a source accepts."""

from __future__ import annotations

import polars as pl
import pytest

from graphrec.data.source import Source
from modalities._base.errors import InputError

EVENTS = pl.DataFrame({"user": ["u"], "item": ["a"]})


def test_item_ids_must_be_unique() -> None:
    with pytest.raises(InputError, match=r"2 repeated item ids \(the first: 'b'\)"):
        Source("s", EVENTS, pl.DataFrame({"item_id": ["a", "b", "b", "b"]}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"user": pl.Series([1])}, "column 'user' .* must be String, got Int64"),
        ({"when": pl.Series([1])}, "have a column 'when'; known: user, item, rating"),
        ({"label": pl.Series([None], dtype=pl.Int8)}, "'label' .* has 1 missing values"),
        ({"timestamp": pl.Series([1.0])}, "'timestamp' .* must be Int64, got Float64"),
    ],
)
def test_interactions_are_checked(change: dict[str, pl.Series], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Source("s", EVENTS.with_columns(**change))


def test_missing_column_and_wrong_item_columns() -> None:
    with pytest.raises(InputError, match="lack the column 'item'"):
        Source("s", EVENTS.drop("item"))
    with pytest.raises(InputError, match="needs a string column 'item_id'"):
        Source("s", EVENTS, pl.DataFrame({"item": ["a"]}))
    with pytest.raises(InputError, match=r"column 'images' .* must be List"):
        Source("s", EVENTS, pl.DataFrame({"item_id": ["a"], "images": ["a.jpg"]}))
