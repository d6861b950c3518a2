from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from modalities import PictureDescriptor
from modalities._base.errors import InputError
from modalities.content import ContentError


def drawn(shape: str, colour: str) -> Image.Image:
    picture = Image.new("RGB", (96, 96), "white")
    draw = ImageDraw.Draw(picture)
    if shape == "disc":
        draw.ellipse((20, 20, 76, 76), fill=colour)
    else:
        for x in range(16, 80, 16):
            draw.rectangle((x, 12, x + 6, 84), fill=colour)
    return picture


def test_pictures_tell_colour_and_shape() -> None:
    encoder = PictureDescriptor()
    red, pink, blue, striped = encoder.encode(
        [
            drawn("disc", "#c02020"),
            drawn("disc", "#d03030"),
            drawn("disc", "#2030c0"),
            drawn("stripes", "#c02020"),
        ]
    )
    assert red.shape == (encoder.dim,)
    assert red @ pink > red @ blue
    assert red @ pink > red @ striped
    assert np.linalg.norm(red) == pytest.approx(1, rel=1e-5)


def test_plain_and_tiny_pictures_are_finite() -> None:
    pictures = [
        Image.new("RGB", size, "white") for size in ((4, 4), (4, 200), (2000, 40), (300, 200))
    ]
    vectors = PictureDescriptor().encode(pictures)
    assert np.isfinite(vectors).all()
    assert vectors.any(axis=1).all()


def test_saturated_colours_count() -> None:
    """CIELAB reaches beyond -90..90: pure blue has b = -108, magenta a = 98."""
    colours = ["#0000ff", "#ff00ff", "#00ff00", "#0000f0"]
    vectors = PictureDescriptor().encode([Image.new("RGB", (32, 32), c) for c in colours])
    colour = vectors[:, : 4 * 6 * 6]
    assert (np.count_nonzero(colour, axis=1) == 1).all()
    near = vectors[0] @ vectors[3]
    assert near > vectors[0] @ vectors[1]
    assert near > vectors[0] @ vectors[2]


def test_blocks_have_the_documented_weights() -> None:
    vector = PictureDescriptor().encode([drawn("stripes", "#208040")])[0]
    lengths = [np.linalg.norm(block) for block in np.split(vector, [144, 164])]
    weights = np.array([1.0, 0.6, 1.0])
    np.testing.assert_allclose(lengths, weights / np.linalg.norm(weights), rtol=1e-5)


def test_the_white_ground_is_no_colour() -> None:
    small = Image.new("RGB", (96, 96), "white")
    small.paste((192, 32, 32), (40, 40, 56, 56))
    large = Image.new("RGB", (96, 96), (192, 32, 32))
    first, second = PictureDescriptor().encode([small, large])[:, :144]
    assert first @ second / np.linalg.norm(first) / np.linalg.norm(second) > 0.999


def test_size_hardly_matters() -> None:
    picture = drawn("disc", "#c02020")
    small, large, other = PictureDescriptor().encode(
        [picture, picture.resize((384, 384)), drawn("stripes", "#c02020")]
    )
    assert small @ large > 0.8 > small @ other


def test_paths_and_pictures_give_the_same(tmp_path: Path) -> None:
    encoder, picture = PictureDescriptor(), drawn("disc", "#2080c0")
    picture.save(tmp_path / "x.png")
    vectors = encoder.encode([picture, tmp_path / "x.png", str(tmp_path / "x.png")])
    np.testing.assert_array_equal(vectors, vectors[[0, 0, 0]])
    np.testing.assert_array_equal(encoder.encode([picture]), vectors[:1])
    assert encoder.encode([]).shape == (0, encoder.dim)


def test_transparency_is_white() -> None:
    clear = Image.new("RGBA", (96, 96), (255, 0, 0, 0))
    clear.paste((32, 32, 192, 255), (30, 30, 60, 60))
    white = Image.new("RGB", (96, 96), "white")
    white.paste((32, 32, 192), (30, 30, 60, 60))
    first, second = PictureDescriptor().encode([clear, white])
    np.testing.assert_array_equal(first, second)


def test_what_is_no_picture(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a picture or the path of one, got int"):
        PictureDescriptor().encode([3])  # type: ignore[list-item]
    with pytest.raises(ContentError, match="missing"):
        PictureDescriptor().encode([tmp_path / "none.png"])


def test_the_same_in_another_process(tmp_path: Path) -> None:
    drawn("disc", "#c02020").save(tmp_path / "x.png")
    code = (
        "from modalities import PictureDescriptor\n"
        "from modalities._base.identity import digest\n"
        f"print(digest(PictureDescriptor().encode([{str(tmp_path / 'x.png')!r}])))\n"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout
        for _ in range(2)
    ]
    assert runs[0] == runs[1] != ""
