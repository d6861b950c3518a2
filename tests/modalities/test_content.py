from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from modalities.content import ContentError, clean_text, open_picture


def code(path: Path) -> str:
    with pytest.raises(ContentError) as caught:
        open_picture(path)
    return caught.value.code


def noise(size: tuple[int, int] = (40, 30)) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 255, (*size[::-1], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def test_files_that_are_no_picture(tmp_path: Path) -> None:
    assert code(tmp_path / "none.jpg") == "missing"
    assert code(tmp_path) == "missing"
    (tmp_path / "empty.jpg").write_bytes(b"")
    assert code(tmp_path / "empty.jpg") == "empty"
    (tmp_path / "page.jpg").write_text("<html><body>Not found</body></html>")
    assert code(tmp_path / "page.jpg") == "not-a-picture"
    (tmp_path / "drawing.png").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    assert code(tmp_path / "drawing.png") == "not-a-picture"


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_truncated(tmp_path: Path, kind: str) -> None:
    buffer = io.BytesIO()
    noise().save(buffer, kind)
    (tmp_path / "cut").write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
    assert code(tmp_path / "cut") == "truncated"


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    for side in (10_000, 30_000):
        header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
        data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
        (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + data)
        assert code(tmp_path / "bomb.png") == "too-large"


@pytest.mark.parametrize("mode", ["L", "LA", "P", "CMYK", "1", "RGBA"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("x.tif" if mode == "CMYK" else "x.png")
    noise().convert(mode).save(path)
    picture = open_picture(path)
    assert picture.mode == "RGB"
    assert picture.size == (40, 30)


def test_transparency_lies_on_white(tmp_path: Path) -> None:
    Image.new("RGBA", (4, 4), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    assert open_picture(tmp_path / "clear.png").getpixel((0, 0)) == (255, 255, 255)


def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 64).reshape(8, 8).astype(np.uint16)
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    grey = np.asarray(open_picture(tmp_path / "deep.png"))[:, :, 0]
    np.testing.assert_allclose(grey, ramp / 257, atol=1)


def test_exif_rotation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    noise((40, 30)).save(tmp_path / "turned.jpg", exif=exif)
    assert open_picture(tmp_path / "turned.jpg").size == (30, 40)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("a &amp; b", "a & b"),
        ("<p>one</p><br>two", "one two"),
        ("&lt;b&gt;bold&lt;/b&gt;", "bold"),
        ("5 < 6 > 3", "5 < 6 > 3"),
        ("lone \ud800 surrogate", "lone surrogate"),
        ("  a\n\tb ", "a b"),
        ("<!-- hidden --> shown", "shown"),
        ("", ""),
        (None, ""),
    ],
)
def test_clean_text(given: str | None, expected: str) -> None:
    assert clean_text(given) == expected
