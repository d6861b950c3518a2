"""Product pictures: silhouettes filled with colour and pattern, drawn with Pillow.

Shape tells the family, fill the colour and the pattern. Size, tilt, shade of colour, scale of the
pattern and background vary from picture to picture and mean nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from graphrec.data.catalogue.patterns import blend, pattern_sheet
from graphrec.data.catalogue.randomness import stream
from graphrec.data.catalogue.shapes import Layer
from graphrec.data.catalogue.silhouettes import SILHOUETTES
from graphrec.data.catalogue.traits import COLOUR_NAMES, FAMILY_NAMES, PATTERN_NAMES, Traits
from graphrec.data.catalogue.vocabulary import COLOURS, PATTERNS, RGB

if TYPE_CHECKING:
    from PIL.Image import Image

SIZE = 128
_DETAIL = 2
_CANVAS = SIZE * _DETAIL
_STEPS = (24, 30, 36)
_BACKGROUNDS: tuple[RGB, ...] = (
    (252, 252, 252),
    (249, 247, 243),
    (245, 248, 251),
    (249, 246, 250),
    (246, 250, 246),
)
_FIXED: Mapping[str, RGB] = {
    "ink": (52, 54, 62),
    "white": (252, 252, 250),
    "metal": (172, 178, 186),
    "wood": (176, 134, 92),
    "flame": (250, 176, 62),
}


class Painter:
    """Draws the pictures of a catalogue; equal traits and seed give equal pixels.

    Args:
        traits: of all items.
        seed: of the variation between pictures.
    """

    def __init__(self, traits: Traits, seed: int) -> None:
        self._traits = traits
        random = stream(seed, "pictures")
        n = len(traits)
        self._tint = random.integers(-14, 15, (n, 3))
        self._light = random.random(n) < 0.7
        self._step = random.integers(len(_STEPS), size=n)
        self._offset = random.integers(_CANVAS, size=(n, 2))
        self._ground = random.integers(len(_BACKGROUNDS), size=n)
        self._frame = _frames(n, random)
        self._sheets = {
            (pattern, step): pattern_sheet(pattern, 2 * _CANVAS, step, random)
            for pattern in PATTERNS
            for step in _STEPS
        }
        self._shading = _shading()

    def paint(self, item: int) -> Image:
        """The picture of an item, RGB, 128 x 128 pixels."""
        from PIL import Image, ImageDraw

        colour = self._colour(item)
        ground = _BACKGROUNDS[self._ground[item]]
        paints = {
            **_FIXED,
            "shade": blend(colour, (20, 20, 30), 0.38),
            "tint": blend(colour, (255, 255, 255), 0.5),
            "shadow": blend(ground, (60, 60, 70), 0.16),
        }
        picture = Image.new("RGB", (_CANVAS, _CANVAS), ground)
        fill = self._fill(item, colour)
        draw = ImageDraw.Draw(picture)
        for layer in SILHOUETTES[FAMILY_NAMES[self._traits.family[item]]]:
            points = self._place(item, layer)
            if layer.paint == "main":
                stencil = Image.new("L", picture.size, 0)
                _draw(ImageDraw.Draw(stencil), points, layer.width, 255)
                picture.paste(fill, (0, 0), stencil)
            else:
                _draw(draw, points, layer.width, paints[layer.paint])
            if layer.outline and not layer.width:
                edge = paints["shade"] if layer.paint in ("main", "tint") else paints["ink"]
                draw.line([*points, points[0]], fill=edge, width=3, joint="curve")
        return picture.reduce(_DETAIL)

    def _colour(self, item: int) -> RGB:
        base = np.array(COLOURS[COLOUR_NAMES[self._traits.colour[item]]])
        red, green, blue = (int(c) for c in np.clip(base + self._tint[item], 0, 255))
        return red, green, blue

    def _fill(self, item: int, colour: RGB) -> Image:
        from PIL import Image, ImageChops

        light = bool(self._light[item])
        other: RGB = (255, 255, 255) if light else (24, 24, 34)
        second = blend(colour, other, 0.72 if light else 0.55)
        name = PATTERN_NAMES[self._traits.pattern[item]]
        sheet = self._sheets[name, _STEPS[self._step[item]]]
        x, y = (int(v) for v in self._offset[item])
        mask = sheet.crop((x, y, x + _CANVAS, y + _CANVAS))
        size = (_CANVAS, _CANVAS)
        fill = Image.composite(Image.new("RGB", size, second), Image.new("RGB", size, colour), mask)
        return ImageChops.multiply(fill, self._shading)

    def _place(self, item: int, layer: Layer) -> list[tuple[float, float]]:
        matrix, shift = self._frame[item, :, :2], self._frame[item, :, 2]
        placed = (np.array(layer.points) - 50) @ matrix.T + 50 + shift
        return [(float(x), float(y)) for x, y in placed * (_CANVAS / 100)]


def save_pictures(traits: Traits, folder: Path, names: Sequence[str], seed: int) -> list[list[str]]:
    """Write a PNG for each item that has a picture, and list each item's file names.

    Args:
        traits: of all items.
        folder: must exist.
        names: of the files, without suffix, one per item.
        seed: of the variation between pictures.
    """
    painter = Painter(traits, seed)
    listed: list[list[str]] = []
    for item, name in enumerate(names):
        if not traits.has_picture[item]:
            listed.append([])
            continue
        file = f"{name}.png"
        painter.paint(item).save(folder / file, "PNG", compress_level=6)
        listed.append([file])
    return listed


def _frames(n: int, random: np.random.Generator) -> NDArray[np.float64]:
    """An affine map [2, 3] per item: tilt, size, proportions, shift."""
    angle = np.deg2rad(random.uniform(-7, 7, n))
    size = random.uniform(0.86, 1.02, n)
    aspect = random.uniform(0.94, 1.06, n)
    shift = random.uniform(-2.5, 2.5, (n, 2))
    frame = np.empty((n, 2, 3))
    frame[:, 0, 0], frame[:, 0, 1] = size * aspect * np.cos(angle), -size * np.sin(angle)
    frame[:, 1, 0], frame[:, 1, 1] = size * np.sin(angle), size / aspect * np.cos(angle)
    frame[:, :, 2] = shift
    return frame


def _shading() -> Image:
    """Light from the left: a grey ramp that fills are multiplied with."""
    from PIL import Image

    ramp = np.linspace(0, 1, _CANVAS)
    row = 255 - 62 * np.clip(ramp - 0.35, 0, 1) ** 1.2
    grey: NDArray[Any] = np.tile(row.astype(np.uint8), (_CANVAS, 1))
    return Image.fromarray(grey).convert("RGB")


def _draw(draw: Any, points: list[tuple[float, float]], width: float, paint: Any) -> None:
    if not width:
        draw.polygon(points, fill=paint)
        return
    thick = max(1, round(width * _CANVAS / 100))
    draw.line(points, fill=paint, width=thick, joint="curve")
    for x, y in (points[0], points[-1]):
        draw.ellipse((x - thick / 2, y - thick / 2, x + thick / 2, y + thick / 2), fill=paint)
