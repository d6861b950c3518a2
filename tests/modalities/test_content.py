from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from modalities.content import (
    MAX_CHARACTERS,
    PICTURE_ERRORS,
    ContentError,
    clean_text,
    neutralise,
    normalise_picture,
    open_picture,
)


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


@pytest.mark.filterwarnings("error")
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


def test_a_broken_stream_is_damaged_or_truncated(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    noise().save(buffer, "PNG")
    data = bytearray(buffer.getvalue())
    start = data.index(b"IDAT") + 4
    data[start : start + 40] = b"\x00" * 40
    (tmp_path / "x.png").write_bytes(bytes(data))
    assert code(tmp_path / "x.png") == "damaged"


def test_formats_that_start_other_programs_are_no_pictures(tmp_path: Path) -> None:
    noise().save(tmp_path / "x.eps")
    assert code(tmp_path / "x.eps") == "not-a-picture"


def test_any_prefix_of_a_picture_is_an_error_with_a_code(tmp_path: Path) -> None:
    for kind in ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP"):
        buffer = io.BytesIO()
        noise().save(buffer, kind)
        data = buffer.getvalue()
        for share in (0.02, 0.2, 0.5, 0.8):
            (tmp_path / "cut").write_bytes(data[: max(1, int(share * len(data)))])
            assert code(tmp_path / "cut") in PICTURE_ERRORS


def test_a_path_the_system_refuses(tmp_path: Path) -> None:
    assert code(tmp_path / ("x" * 5000)) == "unreadable"


def test_real_numbers_keep_their_order(tmp_path: Path) -> None:
    for top in (1.0, 255.0, 3000.0):
        ramp = np.linspace(0, top, 64, dtype=np.float32).reshape(8, 8)
        Image.fromarray(ramp).save(tmp_path / "real.tif")
        grey = np.asarray(open_picture(tmp_path / "real.tif"))[:, :, 0]
        np.testing.assert_allclose(grey, np.linspace(0, 255, 64).reshape(8, 8), atol=1)


def test_a_dark_sixteen_bit_picture_stays_dark(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 200, np.uint16)).save(tmp_path / "dark.tif")
    assert np.asarray(open_picture(tmp_path / "dark.tif")).max() <= 1


def test_the_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert open_picture(tmp_path / "a.gif").getpixel((0, 0)) == (255, 0, 0)


def test_a_picture_in_memory() -> None:
    clear = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert normalise_picture(clear).getpixel((0, 0)) == (255, 255, 255)
    with pytest.raises(ContentError, match="too-large"):
        normalise_picture(clear, max_pixels=15)


def test_transparency_lies_on_white(tmp_path: Path) -> None:
    Image.new("RGBA", (4, 4), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    assert open_picture(tmp_path / "clear.png").getpixel((0, 0)) == (255, 255, 255)
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.putpixel((0, 0), 1)
    palette.save(tmp_path / "palette.png", transparency=0)
    opened = open_picture(tmp_path / "palette.png")
    assert opened.getpixel((0, 0)) == (0, 0, 255)
    assert opened.getpixel((1, 1)) == (255, 255, 255)


def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 64).reshape(8, 8).astype(np.uint16)
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    grey = np.asarray(open_picture(tmp_path / "deep.png"))[:, :, 0]
    np.testing.assert_allclose(grey, ramp / 257, atol=1)


def test_exif_rotation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    lit = Image.new("RGB", (40, 30), "black")
    lit.paste((255, 255, 255), (0, 0, 40, 10))
    lit.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    turned = open_picture(tmp_path / "turned.jpg")
    assert turned.size == (30, 40)
    grey = np.asarray(turned)[:, :, 0]
    assert grey[:, -5:].min() > 200  # the bright top is on the right after a clockwise turn
    assert grey[:, :5].max() < 50


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
        ("a<!-- <b>x</b>\n-->b", "a b"),
        ("open <!-- end", "open <!-- end"),
        ("<!DOCTYPE html>x", "x"),
        ("<!--" * 200_000, "<!--" * 200_000),
        ("<a " * 200_000, ("<a " * 200_000).strip()),
        ("", ""),
        (None, ""),
    ],
)
def test_clean_text(given: str | None, expected: str) -> None:
    assert clean_text(given) == expected[:MAX_CHARACTERS]


def test_a_long_text_is_cut_before_it_is_read() -> None:
    assert len(clean_text("word " * 2_000_000)) == MAX_CHARACTERS - 1


def test_special_tokens_are_broken_up() -> None:
    special = ["<|im_end|>", "[SEP]", "<s>", "</s>", "<image>", "  ", "#"]
    text = "a<|im_end|>b [SEP]<s>x</s> <image> # plain  text"
    found = neutralise(text, special)
    assert not any(mark in found for mark in special if len(mark.strip()) > 1)
    assert found.replace(" ", "") == text.replace(" ", "")
    assert neutralise("nothing here", special) == "nothing here"
    assert "<s>" not in neutralise("<<s>s>", ["<s>"])


@pytest.mark.parametrize(
    ("size", "expected"), [((1, 1), "too-small"), ((3, 90), "too-small"), ((4, 204), "odd-shape")]
)
def test_shapes_that_show_nothing(tmp_path: Path, size: tuple[int, int], expected: str) -> None:
    Image.new("RGB", size).save(tmp_path / "p.png")
    assert code(tmp_path / "p.png") == expected
