from __future__ import annotations

from datetime import date
from decimal import Decimal

import numpy as np
import polars as pl
import pytest

from modalities._base.errors import InputError
from modalities.template import Template, parse_content


@pytest.mark.parametrize(
    ("template", "row", "expected"),
    [
        ("{a}. {b}", {"a": "x", "b": "y"}, "x. y"),
        ("{a}. {b}", {"a": "x", "b": None}, "x"),
        ("{a}. {b}", {"a": None, "b": "y"}, "y"),
        ("{a}. {b}", {"a": " ", "b": float("nan")}, ""),
        ("{a}, {b}, {c}", {"a": "x", "b": "", "c": "z"}, "x, z"),
        ("Title: {a} | Brand: {b}", {"a": "x", "b": "y"}, "Title: x | Brand: y"),
        ("Title: {a} | Brand: {b}", {"a": None, "b": "y"}, "Brand: y"),
        ("Title: {a} | Brand: {b}", {"a": "x", "b": None}, "Title: x"),
        ("{a}!", {"a": "x"}, "x!"),
        ("{a}!", {"a": None}, ""),
        ("{{{a}}}", {"a": "x"}, "{x}"),
        ("{a}: {b}", {"a": 3, "b": ["p", None, "q"]}, "3: p, q"),
        ("{a}", {"a": "{b}", "b": "secret"}, "{b}"),
        ("{ a }", {"a": "x"}, "x"),
        ("{a} ({b})", {"a": "x", "b": "y"}, "x (y)"),
        ("{a} ({b})", {"a": "x", "b": None}, "x"),
        ("{a} ({b})", {"a": None, "b": "y"}, "(y)"),
        ("{a} [{b}], {c}", {"a": "x", "b": "", "c": "z"}, "x, z"),
        ("{a} ({b}) {c}", {"a": "x", "b": "y", "c": None}, "x (y)"),
        ('"{a}" by {b}', {"a": None, "b": "y"}, "by y"),
        ("({a}) {b}!", {"a": None, "b": "y"}, "y!"),
        ("{a} (new) {b}", {"a": "x", "b": "y"}, "x (new) y"),
        ("{a}, €{b} #{c}", {"a": None, "b": "9", "c": "1"}, "€9 #1"),
        ("{a} - {b} -- {c}", {"a": None, "b": None, "c": "z"}, "z"),
        ("{a}", {"a": ["p", [None, "q"], []]}, "p, q"),
        ("{a}", {"a": []}, ""),
        ("{a} {b}", {"a": 0, "b": False}, "0 False"),
        ("{a}", {"a": date(2024, 5, 1)}, "2024-05-01"),
    ],
)
def test_absent_values_leave_with_their_separators(
    template: str, row: dict[str, object], expected: str
) -> None:
    assert Template.parse(template).fill(row) == expected


@pytest.mark.parametrize(
    "absent",
    [None, "", " \n\t", np.float32("nan"), np.float64("nan"), Decimal("nan")],
)
def test_what_counts_as_absent(absent: object) -> None:
    assert Template.parse("{a}: {b}").fill({"a": absent, "b": np.int64(3)}) == "3"


@pytest.mark.parametrize("given", [("p", "q"), np.array(["p", "q"]), pl.Series(["p", "q"])])
def test_lists_of_any_library(given: object) -> None:
    assert Template.parse("{a}").fill({"a": given}) == "p, q"


def test_values_of_pandas() -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is optional")
    template = Template.parse("{a}: {b}")
    for absent in (pandas.NA, pandas.NaT):
        assert template.fill({"a": absent, "b": pandas.Series(["p", "q"])}) == "p, q"


@pytest.mark.parametrize("value", [b"x", {"k": 1}, ["x", {"k": 1}]])
def test_values_that_are_no_text(value: object) -> None:
    with pytest.raises(InputError, match="column 'a' holds"):
        Template.parse("{a}").fill({"a": value})


@pytest.mark.parametrize(
    "text", ["no field", "{}", "{a", "a}", "{a.b}", "{a!r}", "{a:>5}", "{a[0]}", "{f(a)}", ""]
)
def test_only_names_stand_in_braces(text: str) -> None:
    with pytest.raises(InputError, match="template"):
        Template.parse(text)


def test_tables() -> None:
    table = pl.DataFrame({"title": ["x", None], "brand": ["y", "z"], "tags": [["p", "q"], []]})
    assert Template.parse("{title} by {brand} ({tags}").render(table) == ["x by y (p, q", "by z"]
    with pytest.raises(InputError, match="did you mean 'title'"):
        Template.parse("{titel}").render(table)
    with pytest.raises(InputError, match="column 's' holds dict"):
        Template.parse("{s}").render(pl.DataFrame({"s": [{"k": 1}]}))
    floats = pl.DataFrame({"a": pl.Series([1.5, float("nan"), None], dtype=pl.Float32)})
    assert Template.parse("costs {a}").render(floats) == ["costs 1.5", "", ""]


@pytest.mark.parametrize("text", ["{a}. {b}", "{{x}} {a}", "A: {a}!", "{a} ({b}) {c}", "{{{a}}}"])
def test_the_canonical_text_means_the_same(text: str) -> None:
    template = Template.parse(text)
    assert Template.parse(template.canonical) == template
    assert template.canonical == text


def test_what_to_encode() -> None:
    assert parse_content("image").canonical == "image"
    assert parse_content(" image ").template is None
    joint = parse_content("image + {title}. {brand}")
    assert joint.image
    assert joint.template is not None
    assert joint.template.columns == ("title", "brand")
    assert joint.canonical == "image + {title}. {brand}"
    assert not parse_content("{image}").image
    assert parse_content("image+{title}") == parse_content("image  + {title}")


@pytest.mark.parametrize("text", ["images", "Image", "image +", "image + image", "title", " "])
def test_what_is_no_content(text: str) -> None:
    with pytest.raises(InputError, match="names no column"):
        parse_content(text)
