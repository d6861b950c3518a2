"""Safe content: texts cleaned, pictures opened without surprises."""

from __future__ import annotations

import html
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PIXELS = 64_000_000
_TAG = re.compile(r"<(?:!--.*?--|/?[a-zA-Z][^<>]*)>", re.DOTALL)
_SPACE = re.compile(r"\s+")


class ContentError(Exception):
    """A picture that cannot be used; `code` is short enough for a table.

    Args:
        code: missing, empty, not-a-picture, truncated or too-large.
    """

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def clean_text(text: str | None) -> str:
    """Plain text: entities resolved, tags and lone surrogates gone, white space folded.

    Example:
        >>> clean_text("Tom &amp; Jerry<br/>the  <b>best</b>")
        'Tom & Jerry the best'
        >>> clean_text("3 < 5 and x>y")
        '3 < 5 and x>y'
    """
    if not text:
        return ""
    plain = html.unescape(_TAG.sub(" ", html.unescape(text)))
    return _SPACE.sub(" ", plain.encode("utf-8", "ignore").decode()).strip()


def open_picture(path: Path | str, *, max_pixels: int = MAX_PIXELS) -> Image:
    """Open a picture as RGB: upright by EXIF, transparency on white, 16 bits scaled to 8.

    The size is checked before a pixel is decoded.

    Raises:
        ContentError: the file is missing, empty, no picture, cut short, or too large.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    file = Path(path)
    try:
        if file.stat().st_size == 0:
            raise ContentError("empty")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            opened = Image.open(file)
        with opened:
            if opened.width * opened.height > max_pixels:
                raise ContentError("too-large")
            opened.load()
            return _as_rgb(ImageOps.exif_transpose(opened))
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise ContentError("missing") from None
    except Image.DecompressionBombError:
        raise ContentError("too-large") from None
    except UnidentifiedImageError:
        raise ContentError("not-a-picture") from None
    except (OSError, SyntaxError, ValueError, EOFError):
        raise ContentError("truncated") from None


def _as_rgb(picture: Image) -> Image:
    from PIL import Image

    if picture.mode in ("I;16", "I;16L", "I;16B", "I"):
        import numpy as np

        values = np.asarray(picture).astype(np.float64)
        top = 65535.0 if values.max() > 255 else 255.0
        picture = Image.fromarray((values.clip(0, top) / top * 255).round().astype(np.uint8))
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        layer = picture.convert("RGBA")
        ground = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        picture = Image.alpha_composite(ground, layer)
    return picture.convert("RGB")
