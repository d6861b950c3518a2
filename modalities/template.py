"""What to encode, in words: `image`, or a template of column names, or both."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modalities._base.errors import InputError, UnknownNameError

if TYPE_CHECKING:
    import polars as pl

IMAGE = "image"
_PIECE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_JOINT = re.compile(r"^\s*image\s*\+\s*(?=\S)")
_CLOSING = {"(": ")", "[": "]", "{": "}", "<": ">", "«": "»", "“": "”", '"': '"', "'": "'"}
# A label starts at a word, a sign that goes with what follows, or an opening bracket.
_LABEL = re.compile(r"[^\W_]|[#@$€£¥]|[(\[{<«“\"']")


@dataclass(frozen=True)
class Template:
    """Column names in braces with text around them; no expressions.

    The text before a field belongs to it: where the value is absent (null, blank, not a number)
    both vanish, and text that joins two fields stands only between two present values; of
    ". Brand: " the label "Brand: " stays at the beginning. Brackets or quotes around a field
    vanish with it. Text after the last field stays when any value is present. `{{` and `}}` are
    braces.

    Args:
        fields: (text before, column, closing bracket after or "") of each field, in order.
        tail: text after the last field.

    Example:
        >>> template = Template.parse("{title}. Brand: {brand}")
        >>> template.fill({"title": "Red hat", "brand": "Acme"})
        'Red hat. Brand: Acme'
        >>> template.fill({"title": "Red hat", "brand": None})
        'Red hat'
        >>> template.fill({"title": " ", "brand": "Acme"})
        'Brand: Acme'
        >>> Template.parse("{title} ({brand})").fill({"title": "Red hat", "brand": ""})
        'Red hat'
    """

    fields: tuple[tuple[str, str, str], ...]
    tail: str = ""

    @classmethod
    def parse(cls, text: str) -> Template:
        """Read a template.

        Raises:
            InputError: braces that do not match, or something else than a name in them.
        """
        columns: list[str] = []
        between, place = [""], 0
        for piece in _PIECE.finditer(text):
            between[-1] += text[place : piece.start()]
            place = piece.end()
            if piece[0] in ("{{", "}}"):
                between[-1] += piece[0][0]
            elif piece[1] is None:
                raise InputError(f"template '{text}': a lone '{piece[0]}'; write it twice")
            else:
                columns.append(_name(piece[1], text))
                between.append("")
        if not columns:
            raise InputError(
                f"template '{text}' names no column; write column names in braces, such as "
                "'{title}. {description}', or image for the pictures"
            )
        between[-1] += text[place:]
        fields = []
        for number, column in enumerate(columns):
            before, after = between[number : number + 2]
            closing = _CLOSING.get(before[-1:], "")
            closing = closing if after.startswith(closing) else ""
            between[number + 1] = after[len(closing) :]
            fields.append((before, column, closing))
        return cls(tuple(fields), between[-1])

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns named, in order."""
        return tuple(column for _, column, _ in self.fields)

    @property
    def canonical(self) -> str:
        """The template as text; equal templates have one."""
        said = [f"{_doubled(a)}{{{column}}}{_doubled(b)}" for a, column, b in self.fields]
        return "".join([*said, _doubled(self.tail)])

    def fill(self, row: Mapping[str, object]) -> str:
        """The text for one item; "" where every value is absent. Lists are joined by ", ".

        Raises:
            UnknownNameError: the row has no such column.
            InputError: a value is neither text, number, date nor a list of them.
        """
        text = ""
        for number, (before, column, closing) in enumerate(self.fields):
            if column not in row:
                raise UnknownNameError("column", column, row)
            value = _text(row[column], column)
            if not value:
                continue
            # A separator has nothing to separate at the beginning; a label stays.
            opening = before if text or number == 0 else _label(before)
            text += opening + value + closing
        return text + self.tail if text else ""

    def render(self, table: pl.DataFrame) -> list[str]:
        """The text of every row of a table.

        Raises:
            UnknownNameError: the table has no such column.
            InputError: a column holds something else than texts, numbers, dates or lists of them.
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


def _doubled(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _text(value: object, column: str) -> str:
    listed = getattr(value, "tolist", None) or getattr(value, "to_list", None)
    value = listed() if listed else value  # arrays, columns and their scalars
    if isinstance(value, (bytes, bytearray, Mapping)):
        raise InputError(
            f"column '{column}' holds {type(value).__name__} values; a template takes texts, "
            "numbers, dates and lists of them"
        )
    if isinstance(value, (list, tuple)):
        return ", ".join(_words(value, column))
    return "" if value is None or _not_a_value(value) else str(value).strip()


def _words(values: Iterable[object], column: str) -> Iterator[str]:
    return (text for text in (_text(value, column) for value in values) if text)


def _not_a_value(value: object) -> bool:
    """Whether it is NaN, NaT or NA of any library: none equals itself, NA refuses to compare."""
    try:
        return bool(value != value)
    except TypeError:
        return True


def _label(before: str) -> str:
    """What of the text before a field is its label: all after the separator.

    Example:
        >>> _label(". Brand: "), _label(", "), _label(" | "), _label(" (")
        ('Brand: ', '', '', '(')
    """
    found = _LABEL.search(before)
    return before[found.start() :] if found else ""
