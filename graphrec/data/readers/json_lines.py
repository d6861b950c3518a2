"""JSON lines in blocks of bounded size, plain or gzip, with malformed lines counted."""

from __future__ import annotations

import ast
import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

from graphrec.data.readers.files import damaged
from modalities._base.errors import InputError

BLOCK = 16 * 2**20
"""Bytes read at a time."""

_LONGEST_LINE = 256 * 2**20
_LISTED = 5


@dataclass
class Tally:
    """What was met while reading one file.

    Args:
        path: the file.
        strict: raise at the first malformed line.
        lines: lines that are not blank.
        malformed: lines that are no JSON object.
        first: numbers of the first malformed lines, from 1.
    """

    path: Path
    strict: bool = False
    lines: int = 0
    malformed: int = 0
    first: list[int] = field(default_factory=list)

    def bad(self, number: int) -> None:
        """Count a malformed line.

        Raises:
            InputError: reading is strict.
        """
        if self.strict:
            raise InputError(
                f"line {number:,} of '{self.path}' is no JSON object; mend the file, or read "
                "without strict to skip and count such lines"
            )
        self.malformed += 1
        if len(self.first) < _LISTED:
            self.first.append(number)

    def notes(self) -> dict[str, Any]:
        """The counts as JSON values."""
        counts: dict[str, Any] = {"file": self.path.name, "lines": self.lines}
        counts["malformed"] = self.malformed
        if self.malformed:
            counts["first_malformed_lines"] = list(self.first)
        return counts


@dataclass(frozen=True)
class Block:
    """Whole lines of a file.

    Args:
        data: the bytes; the last line may lack its newline.
        start: number of the first line, from 1.
    """

    data: bytes
    start: int

    def objects(self, tally: Tally) -> Iterator[dict[str, Any]]:
        """The objects of the lines, one at a time; blank lines are skipped, bad ones counted."""
        for number, line in enumerate(self.data.split(b"\n"), start=self.start):
            if not line.strip():
                continue
            tally.lines += 1
            value = parse_line(line)
            if value is None:
                tally.bad(number)
            else:
                yield value


def parse_line(line: bytes) -> dict[str, Any] | None:
    """The object a line holds, or None.

    JSON, or, as in the Amazon metadata of 2014, a Python literal (`{'asin': '0001'}`), which is
    parsed as data and never run.

    Example:
        >>> parse_line(b'{"a": 1}'), parse_line(b"{'a': 1}"), parse_line(b'{"a": ')
        ({'a': 1}, {'a': 1}, None)
    """
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        try:
            value = ast.literal_eval(line.decode("utf-8").strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return None
    return value if isinstance(value, dict) else None


def blocks(path: Path, size: int = BLOCK) -> Iterator[Block]:
    """Read a file in blocks of whole lines of about `size` bytes.

    Gzip is recognised by its first bytes, not by the name.

    Raises:
        InputError: the file is missing or empty, its gzip stream is truncated or damaged, or a
            line is longer than 256 MiB.
    """
    number, rest = 1, b""
    with _open(path) as stream:
        while data := _read(stream, size, path):
            cut = data.rfind(b"\n") + 1
            if not cut:
                rest += data
                if len(rest) > _LONGEST_LINE:
                    raise InputError(f"line {number:,} of '{path}' does not end: no JSON lines")
                continue
            yield (block := Block(rest + data[:cut], number))
            number += block.data.count(b"\n")
            rest = data[cut:]
    if rest:
        yield Block(rest, number)


def _open(path: Path) -> IO[bytes]:
    if not path.is_file():
        raise InputError(f"file '{path}' does not exist")
    with path.open("rb") as stream:
        magic = stream.read(2)
    if not magic:
        raise InputError(f"file '{path}' is empty")
    return cast("IO[bytes]", gzip.open(path)) if magic == b"\x1f\x8b" else path.open("rb")


def _read(stream: IO[bytes], size: int, path: Path) -> bytes:
    try:
        return stream.read(size)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(damaged(path, error)) from None
