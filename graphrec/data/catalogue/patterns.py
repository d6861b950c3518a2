"""Pattern sheets: large areas of one pattern from which products are cut."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from graphrec.data.catalogue.vocabulary import RGB

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw


def pattern_sheet(pattern: str, size: int, step: int, random: np.random.Generator) -> Image:
    """A greyscale sheet: 0 where the ground colour shows, 255 where the second colour does.

    Args:
        pattern: a name of `graphrec.data.catalogue.vocabulary.PATTERNS`.
        size: its width and height in pixels.
        step: period of the pattern in pixels.
        random: places the shapes of `terrazzo`.
    """
    from PIL import Image, ImageDraw

    sheet = Image.new("L", (size, size), 0)
    draw = ImageDraw.Draw(sheet)
    if pattern == "terrazzo":
        _terrazzo(draw, size, step, random)
    elif pattern != "plain":
        {
            "stripes": _stripes,
            "dots": _dots,
            "checks": _checks,
            "zigzag": _zigzag,
            "floral": _floral,
        }[pattern](draw, size, step)
    return sheet


def blend(a: RGB, b: RGB, share: float) -> RGB:
    """The colour `share` of the way from a to b.

    Example:
        >>> blend((0, 0, 0), (255, 255, 255), 0.2)
        (51, 51, 51)
    """
    red, green, blue = (round(x + share * (y - x)) for x, y in zip(a, b))
    return red, green, blue


def _stripes(draw: ImageDraw, size: int, step: int) -> None:
    for y in range(0, size, step):
        draw.rectangle((0, y, size, y + step // 2 - 1), fill=255)


def _dots(draw: ImageDraw, size: int, step: int) -> None:
    radius = step * 0.28
    for row, y in enumerate(range(0, size + step, step)):
        for x in range((row % 2) * step // 2, size + step, step):
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)


def _checks(draw: ImageDraw, size: int, step: int) -> None:
    half = step // 2
    for y in range(0, size, step):
        draw.rectangle((0, y, size, y + half - 1), fill=128)
    for x in range(0, size, step):
        draw.rectangle((x, 0, x + half - 1, size), fill=128)
        for y in range(0, size, step):
            draw.rectangle((x, y, x + half - 1, y + half - 1), fill=255)


def _zigzag(draw: ImageDraw, size: int, step: int) -> None:
    half = step // 2
    for y in range(-step, size + step, step):
        points = [
            (x, y + (half if n % 2 else 0)) for n, x in enumerate(range(0, size + step, half))
        ]
        draw.line(points, fill=255, width=max(2, step // 4), joint="curve")


def _floral(draw: ImageDraw, size: int, step: int) -> None:
    wide, petal = step * 3 // 2, step * 0.26
    for row, y in enumerate(range(0, size + wide, wide)):
        for x in range((row % 2) * wide // 2, size + wide, wide):
            for n in range(5):
                angle = n * 2 * np.pi / 5
                px, py = x + 0.34 * step * np.sin(angle), y - 0.34 * step * np.cos(angle)
                draw.ellipse((px - petal, py - petal, px + petal, py + petal), fill=255)
            centre = step * 0.15
            draw.ellipse((x - centre, y - centre, x + centre, y + centre), fill=0)


def _terrazzo(draw: ImageDraw, size: int, step: int, random: np.random.Generator) -> None:
    count = 3 * (size // step) ** 2
    corners = random.uniform(-0.42, 0.42, size=(count, 3, 2)) * step
    centres = random.uniform(0, size, size=(count, 1, 2))
    tones = random.choice([150, 255], size=count)
    for points, tone in zip(corners + centres, tones):
        draw.polygon([(float(x), float(y)) for x, y in points], fill=int(tone))
