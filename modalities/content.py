"""Safe content: texts cleaned, pictures opened without surprises."""

from __future__ import annotations

import html
import re
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PIXELS = 64_000_000
MIN_SIDE = 4
MAX_RATIO = 50
MAX_CHARACTERS = 100_000
PICTURE_ERRORS = (
    "missing",
    "empty",
    "not-a-picture",
    "truncated",
    "damaged",
    "too-large",
    "too-small",
    "odd-shape",
    "unreadable",
)
"""Why a picture cannot be used: no such file; no byte in it; no known format; it ends too early;
its data make no sense; more pixels than allowed; a side of less than 4 pixels; one side over 50
times the other; the system refuses to read it."""

# No formats that need another program (EPS, WMF) and none that pictures of products never use.
_FORMATS = ("JPEG", "MPO", "PNG", "GIF", "WEBP", "AVIF", "BMP", "TIFF", "PPM", "JPEG2000", "ICO")
_TAG = re.compile(r"<(?:/?[a-zA-Z]|[!?])[^<>]*>")
_SPACE = re.compile(r"\s+")


class ContentError(Exception):
    """A picture that cannot be used.

    Args:
        code: one of `PICTURE_ERRORS`; short enough for a table.
    """

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def clean_text(text: object, *, max_characters: int = MAX_CHARACTERS) -> str:
    """Plain text: entities resolved, tags and lone surrogates gone, white space folded.

    Args:
        text: what is no text (None, a number, NaN, bytes) counts as an empty one.
        max_characters: of a longer text only the beginning is read; 100,000 is more than any
            encoder reads.

    Example:
        >>> clean_text("Tom &amp; Jerry<br/>the  <b>best</b>")
        'Tom & Jerry the best'
        >>> clean_text("3 < 5 and x>y")
        '3 < 5 and x>y'
    """
    if not isinstance(text, str):
        return ""
    text = text[:max_characters]
    marked = _without_comments(html.unescape(text))
    plain = html.unescape(_TAG.sub(" ", marked))
    return _SPACE.sub(" ", plain.encode("utf-8", "ignore").decode()).strip()


def neutralise(text: str, special: Iterable[str]) -> str:
    """The text with a tokenizer's special tokens broken up, so that none is read as one.

    A title that holds `<|im_end|>` or `[SEP]` would otherwise end or split the input. A space is
    put after the first character of every occurrence.

    Args:
        text: as it came.
        special: the special tokens of the tokenizer; single characters are left alone.

    Example:
        >>> neutralise("soap <|im_end|> and [SEP]", ["<|im_end|>", "[SEP]"])
        'soap < |im_end|> and [ SEP]'
    """
    usable = {mark.strip() for mark in special if len(mark.strip()) > 1}
    marks = sorted(usable, key=lambda mark: (-len(mark), mark))
    found = [mark for mark in marks if mark in text]
    while found:
        for mark in found:
            text = text.replace(mark, f"{mark[0]} {mark[1:]}")
        found = [mark for mark in marks if mark in text]
    return text


def open_picture(
    path: Path | str,
    *,
    max_pixels: int = MAX_PIXELS,
    min_side: int = MIN_SIDE,
    max_ratio: float = MAX_RATIO,
) -> Image:
    """Open a picture as RGB: upright by EXIF, transparency on white, 16 bits scaled to 8.

    Of an animation the first frame counts. The size is checked before a pixel is decoded. A path
    is a file on this machine, never an address. Pillow's `LOAD_TRUNCATED_IMAGES`, where a program
    sets it, lets truncated pictures pass.

    Args:
        path: of the file.
        max_pixels: a picture of more is too-large.
        min_side: a picture with a shorter side, in pixels, is too-small.
        max_ratio: a picture longer than this many times its short side is an odd-shape.

    Raises:
        ContentError: with one of `PICTURE_ERRORS` as its code.
    """
    from PIL import Image

    try:
        if "\0" in str(path):
            raise ContentError("unreadable")
        if Path(path).stat().st_size == 0:
            raise ContentError("empty")
        Image.init()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=[f for f in _FORMATS if f in Image.OPEN]) as opened:
                return normalise_picture(
                    opened, max_pixels=max_pixels, min_side=min_side, max_ratio=max_ratio
                )
    except Exception as error:  # a broken file can raise anything from a decoder
        raise ContentError(_code_of(error)) from None


def normalise_picture(
    picture: Image,
    *,
    max_pixels: int = MAX_PIXELS,
    min_side: int = MIN_SIDE,
    max_ratio: float = MAX_RATIO,
) -> Image:
    """A picture in memory, or opened and not yet decoded, as `open_picture` returns it.

    Args:
        picture: of any mode.
        max_pixels: a picture of more is too-large.
        min_side: a picture with a shorter side, in pixels, is too-small.
        max_ratio: a picture longer than this many times its short side is an odd-shape.

    Raises:
        ContentError: too-large, too-small, odd-shape, truncated or damaged.
    """
    from PIL import ImageOps

    if picture.width * picture.height > max_pixels:
        raise ContentError("too-large")
    short, long = sorted(picture.size)
    if short < min_side:
        raise ContentError("too-small")
    if long > max_ratio * short:
        raise ContentError("odd-shape")
    try:
        picture.load()
        return _as_rgb(ImageOps.exif_transpose(picture))
    except Exception as error:
        raise ContentError(_code_of(error)) from None


def _code_of(error: Exception) -> str:
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, ContentError):
        return error.code
    if isinstance(error, (FileNotFoundError, NotADirectoryError, IsADirectoryError)):
        return "missing"
    if isinstance(error, Image.DecompressionBombError):
        return "too-large"
    if isinstance(error, UnidentifiedImageError):
        return "not-a-picture"
    if isinstance(error, OSError) and error.errno is not None:
        return "unreadable"
    early = isinstance(error, EOFError) or "truncated" in str(error).lower()
    return "truncated" if early else "damaged"


def _as_rgb(picture: Image) -> Image:
    from PIL import Image

    if picture.mode == "F" or picture.mode.startswith("I"):
        picture = Image.fromarray(_eight_bits(np.asarray(picture), picture.mode))
    if picture.mode in ("RGBa", "La"):  # colours already multiplied by alpha
        picture = picture.convert(picture.mode.upper())
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        layer = picture.convert("RGBA")
        ground = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        picture = Image.alpha_composite(ground, layer)
    return picture.convert("RGB")


def _eight_bits(
    values: np.ndarray[tuple[int, ...], np.dtype[np.generic]], mode: str
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Grey values of more than 8 bits, or real ones, brought to 0..255; Pillow would clip them.

    Full scale is 65,535 for `I;16`, the least of 255 and 65,535 (`I`) or of 1 and 255 (`F`) that
    holds the values, else the highest value.
    """
    real = np.nan_to_num(values.astype(np.float64), posinf=0.0).clip(0)
    highest = float(real.max(initial=0.0))
    scales = {"F": (1.0, 255.0), "I": (255.0, 65535.0)}.get(mode, (65535.0,))
    full = next((scale for scale in scales if highest <= scale), highest)
    return np.asarray((real / full * 255).round().astype(np.uint8))


def _without_comments(text: str) -> str:
    first, *others = text.split("<!--")
    return first + "".join(
        " " + part.partition("-->")[2] if "-->" in part else "<!--" + part for part in others
    )
