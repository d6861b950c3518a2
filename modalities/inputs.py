"""What items offer an encoder: identified by a digest first, opened only when needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modalities._base.errors import InputError
from modalities._base.identity import digest
from modalities.content import ContentError, clean_text, normalise_picture, open_picture
from modalities.protocol import Content, Modality, Pair

MISSING = "missing"


@dataclass(frozen=True)
class Inputs:
    """Contents of many items with their identities.

    Args:
        contents: as given, one per item.
        modality: text, image or joint.
        digests: identity of each usable content, "" where there is none.
        errors: why an item offers nothing, or None.
    """

    contents: Sequence[Any]
    modality: Modality
    digests: list[str]
    errors: list[str | None]

    @classmethod
    def identify(cls, contents: Sequence[Any], modality: Modality) -> Inputs:
        """Read every content once, as bytes.

        Raises:
            InputError: such content cannot be identified.
        """
        readers = {"text": _text_bytes, "image": _picture_bytes, "joint": _pair_bytes}
        if modality not in readers:
            raise InputError(f"texts, pictures or both can be encoded, not '{modality}' content")
        digests, errors = [], []
        for content in contents:
            data, error = readers[modality](content)
            digests.append(digest(data) if data and error is None else "")
            errors.append(error)
        return cls(contents, modality, digests, errors)

    def __len__(self) -> int:
        return len(self.contents)

    def first_rows(self) -> dict[str, int]:
        """The first row of every distinct content."""
        first: dict[str, int] = {}
        for row, (key, error) in enumerate(zip(self.digests, self.errors)):
            if error is None:
                first.setdefault(key, row)
        return first

    def open(self, row: int) -> Content:
        """The content of a row as encoders take it: clean text, RGB picture, or a pair of them.

        Raises:
            ContentError: the picture cannot be used, and there is no text beside it.
        """
        content = self.contents[row]
        if self.modality == "text":
            return clean_text(content)
        if self.modality == "image":
            return _open_picture(content)
        pair = _as_pair(content)
        text = clean_text(pair.text) or None
        try:
            picture = _open_picture(pair.picture) if pair.picture else None
        except ContentError:
            if text is None:
                raise
            picture = None
        return Pair(text, picture)


def _open_picture(content: Any) -> Any:
    if isinstance(content, (str, Path)):
        return open_picture(content)
    return normalise_picture(content)


def _text_bytes(content: object) -> tuple[bytes, str | None]:
    data = clean_text(content).encode() if isinstance(content, str) else b""
    return data, None if data else MISSING


def _picture_bytes(content: object) -> tuple[bytes, str | None]:
    from PIL.Image import Image as Picture

    if isinstance(content, Picture):
        return f"{content.mode}{content.size}".encode() + content.tobytes(), None
    if not isinstance(content, (str, Path)) or content == "":
        return b"", MISSING
    try:
        path = Path(content)
        if path.exists() and not (path.is_file() or path.is_dir()):
            return b"", "unreadable"  # a pipe or a device never ends
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return b"", MISSING
    except (OSError, ValueError):
        return b"", "unreadable"
    return data, None if data else "empty"


def _pair_bytes(content: object) -> tuple[bytes, str | None]:
    pair = _as_pair(content)
    text, no_text = _text_bytes(pair.text)
    picture, no_picture = _picture_bytes(pair.picture)
    if no_text and no_picture:
        return b"", MISSING if no_picture == MISSING else no_picture
    return len(text).to_bytes(8, "little") + text + picture, None


def _as_pair(content: object) -> Pair:
    if isinstance(content, Pair):
        return content
    return Pair(text=content) if isinstance(content, str) else Pair(picture=content)  # type: ignore[arg-type]
