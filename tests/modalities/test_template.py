from __future__ import annotations

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
    ],
)
def test_absent_values_leave_with_their_separators(
    template: str, row: dict[str, object], expected: str
) -> None:
    assert Template.parse(template).fill(row) == expected


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


@pytest.mark.parametrize("text", ["{a}. {b}", "{{x}} {a}", "A: {a}!"])
def test_the_canonical_text_means_the_same(text: str) -> None:
    template = Template.parse(text)
    assert Template.parse(template.canonical) == template


def test_what_to_encode() -> None:
    assert parse_content("image").canonical == "image"
    assert parse_content(" image ").template is None
    joint = parse_content("image + {title}. {brand}")
    assert joint.image
    assert joint.template is not None
    assert joint.template.columns == ("title", "brand")
    assert joint.canonical == "image + {title}. {brand}"
    assert not parse_content("{image}").image
    with pytest.raises(InputError, match="names no column"):
        parse_content("images")
