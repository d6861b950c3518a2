"""The weights-free default for pictures: colour, texture and shape descriptors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from modalities._base.errors import InputError
from modalities.content import normalise_picture, open_picture
from modalities.protocol import Content, EncoderSpec, Modality

if TYPE_CHECKING:
    from PIL.Image import Image

_SIDE = 96
_COLOUR_BINS = (4, 6, 6)
_WEIGHTS = {"colour": 1.0, "texture": 0.6, "shape": 1.0}


class PictureDescriptor:
    r"""Describes a picture without learned weights.

    The picture is fitted into a white square of 96 x 96 pixels. Three blocks are computed with
    scikit-image, each of unit length, weighted and joined, and the whole normalised again:

    - colour (weight 1): square roots of a histogram of 4 x 6 x 6 bins over L, a, b (CIELAB, a
      and b clipped to -90..90) of what is not the white ground
    - texture (weight 0.6): square roots of the histogram of uniform local binary patterns
      (8 neighbours, radius 1 and 3)
    - shape (weight 1): histograms of oriented gradients, 8 orientations, cells of 16 pixels

    Sources: Multiresolution Gray-Scale and Rotation Invariant Texture Classification with Local
    Binary Patterns, 2002, doi 10.1109/TPAMI.2002.1017623; Histograms of Oriented Gradients for
    Human Detection, 2005, doi 10.1109/CVPR.2005.177.

    Example:
        >>> from PIL import Image
        >>> encoder = PictureDescriptor()
        >>> red, pink, blue = encoder.encode(
        ...     [Image.new("RGB", (32, 32), c) for c in ("#d02020", "#d83030", "#2030d0")]
        ... )
        >>> bool(red @ pink > red @ blue)
        True
    """

    modality: Modality = "image"

    @property
    def spec(self) -> EncoderSpec:
        """All that changes the output."""
        return EncoderSpec.of("picture-descriptor", side=_SIDE, version=1)

    @property
    def dim(self) -> int:
        """Length of a vector."""
        cells = _SIDE // 16
        return int(np.prod(_COLOUR_BINS)) + 20 + 8 * cells * cells

    def encode(self, batch: Sequence[Content]) -> NDArray[np.float32]:
        """Unit vectors, float32 [n, dim], of PIL pictures or paths.

        Raises:
            InputError: something else was given.
            ContentError: a picture cannot be used; `modalities.encode_items` records it instead.
        """
        rows = [self._describe(_opened(picture)) for picture in batch]
        return np.stack(rows) if rows else np.zeros((0, self.dim), dtype=np.float32)

    def _describe(self, picture: Image) -> NDArray[np.float32]:
        from skimage.color import rgb2lab

        pixels = np.asarray(_squared(picture))
        lab = rgb2lab(pixels)
        grey = lab[:, :, 0] / 100
        blocks = {
            "colour": _colour(lab),
            "texture": _texture(grey),
            "shape": _shape(grey),
        }
        joined = np.concatenate([_WEIGHTS[name] * _unit(block) for name, block in blocks.items()])
        return np.asarray(_unit(joined), dtype=np.float32)


def _opened(picture: Content) -> Image:
    from PIL.Image import Image as Picture

    if isinstance(picture, Picture):
        return normalise_picture(picture)
    if not isinstance(picture, (str, Path)):
        raise InputError(f"expected a picture or the path of one, got {type(picture).__name__}")
    return open_picture(picture)


def _squared(picture: Image) -> Image:
    from PIL import Image

    longest = max(picture.size)
    width, height = (max(1, round(side / longest * _SIDE)) for side in picture.size)
    fitted = picture.resize((width, height), Image.Resampling.BILINEAR)
    square = Image.new("RGB", (_SIDE, _SIDE), "white")
    square.paste(fitted, ((_SIDE - width) // 2, (_SIDE - height) // 2))
    return square


def _colour(lab: NDArray[np.float64]) -> NDArray[np.float64]:
    lightness, a, b = (lab[:, :, channel].ravel() for channel in range(3))
    figure = ~((lightness > 96) & (np.hypot(a, b) < 4))
    chosen = figure if figure.any() else np.ones_like(figure)
    points = np.stack([lightness, a.clip(-90, 90), b.clip(-90, 90)], axis=1)[chosen]
    ranges = ((0, 100), (-90, 90), (-90, 90))
    counts, _ = np.histogramdd(points, bins=_COLOUR_BINS, range=ranges)
    return np.asarray(np.sqrt(counts.ravel()))


def _texture(grey: NDArray[np.float64]) -> NDArray[np.float64]:
    from skimage.feature import local_binary_pattern

    levels = (grey * 255).round().astype(np.uint8)
    found = [
        np.bincount(
            local_binary_pattern(levels, 8, radius, "uniform").astype(int).ravel(), minlength=10
        )
        for radius in (1, 3)
    ]
    return np.asarray(np.sqrt(np.concatenate(found).astype(float)))


def _shape(grey: NDArray[np.float64]) -> NDArray[np.float64]:
    from skimage.feature import hog

    described = hog(
        grey, orientations=8, pixels_per_cell=(16, 16), cells_per_block=(1, 1), block_norm="L2"
    )
    return np.asarray(described)


def _unit(values: NDArray[np.float64]) -> NDArray[np.float64]:
    norm = np.linalg.norm(values)
    return values / norm if norm > 0 else values
