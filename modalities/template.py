"""What to encode, in words: `image`, or a template of column names, or both."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modalities._base.errors import InputError, UnknownNameError

if TYPE_CHECKING:
    import polars as pl

IMAGE = "image"
_PIECE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_JOINT = re.compile(r"^\s*image\s*\+\s*(?=\S)")


@dataclass(frozen=True)
class Template:
    """Column names in braces with text around them; no expressions.

    The text before a field belongs to it: where the value is absent (null, blank, not a number)
    both vanish, and text that joins two fields stands only between two present values. Text after
    the last field stays when any value is present. `{{` and `}}` are braces.

    Args:
        fields: (text before, column) pairs, in order.
        tail: text after the last field.

    Example:
        >>> template = Template.parse("{title}. Brand: {brand}")
        >>> template.fill({"title": "Red hat", "brand": "Acme"})
        'Red hat. Brand: Acme'
        >>> template.fill({"title": "Red hat", "brand": None})
        'Red hat'
        >>> template.fill({"title": " ", "brand": "Acme"})
        'Brand: Acme'
    """

    fields: tuple[tuple[str, str], ...]
    tail: str = ""

    @classmethod
    def parse(cls, text: str) -> Template:
        """Read a template.

        Raises:
            InputError: braces that do not match, or something else than a name in them.
        """
        fields: list[tuple[str, str]] = []
        before, place = "", 0
        for piece in _PIECE.finditer(text):
            before += text[place : piece.start()]
            place = piece.end()
            if piece[0] in ("{{", "}}"):
                before += piece[0][0]
            elif piece[1] is None:
                raise InputError(f"template '{text}': a lone '{piece[0]}'; write it twice")
            else:
                fields.append((before, _name(piece[1], text)))
                before = ""
        if not fields:
            raise InputError(
                f"template '{text}' names no column; write column names in braces, such as "
                "'{title}. {description}', or image for the pictures"
            )
        return cls(tuple(fields), before + text[place:])

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns named, in order."""
        return tuple(column for _, column in self.fields)

    @property
    def canonical(self) -> str:
        """The template as text; equal templates have one."""
        doubled = ((t.replace("{", "{{").replace("}", "}}"), column) for t, column in self.fields)
        tail = self.tail.replace("{", "{{").replace("}", "}}")
        return "".join(f"{before}{{{column}}}" for before, column in doubled) + tail

    def fill(self, row: Mapping[str, object]) -> str:
        """The text for one item; "" where every value is absent.

        Raises:
            UnknownNameError: the row has no such column.
        """
        text = ""
        for number, (before, column) in enumerate(self.fields):
            if column not in row:
                raise UnknownNameError("column", column, row)
            value = _text(row[column])
            if not value:
                continue
            # A separator has nothing to separate at the beginning; a label stays.
            opening = before if text or number == 0 else _label(before)
            text += opening + value
        return text + self.tail if text else ""

    def render(self, table: pl.DataFrame) -> list[str]:
        """The text of every row of a table.

        Raises:
            UnknownNameError: the table has no such column.
        """
        for column in self.columns:
            if column not in table.columns:
                raise UnknownNameError("column", column, table.columns)
        rows = table.select(list(dict.fromkeys(self.columns))).iter_rows(named=True)
        return [self.fill(row) for row in rows]


@dataclass(frozen=True)
class ContentRequest:
    """What an encoder shall get of every item.

    Args:
        image: the picture.
        template: the text, or None.
    """

    image: bool
    template: Template | None

    @property
    def canonical(self) -> str:
        """The request as text."""
        said = [IMAGE] if self.image else []
        return " + ".join([*said, *([self.template.canonical] if self.template else [])])


def parse_content(text: str) -> ContentRequest:
    """Read what `--content` says: `image`, a template, or `image + TEMPLATE`.

    Raises:
        InputError: it is none of these.

    Example:
        >>> parse_content("image + {title}").image
        True
        >>> parse_content("{title}").template.columns
        ('title',)
    """
    if text.strip() == IMAGE:
        return ContentRequest(True, None)
    joint = _JOINT.match(text)
    if joint:
        return ContentRequest(True, Template.parse(text[joint.end() :]))
    return ContentRequest(False, Template.parse(text))


def _name(inside: str, text: str) -> str:
    name = inside.strip()
    if not name or re.search(r"[!:()\[\]]|\.\w", name):
        raise InputError(
            f"template '{text}': braces hold the name of a column and nothing else, "
            f"got '{{{inside}}}'"
        )
    return name


def _text(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(_words(value))
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return str(value).strip()


def _words(values: list[object] | tuple[object, ...]) -> Iterator[str]:
    return (text for text in map(_text, values) if text)


def _label(before: str) -> str:
    """What of the text before a field is its label: all after the separator.

    Example:
        >>> _label(". Brand: "), _label(", "), _label(" | ")
        ('Brand: ', '', '')
    """
    found = re.search(r"\w", before)
    return before[found.start() :] if found else ""
